"""The head of a model as a regression on the vectors of the training rows, whenever these have changed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.models import HeadRegression, fit_head, set_head
from paddlenlp_embtune.text import pad
from paddlenlp_embtune.training.callbacks.base import EmbtuneCallback

__all__ = ["HeadRegressionCallback", "vectors_of"]

_ROWS_AT_ONCE = 64


class HeadRegressionCallback(EmbtuneCallback):
    """Fits the head to the training rows before each evaluation and at the end of training.

    The same vectors give the same head, so a run that continues needs nothing of it from a checkpoint.

    Args:
        ids: N lists of ids of the training rows.
        labels: N class numbers.
        weights: (N,) float64 of the rows.
        num_labels: C.
        inverse_regularization: of the regression; None chooses it out of fold.
        seed: of the folds.
        between: that of the fits before the end of training, which spares choosing it each time; None does as at the end.
    """

    def __init__(
        self,
        ids: Sequence[Sequence[int]],
        labels: npt.NDArray[np.int64],
        weights: npt.NDArray[np.float64],
        *,
        num_labels: int,
        inverse_regularization: float | None,
        seed: int,
        between: float | None = None,
    ) -> None:
        super().__init__()
        self._ids, self._labels, self._weights = ids, labels, weights
        self._inverse, self._between = inverse_regularization, between or inverse_regularization
        self._options: Any = {"num_labels": num_labels, "seed": seed}

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Fit the head before the evaluation of the epoch."""
        self._fit(kwargs["model"], self._between)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Fit the head to the weights that training leaves, and say how."""
        began = time.perf_counter()
        regression = self._fit(kwargs["model"], self._inverse)
        self.record.write(
            "head",
            rows=len(self._labels),
            inverse_regularization=regression.inverse_regularization,
            seconds=round(time.perf_counter() - began, 2),
        )

    def _fit(self, model: Any, inverse: float | None) -> HeadRegression:
        network = getattr(model, "_layers", model)
        vectors = vectors_of(network, self._ids)
        regression = fit_head(vectors, self._labels, self._weights, inverse_regularization=inverse, **self._options)
        set_head(network, regression)
        return regression


def vectors_of(model: Any, ids: Sequence[Sequence[int]]) -> npt.NDArray[np.float32]:
    """Return the vectors of N texts by the model in evaluation mode, (N, H) float32; batches have similar lengths."""
    was_training = model.training
    model.eval()
    order = sorted(range(len(ids)), key=lambda number: len(ids[number]))
    parts = []
    with compat.require_paddle().no_grad():
        for start in range(0, len(order), _ROWS_AT_ONCE):
            batch = pad([ids[number] for number in order[start : start + _ROWS_AT_ONCE]])
            parts.append(model.features(compat.require_paddle().to_tensor(batch)).numpy())
    found = np.concatenate(parts)
    vectors: npt.NDArray[np.float32] = np.empty_like(found)
    vectors[order] = found
    if was_training:
        model.train()
    return vectors
