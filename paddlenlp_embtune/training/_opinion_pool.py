"""How much each expert counts in a logarithmic opinion pool."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["log_likelihoods", "pool_weights", "pooled"]

Floats = npt.NDArray[np.float64]
_MOST = 20.0


def pool_weights(experts: Sequence[npt.NDArray[Any]], labels: npt.NDArray[np.int64]) -> Floats:
    """Return the weights, 0 or more, with which the sum of the experts' logits makes labels most likely.

    The problem is convex. Weights need not add up to 1: what they add up to is a temperature.

    Args:
        experts: logits of each, of rows that it was not fitted to.
        labels: (N,) class numbers.
    Shapes:
        experts: E times (N, C); returns: (E,) float64, not all 0
    Source:
        Heskes 1998, "Selecting weighting factors in logarithmic opinion pools"; Hinton 2002, "Training Products of Experts by
        Minimizing Contrastive Divergence", section 1
    """
    optimize: Any = importlib.import_module("scipy.optimize")
    stacked = np.stack([each.astype(np.float64) for each in experts])
    rows = np.arange(len(labels))
    true = stacked[:, rows, labels]

    def objective(weights: Floats) -> tuple[float, Floats]:
        probabilities, normalizer = _softmax(np.einsum("e,enc->nc", weights, stacked))
        loss = float((normalizer - weights @ true).mean())
        gradient = np.einsum("nc,enc->en", probabilities, stacked) - true
        return loss, gradient.mean(axis=1)

    first = np.full(len(experts), 1.0 / len(experts))
    found = optimize.minimize(objective, first, jac=True, method="L-BFGS-B", bounds=[(0.0, _MOST)] * len(experts)).x
    # Logits that tell nothing of the labels leave all at 0: then no expert is better than another.
    result: Floats = found if found.sum() > 1e-6 else first
    return result


def pooled(experts: Sequence[npt.NDArray[Any]], weights: Floats) -> Floats:
    """Return the weighted sum of logits, E times (N, C) to (N, C)."""
    result: Floats = np.einsum("e,enc->nc", weights, np.stack([each.astype(np.float64) for each in experts]))
    return result


def log_likelihoods(logits: npt.NDArray[Any], labels: npt.NDArray[np.int64]) -> Floats:
    """Return the log-likelihood of each label, (N,), at the temperature that makes their mean largest; logits (N, C)."""
    best = logits.astype(np.float64) * pool_weights([logits], labels)[0]
    result: Floats = best[np.arange(len(labels)), labels] - _softmax(best)[1]
    return result


def _softmax(logits: Floats) -> tuple[Floats, Floats]:
    """Probabilities (N, C), and logarithms of the sums (N,)."""
    most = logits.max(axis=1, keepdims=True)
    powers = np.exp(logits - most)
    sums = powers.sum(axis=1, keepdims=True)
    return powers / sums, (np.log(sums) + most)[:, 0]
