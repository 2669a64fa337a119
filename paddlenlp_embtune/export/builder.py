"""The builder: what goes into one bundle, step by step, before it is sealed."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.bundle import Bundle, Manifest, ParityRecord, without_programs, write_embedding
from paddlenlp_embtune.errors import BundleError
from paddlenlp_embtune.export._calibration import fit_calibration
from paddlenlp_embtune.export._engines import EngineCache, find_exporters, run_exporters
from paddlenlp_embtune.export._staged_files import StagedFiles
from paddlenlp_embtune.export.bundle_content import without_engines
from paddlenlp_embtune.export.labelled_rows import LabelledRows, RowLabels
from paddlenlp_embtune.export.quantization import check_quantization, measured_program
from paddlenlp_embtune.export.seal import best_engine, seal
from paddlenlp_embtune.inference import Engine, kind_of
from paddlenlp_embtune.text import TokenizedTexts, Tokenizer, Vocabulary

if TYPE_CHECKING:
    from paddlenlp_embtune.export.parity import EngineAnswers, LiveAnswers

__all__ = ["BundleBuilder"]

_WEIGHTS = "weights.safetensors"


class BundleBuilder:
    """A bundle in the making; :func:`paddlenlp_embtune.export.new_bundle` and ``edit_bundle`` make builders.

    A step that fails leaves the bundle as it was before that step, so that the transaction can continue without it.

    Args:
        target: the place of the bundle.
        folder: the temporary folder.
        manifest: what the bundle says so far; without hashes.
        vocabulary: of its tokenizer.
        files: the files in the folder.
        model: the live model, which engines are compared with; None takes the one that the weights in the folder give.
        sample_texts: real texts that it is compared on, beside random ones.
    """

    def __init__(
        self,
        target: Path,
        folder: Path,
        manifest: Manifest,
        vocabulary: Vocabulary,
        files: StagedFiles,
        *,
        model: Any = None,
        sample_texts: Sequence[str] = (),
    ) -> None:
        self.target = target
        self.folder = folder
        self.manifest = dataclasses.replace(manifest, files={})
        self.vocabulary = vocabulary
        self._files = files
        self._model = model
        self._sample_texts = sample_texts
        self._never_proven = self._unproven() if model is None else set()
        self._tokenizer: Tokenizer | None = None
        self._engines = EngineCache()
        self._live: LiveAnswers | None = None
        self._answers: dict[str, EngineAnswers] = {}
        self._bundle: Bundle | None = None

    @property
    def bundle(self) -> Bundle:
        """The finished bundle, opened.

        Raises:
            BundleError: the transaction has not ended.
        """
        if self._bundle is None:
            raise BundleError(f"the bundle {self.target} is not written yet; open it when the block that builds it has ended")
        return self._bundle

    @property
    def draft(self) -> Bundle:
        """The bundle as it is so far, in the temporary folder; files of an older bundle come with the first step or engine."""
        return Bundle(self.folder, self.manifest, self.vocabulary)

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer, made of the files in the folder."""
        if self._tokenizer is None:
            self._files.stage()
            self._tokenizer = self.draft.tokenizer
        return self._tokenizer

    def engine(self, name: str, *, precision: str = "fp32", device: str = "auto") -> Engine:
        """Return an engine that runs the bundle as it is so far; it is loaded once.

        Args:
            name: a registered engine.
            precision: of the program.
            device: as in :class:`paddlenlp_embtune.inference.EngineOptions`.
        """
        self._files.stage()
        return self._engines.get(self.draft, name, precision=precision, device=device)

    def rows(self, texts: Sequence[str], labels: RowLabels, *, tokenized: TokenizedTexts | None = None) -> LabelledRows:
        """Return labelled rows for :meth:`calibrate`, :meth:`quantize` and figures, which share what engines answer to them.

        Args:
            texts: rows that the model was not trained on.
            labels: their labels; collections of them where a text may have several.
            tokenized: their ids, where they are known; None has the texts tokenized when an engine first needs them.
        """
        return LabelledRows(self, texts, labels, tokenized=tokenized)

    def update(self, **changes: Any) -> None:
        """Change fields of the manifest."""
        self.manifest = dataclasses.replace(self.manifest, **changes)

    def replace_embedding(self, source: Bundle, table: npt.NDArray[np.float32]) -> list[str]:
        """Put another embedding into the weights, and leave out everything that was made of the old ones.

        Args:
            source: the bundle that is being changed.
            table: (V, D) float32.
        Returns:
            the engines that are to be exported again
        Raises:
            VectorError: the table does not fit, or holds NaN or infinite values.
        """
        manifest, programs = without_programs(self.manifest)
        gone = [name for name in self.manifest.engines if name not in manifest.engines]
        with self._step(dropped={*programs, _WEIGHTS}):
            write_embedding(source, table, self.folder)
            self.manifest = manifest
            self._engines = EngineCache()
            self._live, self._answers = None, {}
        return gone

    def add_engines(self, names: Sequence[str]) -> None:
        """Export for engines, in place of older files of theirs, and prove them, as well as those that have no proof yet.

        What is exported is the layer that the bundle's own weights give. What it is compared with is the live model.

        Args:
            names: registered exporters to run.
        Raises:
            ParityError: an engine answers differently; the step is undone.
            PluginError: no exporter has that name, or one does not keep its contract.
        """
        exporters = find_exporters(names)
        manifest, dropped = without_engines(self.manifest, exporters)
        with self._step(dropped=dropped):
            self._engines = self._engines.without(names=exporters)
            written = run_exporters(exporters, self._layer(), self.draft) if exporters else {}
            self.manifest = dataclasses.replace(manifest, engines={**manifest.engines, **written})
            self._note_vectors()
            self._prove(exporters)

    def prove(self) -> None:
        """Compare the engines that have no proof yet with the live model.

        Raises:
            ParityError: one answers differently.
        """
        self._prove(())

    def calibrate(self, rows: LabelledRows, *, target_precision: float | None = None) -> None:
        """Fit temperature and thresholds; see :func:`paddlenlp_embtune.export.calibrate`.

        The engines that were proven before are compared again at that temperature, with the answers that they gave.

        Args:
            rows: 20 or more that the model was not trained on.
            target_precision: choose thresholds that give this precision on these rows; None sets none.
        Raises:
            ParityError: at that temperature, an engine answers differently; nothing is changed.
        """
        found = fit_calibration(rows, best_engine(self.manifest), self.manifest, target_precision)
        self.update(**found, parity=self._compared(dataclasses.replace(self.manifest, **found)))

    def quantize(
        self, rows: LabelledRows, *, precision: str = "int8", method: str | None = None, tolerance: float = 0.01
    ) -> None:
        """Add a program of lower precision; see :func:`paddlenlp_embtune.export.quantize`.

        Raises:
            ParityError: the program is not worth having; the step is undone.
        """
        method = check_quantization(rows, precision=precision, method=method, tolerance=tolerance)
        file = f"onnx/model.{precision}.onnx"
        with self._step(dropped={file}):
            self._engines = self._engines.without(precision=precision)
            program = measured_program(self, rows, file, precision=precision, method=method, tolerance=tolerance)
            self.update(quantized={**self.manifest.quantized, precision: program})

    def seal(self) -> Mapping[str, str]:
        """Write the interface, and the manifest with the hash of every other file; return these hashes.

        Raises:
            ParityError: an engine that has not been proven yet answers differently.
        """
        self._files.stage()
        if self._unproven() - self._never_proven:
            self.prove()
        return seal(self.draft, self.engine(best_engine(self.manifest), device="cpu"), self._files.hashes)

    def finish(self, hashes: Mapping[str, str]) -> None:
        """Open the bundle in its place, and let the engines go."""
        self._engines = EngineCache()
        self._bundle = Bundle.open_written(self.target, hashes)

    def _layer(self) -> Any:
        """The layer that the weights in the folder give."""
        live: Any = self.engine("paddle")
        return live.layer

    def _note_vectors(self) -> None:
        """Say what vectors the layer gives, where an older release wrote the bundle without any."""
        if self.manifest.sentence_vectors is None:
            from paddlenlp_embtune.models import vector_output

            self.update(sentence_vectors=vector_output(self._layer()))

    def _unproven(self) -> set[str]:
        return set(self.manifest.engines) - set(self.manifest.parity)

    def _prove(self, names: Iterable[str]) -> None:
        """Compare engines, and those without a proof, with the live model at the temperature that the bundle has now."""
        from paddlenlp_embtune.export.parity import engine_answers, live_answers, parity_batches

        if self._live is None:
            most, size = self.manifest.max_length, len(self.vocabulary)
            encoded = [self.tokenizer.encode(text, max_length=most) for text in self._sample_texts]
            batches = parity_batches(encoded, vocabulary_size=size, max_length=most)
            self._live = live_answers(self._model if self._model is not None else self._layer(), batches)
        unproven = [name for name in self.manifest.engines if name not in names and name not in self.manifest.parity]
        answers = {name: engine_answers(self._live, self.engine(name)) for name in [*names, *unproven]}
        self.update(parity=self._compared(self.manifest, answers))
        self._answers |= answers

    def _compared(self, manifest: Manifest, answers: Mapping[str, EngineAnswers] | None = None) -> dict[str, ParityRecord]:
        """Return the proofs, with those of some engines, or of all whose answers are known, as a manifest is calibrated."""
        if self._live is None:
            return dict(self.manifest.parity)
        from paddlenlp_embtune.export.parity import compare_answers, verify_padding  # which needs Paddle

        how: Any = {"temperature": manifest.temperature, "kind": kind_of(manifest)}
        verify_padding(self._live, **how)
        if answers is None:
            answers = {name: found for name, found in self._answers.items() if name in self.manifest.parity}
        records = {name: compare_answers(self._live, found, name=name, **how) for name, found in answers.items()}
        return {**self.manifest.parity, **records}

    @contextlib.contextmanager
    def _step(self, *, dropped: Iterable[str]) -> Iterator[None]:
        """Change the bundle without some of its files; an error undoes what was done."""
        manifest, engines, state = self.manifest, self._engines, self._files.state()
        try:
            self._files.drop(dropped)
            self._files.stage()
            yield
        except BaseException:
            self.manifest, self._engines = manifest, engines
            self._files.restore(state)
            raise
