"""Several labels a text for the regression over n-grams: one logistic regression for each label against all the rest."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.evaluation import best_threshold

__all__ = ["fit_one_vs_rest", "row_f1", "several_log_likelihoods"]

Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]

_GRADIENT_TOLERANCE = 1e-3
_MOST_ITERATIONS = 1000
_LABELS_AT_ONCE = 16


def fit_one_vs_rest(
    features: Any, labels: Ids, *, penalty: float, row_weights: npt.NDArray[np.float32] | None = None
) -> tuple[Floats, Floats]:
    """Minimize for each label the weighted cross-entropy plus ``penalty / 2`` times the squares of its weights but the bias.

    A label that all rows have, or none, gets no weights: its bias says how likely it is.

    Args:
        features: (N, F) sparse matrix in CSR format, float64.
        labels: (N, C), 1 for each label that a row has, else 0.
        penalty: above 0.
        row_weights: (N,), above 0; None for 1.
    Shapes:
        returns: weights (F, C) and bias (C,), float64
    Source:
        Liu and Nocedal 1989, "On the limited memory BFGS method for large scale optimization", for blocks of labels at once
    """
    transposed = features.T.tocsr()
    shares = np.ones(len(labels)) if row_weights is None else row_weights.astype(np.float64)
    weights, bias = np.zeros((features.shape[1], labels.shape[1])), np.zeros(labels.shape[1])
    for first in range(0, labels.shape[1], _LABELS_AT_ONCE):
        part = slice(first, first + _LABELS_AT_ONCE)
        weights[:, part], bias[part] = _fit_block(features, transposed, labels[:, part], shares, penalty)
    return weights, bias


def _fit_block(features: Any, transposed: Any, labels: Ids, shares: Floats, penalty: float) -> tuple[Floats, Floats]:
    optimize: Any = importlib.import_module("scipy.optimize")
    signs = np.where(labels > 0, 1.0, -1.0)
    rates = ((shares @ labels + 0.5) / (shares.sum() + 1)).clip(1e-6, 1 - 1e-6)
    start = np.log(rates) - np.log1p(-rates)
    # In units of the curvature at the start, as the multinomial regression has it.
    chance = rates * (1 - rates)
    curvature = np.append((transposed.power(2) @ shares)[:, None] * chance + penalty, (shares.sum() * chance)[None], axis=0)
    scale = 1 / np.sqrt(curvature)
    total = shares.sum()

    def objective(scaled: Floats) -> tuple[float, Floats]:
        values = scaled.reshape(scale.shape) * scale
        margins = signs * (features @ values[:-1] + values[-1] + start)
        loss = shares @ np.logaddexp(0, -margins)
        error = -signs * shares[:, None] / (1 + np.exp(np.clip(margins, -500, 500)))
        gradient = np.empty_like(values)
        gradient[:-1] = transposed @ error + penalty * values[:-1]
        gradient[-1] = error.sum(axis=0)
        regular = penalty / 2 * float(np.vdot(values[:-1], values[:-1]))
        return (float(loss.sum()) + regular) / total, (gradient * scale).ravel() / total

    found = optimize.minimize(
        objective,
        np.zeros(scale.size),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": _MOST_ITERATIONS, "gtol": _GRADIENT_TOLERANCE / 10, "ftol": 64 * np.finfo(np.float64).eps},
    )
    solution = found.x.reshape(scale.shape) * scale
    return solution[:-1], solution[-1] + start


def several_log_likelihoods(logits: npt.NDArray[np.float32], labels: Ids) -> Floats:
    """Return the mean over the labels of the logarithm of what each row's labels, and their absence, are given, (N,)."""
    signed = np.where(labels > 0, logits, -logits).astype(np.float64)
    found: Floats = -np.logaddexp(0, -signed).mean(axis=1)
    return found


def row_f1(logits: npt.NDArray[np.float32], labels: Ids) -> Floats:
    """Return the F1 of each row's labels at the one threshold that is best for all, (N,); 1 for no labels that get none."""
    given = logits >= best_threshold(logits, labels)[0]
    sizes = given.sum(axis=1) + labels.sum(axis=1)
    found: Floats = np.where(sizes > 0, 2 * (given * labels).sum(axis=1) / np.maximum(sizes, 1), 1.0)
    return found
