"""fastText's classifier, on characters or on words."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.errors import MissingDependencyError

__all__ = ["FasttextBaseline"]

_OPTIONS = {"lr": 0.5, "epoch": 25, "dim": 50, "wordNgrams": 2, "bucket": 200_000, "minCount": 1, "loss": "softmax"}
_LABEL = "__label__"


class FasttextBaseline:
    """fastText's linear classifier over averaged vectors of tokens and pairs of tokens.

    Args:
        tokens: ``char``, or ``word`` (jieba).
        seed: seeds the vectors and the order of the rows.
    Raises:
        MissingDependencyError: fasttext or jieba is not installed.
    Source:
        Joulin et al. 2017, "Bag of Tricks for Efficient Text Classification"
    """

    def __init__(self, tokens: str = "char", *, seed: int = 0) -> None:
        self.tokens, self._seed = tokens, seed
        self._fasttext = _import("fasttext")
        if tokens == "word":
            self._jieba = _import("jieba")
        self._model: Any = None
        self.classes: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        """The bytes of its vectors and its weights."""
        return sum(int(table.nbytes) for table in (self._model.get_input_matrix(), self._model.get_output_matrix()))

    def fit(self, texts: Sequence[str], labels: Sequence[str]) -> FasttextBaseline:
        """Learn from N texts and their labels, two different ones at least, in one thread, so that a seed decides all.

        fastText reads rows in their order at every epoch: where a file is sorted by label, it would end with the last one.
        """
        self.classes = tuple(sorted(set(labels)))
        number = {label: index for index, label in enumerate(self.classes)}
        order = np.random.default_rng(self._seed).permutation(len(texts))
        with tempfile.TemporaryDirectory(prefix="embtune-") as folder:
            path = Path(folder) / "rows.txt"
            lines = (f"{_LABEL}{number[labels[row]]} {self._split(texts[row])}" for row in order)
            path.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="replace")
            self._model = self._fasttext.train_supervised(str(path), thread=1, seed=self._seed, verbose=0, **_OPTIONS)
        return self

    def scores(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """Return the probabilities of N texts, (N, C) float64."""
        found = np.zeros((len(texts), len(self.classes)))
        cut = [self._split(text).encode("utf-8", "replace").decode("utf-8") for text in texts]
        names, shares = self._model.predict(cut, k=len(self.classes))
        for row, (of_text, values) in enumerate(zip(names, shares, strict=True)):
            found[row, [int(name.removeprefix(_LABEL)) for name in of_text]] = values
        return found

    def _split(self, text: str) -> str:
        folded = text.lower()
        tokens = self._jieba.lcut(folded) if self.tokens == "word" else folded
        return " ".join(token for token in tokens if not token.isspace())


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise MissingDependencyError(
            f'the baseline fasttext needs {name}; install it with: pip install "paddlenlp-embtune[baselines]"'
        ) from None
