"""Multinomial logistic regression on vectors of texts, each value scaled to mean 0 and variance 1."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["PENALTIES", "fit_vector_regression"]

Floats = npt.NDArray[np.float64]

PENALTIES = (3000.0, 1000.0, 300.0, 100.0, 30.0, 10.0, 3.0)
"""What the squares of all weights are multiplied by, halved, beside a sum of losses; from strong to weak."""

_MOST_ITERATIONS = 500


def fit_vector_regression(
    vectors: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    weights: Floats,
    *,
    num_labels: int,
    penalty: float,
    start: tuple[Floats, Floats] | None = None,
    tolerance: float = 1e-5,
) -> tuple[Floats, Floats]:
    """Minimize the weighted cross-entropy plus ``penalty / 2`` times the squares of all weights but the bias.

    A value that is the same in all rows counts for nothing; a class without rows is as unlikely as the unlikeliest.

    Args:
        vectors: of N texts.
        labels: class numbers below C.
        weights: of the rows, 0 or more and not all 0.
        num_labels: C.
        penalty: above 0; for weights of values that are scaled.
        start: a solution for another penalty, to begin with.
        tolerance: of the gradient of the mean loss.
    Shapes:
        vectors: (N, H); labels, weights: (N,); returns: (H, C) and (C,) float64, for vectors as they are
    Source:
        Liu and Nocedal 1989, "On the limited memory BFGS method for large scale optimization"
    """
    optimize: Any = importlib.import_module("scipy.optimize")
    present, numbers = np.unique(labels, return_inverse=True)
    if len(present) < 2:
        return np.zeros((vectors.shape[1], num_labels)), np.zeros(num_labels)
    shares = weights / weights.sum()
    mean = shares @ vectors
    scale = np.sqrt(np.maximum(shares @ np.square(vectors) - np.square(mean), 0.0))
    used = scale > 1e-6 * max(1e-30, float(np.abs(vectors).max(initial=0.0)))
    spread = np.where(used, scale, 1.0)
    # In single precision: twice as fast, and the sums that matter are of thousands of rows at most.
    scaled = ((vectors - mean) / spread * used).astype(np.float32)
    objective = _Objective(scaled, numbers, shares, penalty=penalty / weights.sum(), classes=len(present))
    first = np.zeros((vectors.shape[1] + 1, len(present)))
    if start is not None:
        first[:-1] = start[0][:, present] * spread[:, None] * used[:, None]
        first[-1] = (start[1] + mean @ start[0])[present]
    options = {"maxiter": _MOST_ITERATIONS, "gtol": tolerance, "ftol": 1e-4 * tolerance, "maxcor": 20}
    found = optimize.minimize(objective, first.ravel(), jac=True, method="L-BFGS-B", options=options).x.reshape(first.shape)
    fitted = found[:-1] * (used / spread)[:, None]
    offsets = found[-1] - mean @ fitted
    result, bias = np.zeros((vectors.shape[1], num_labels)), np.full(num_labels, found[-1].min() - 1.0)
    result[:, present], bias[present] = fitted, offsets
    return result, bias


class _Objective:
    """The mean loss and its gradient, as functions of the weights with the bias in the last row."""

    def __init__(
        self, scaled: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], shares: Floats, *, penalty: float, classes: int
    ) -> None:
        self._scaled, self._shares, self._penalty = scaled, shares, penalty
        self._places = np.arange(len(labels)), labels
        self._shape = scaled.shape[1] + 1, classes

    def __call__(self, flat: Floats) -> tuple[float, Floats]:
        """Return the loss and its gradient, flat as the weights are."""
        values = flat.reshape(self._shape)
        logits = self._scaled @ values[:-1].astype(np.float32) + values[-1]
        logits -= logits.max(axis=1, keepdims=True)
        true = logits[self._places]
        np.exp(logits, out=logits)
        sums = logits.sum(axis=1)
        loss = float(self._shares @ (np.log(sums) - true)) + self._penalty / 2 * float(np.vdot(values[:-1], values[:-1]))
        logits /= sums[:, None]
        logits[self._places] -= 1
        logits *= self._shares[:, None]
        gradient = np.empty_like(values)
        gradient[:-1] = self._scaled.T @ logits.astype(np.float32) + self._penalty * values[:-1]
        gradient[-1] = logits.sum(axis=0)
        return loss, gradient.ravel()
