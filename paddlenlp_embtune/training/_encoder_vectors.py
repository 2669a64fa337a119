"""Vectors of texts from a pretrained encoder as it comes, without any training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.config import Recipe
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.inference import BatchRunner
from paddlenlp_embtune.text import chunk_texts, tokenize_texts
from paddlenlp_embtune.training.initialize import initialize_embedding

__all__ = ["EncoderVectors"]

_BATCH = 64


class EncoderVectors:
    """The vectors that a recipe's encoder gives texts before it is tuned.

    Args:
        recipe: its ``model.encoder`` and ``text``.
    Raises:
        RecipeError: the recipe names no encoder.
        HostError: PaddleNLP cannot build it.
    """

    def __init__(self, recipe: Recipe) -> None:
        from paddlenlp_embtune.models import FeatureEngine, classifier_on, feature_width

        start = initialize_embedding(recipe, ())
        if start.pretrained is None:
            raise RecipeError("the recipe names no encoder whose vectors could be read; set model.encoder")
        model = classifier_on(start.pretrained, start.table, num_labels=2, options=recipe.model.options)
        model.eval()
        self.size_bytes = sum(4 * int(parameter.size) for parameter in model.parameters())
        self._text, self._tokenizer, self._width = recipe.text, start.tokenizer, feature_width(model)
        self._engine = FeatureEngine(model)

    def __call__(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return the vectors of N texts, (N, H) float32; a text that is read in windows has the mean of theirs."""
        runner = BatchRunner(self._engine, num_labels=2 + self._width, batch_size=_BATCH, num_threads=compat.usable_threads())
        vectors = np.empty((len(texts), self._width), np.float32)
        try:
            for start, chunk in chunk_texts(texts):
                tokenized = tokenize_texts(chunk, self._tokenizer, max_length=self._text.max_length, windows=self._text.windows)
                found = runner.submit(tokenized.ids)()[:, 2:]
                counts = np.diff(tokenized.first)[:, None]
                vectors[start : start + len(chunk)] = np.add.reduceat(found, tokenized.first[:-1]) / counts
        finally:
            runner.close()
        return vectors
