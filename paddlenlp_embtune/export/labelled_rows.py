"""Labelled rows that a bundle is calibrated and measured on while it is made: each of its engines reads them once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.bundle import Manifest
from paddlenlp_embtune.evaluation import encode_labels
from paddlenlp_embtune.inference import BatchRunner, Engine, LabelKind, kind_of
from paddlenlp_embtune.text import TokenizedTexts, tokenize_texts

if TYPE_CHECKING:
    from paddlenlp_embtune.export.builder import BundleBuilder

__all__ = ["LabelledRows", "RowLabels"]

_BATCH_SIZE = 64

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
RowLabels = Sequence[str] | Sequence[Sequence[str]]


class LabelledRows:
    """Labelled rows, and what the engines of a bundle in the making answer to them.

    Args:
        builder: makes the bundle.
        texts: N texts.
        labels: N labels; of a bundle that gives a text several, N collections of labels.
        tokenized: their ids, where they are known; None has the texts tokenized when an engine first needs them.
    """

    def __init__(
        self, builder: BundleBuilder, texts: Sequence[str], labels: RowLabels, *, tokenized: TokenizedTexts | None = None
    ) -> None:
        self.texts, self.labels = texts, labels
        self._builder, self._tokenized = builder, tokenized
        self._logits: dict[tuple[str, str], tuple[Engine, Floats]] = {}

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def manifest(self) -> Manifest:
        """What the bundle says so far."""
        return self._builder.manifest

    def truth(self, *, least: int = 1) -> Ids:
        """Return the labels as :meth:`paddlenlp_embtune.inference.LabelKind.encode` has them.

        Args:
            least: how many rows are needed.
        Raises:
            DataError: the rows are fewer, or a label is not the bundle's.
        """
        return encode_labels(self._builder.draft, self.texts, self.labels, least=least)

    def subset(self, numbers: Sequence[int]) -> LabelledRows:
        """Return some of the rows, by their numbers, as rows of their own."""
        labels: Any = [self.labels[row] for row in numbers]
        return LabelledRows(self._builder, [self.texts[row] for row in numbers], labels)

    def at_temperature(
        self, engine: str, *, precision: str = "fp32", device: str = "auto", kind: LabelKind | None = None
    ) -> Callable[[float], Floats]:
        """Run the rows through an engine, unless it has read them already.

        Args:
            engine: of the bundle.
            precision: of its program.
            device: where it runs.
            kind: of the labels; None takes that of the bundle, with its calibration of each label.
        Returns:
            a function that gives the (N, C) float32 probabilities at a temperature
        """
        manifest = self._builder.manifest
        if self._tokenized is None:
            self._tokenized = tokenize_texts(
                self.texts, self._builder.tokenizer, max_length=manifest.max_length, windows=manifest.windows
            )
        tokenized, loaded = self._tokenized, self._builder.engine(engine, precision=precision, device=device)
        used, logits = self._logits.get((engine, precision), (None, None))
        if used is not loaded or logits is None:
            logits = self._run(loaded, tokenized.ids, engine)
            self._logits[engine, precision] = loaded, logits
        kind = kind or kind_of(manifest)
        return lambda temperature: kind.combine(logits, tokenized, temperature=temperature, windows=manifest.windows)[0]

    def probabilities(self, engine: str, *, precision: str = "fp32", device: str = "auto") -> Floats:
        """Return the (N, C) float32 probabilities that an engine gives at the temperature of the bundle."""
        return self.at_temperature(engine, precision=precision, device=device)(self._builder.manifest.temperature)

    def _run(self, engine: Engine, ids: Sequence[Sequence[int]], name: str) -> Floats:
        builder = self._builder
        runner = BatchRunner(
            engine,
            num_labels=len(builder.manifest.labels),
            batch_size=_BATCH_SIZE,
            num_threads=compat.usable_threads(),
            source=f"the engine {name} of the bundle {builder.target}",
        )
        try:
            return runner.submit(ids)()
        finally:
            runner.close()
