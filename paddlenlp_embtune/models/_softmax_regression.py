"""Multinomial logistic regression on sparse features, fitted by L-BFGS in coordinates of similar curvature."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.errors import MissingDependencyError
from paddlenlp_embtune.inference import softmax

__all__ = ["fit_softmax_regression", "label_log_likelihoods", "mirrored_penalty", "sparse_matrices"]

Floats = npt.NDArray[np.float64]

_GRADIENT_TOLERANCE = 1e-3
_MOST_ITERATIONS = 2000
_MOST_LINE_SEARCHES = 50


def sparse_matrices() -> Any:
    """Return scipy's module of sparse matrices.

    Raises:
        MissingDependencyError: scipy is not installed.
    """
    try:
        return importlib.import_module("scipy.sparse")
    except ModuleNotFoundError:
        raise MissingDependencyError('training needs scipy; install it with: pip install "paddlenlp-embtune[cpu]"') from None


def mirrored_penalty(inverse_regularization: float, num_labels: int) -> float:
    """Return the penalty of so many classes: the weights of two mirror each other, and as one plane count twice as much."""
    return (2 if num_labels == 2 else 1) / inverse_regularization


def label_log_likelihoods(logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Return the logarithm of each label's probability, (N,) float32, at least ln 1e-12; logits (N, C) float32."""
    found: npt.NDArray[np.float32] = np.log(np.maximum(softmax(logits)[np.arange(len(labels)), labels], 1e-12))
    return found


def fit_softmax_regression(
    features: Any,
    labels: npt.NDArray[np.int64],
    weights: Floats,
    *,
    num_labels: int,
    penalty: float,
    offsets: Floats | None = None,
) -> tuple[Floats, Floats]:
    """Minimize the weighted cross-entropy plus ``penalty / 2`` times the squares of all weights but the bias.

    Every weight is measured in units of its curvature at the start, where all classes are equally likely. L-BFGS then needs a
    third to a half of the steps that it needs for the weights as they are, and ends nearer to the minimum.

    Args:
        features: (N, F) sparse matrix in CSR format, float64.
        labels: (N,) class numbers below C.
        weights: (N,) of the rows, 0 or more and not all 0.
        num_labels: C.
        penalty: above 0.
        offsets: (N, C) logits that are added to those of the weights; None adds none.
    Shapes:
        returns: weights (F, C) and bias (C,), float64
    Source:
        Liu and Nocedal 1989, "On the limited memory BFGS method for large scale optimization"; the diagonal scaling is ours
    """
    optimize: Any = importlib.import_module("scipy.optimize")
    objective = _Objective(features, labels, weights, num_labels=num_labels, penalty=penalty, offsets=offsets)
    found = optimize.minimize(
        objective,
        np.zeros(objective.scale.size),
        jac=True,
        method="L-BFGS-B",
        options={
            "maxiter": _MOST_ITERATIONS,
            "gtol": _GRADIENT_TOLERANCE,
            "ftol": 64 * np.finfo(np.float64).eps,
            "maxls": _MOST_LINE_SEARCHES,
        },
    )
    solution = found.x.reshape(objective.scale.shape) * objective.scale
    return solution[:-1], solution[-1]


class _Objective:
    """The mean loss and its gradient, as functions of the scaled weights with the bias in the last row."""

    def __init__(
        self,
        features: Any,
        labels: npt.NDArray[np.int64],
        weights: Floats,
        *,
        num_labels: int,
        penalty: float,
        offsets: Floats | None = None,
    ) -> None:
        self._features, self._transposed = features, features.T.tocsr()
        self._offsets = 0.0 if offsets is None else offsets
        self._places = labels, np.arange(len(labels))
        self._shares = weights / weights.sum()
        self._penalty = penalty / weights.sum()
        chance = (1 - 1 / num_labels) / num_labels
        curvature = np.append(self._transposed.power(2) @ self._shares * chance + self._penalty, chance)
        self.scale: Floats = np.repeat(1 / np.sqrt(curvature)[:, None], num_labels, axis=1)

    def __call__(self, scaled: Floats) -> tuple[float, Floats]:
        """Return the loss and its gradient, flat as the weights are."""
        values = scaled.reshape(self.scale.shape) * self.scale
        # Classes in rows from here on: reductions over a short last axis are slow.
        logits = np.ascontiguousarray((self._features @ values[:-1] + values[-1] + self._offsets).T)
        logits -= logits.max(axis=0)
        true = logits[self._places]
        np.exp(logits, out=logits)
        sums = logits.sum(axis=0)
        loss = float(self._shares @ (np.log(sums) - true)) + self._penalty / 2 * float(np.vdot(values[:-1], values[:-1]))
        logits /= sums
        logits[self._places] -= 1
        logits *= self._shares
        gradient = np.empty_like(values)
        gradient[:-1] = self._transposed @ np.ascontiguousarray(logits.T)
        gradient[:-1] += self._penalty * values[:-1]
        gradient[-1] = logits.sum(axis=1)
        gradient *= self.scale
        return loss, gradient.ravel()
