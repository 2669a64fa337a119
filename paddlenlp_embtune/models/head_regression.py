"""A logistic regression on the vectors of texts, as the linear head of a model."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.models._softmax_regression import (
    fit_softmax_regression,
    label_log_likelihoods,
    mirrored_penalty,
    sparse_matrices,
)

__all__ = ["HeadRegression", "fit_head", "set_head"]

Floats = npt.NDArray[np.float64]

_CHOICES = (0.01, 0.1, 1.0, 10.0)
_USUAL = 0.1
_FOLDS = 4


class HeadRegression:
    """A fitted regression.

    Args:
        weight: (H, C) float64, for the vectors as they are.
        bias: (C,) float64.
        inverse_regularization: C of the fit.
        out_of_fold: (N, C) float64 logits of rows that were left out of it; None where there were too few.
    """

    def __init__(self, weight: Floats, bias: Floats, inverse_regularization: float, out_of_fold: Floats | None) -> None:
        self.weight, self.bias = weight, bias
        self.inverse_regularization, self.out_of_fold = inverse_regularization, out_of_fold

    def __call__(self, vectors: npt.NDArray[np.floating[Any]]) -> Floats:
        """Return logits, (N, H) to (N, C)."""
        found: Floats = vectors.astype(np.float64) @ self.weight + self.bias
        return found


def fit_head(
    vectors: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    weights: Floats,
    *,
    num_labels: int,
    inverse_regularization: float | None = None,
    seed: int = 0,
) -> HeadRegression:
    """Fit a regression on vectors, which are centred and scaled to a mean square of 1 for it.

    Args:
        vectors: (N, H).
        labels: (N,) class numbers below C; every class has a row.
        weights: (N,) of the rows, above 0.
        num_labels: C.
        inverse_regularization: of the penalty; None takes the strongest that out of fold is as good as the best, where every
            label has 4 rows or more, and otherwise 0.1.
        seed: of the folds.
    Raises:
        MissingDependencyError: scipy is not installed.
    """
    scaled, scale, mean = _scaled(vectors)
    out_of_fold = None
    chosen = inverse_regularization
    if np.bincount(labels, minlength=num_labels).min() >= _FOLDS:
        folds = _folds(labels, seed)
        tried = {
            choice: _left_out(scaled, labels, weights, folds, num_labels=num_labels, inverse=choice)
            for choice in ((chosen,) if chosen is not None else _CHOICES)
        }
        chosen = _simplest(
            {
                choice: weights * -label_log_likelihoods(logits.astype(np.float32), labels).astype(np.float64)
                for choice, logits in tried.items()
            }
        )
        out_of_fold = tried[chosen]
    chosen = _USUAL if chosen is None else chosen
    weight, bias = _fit(scaled, labels, weights, num_labels=num_labels, inverse=chosen)
    return HeadRegression(weight / scale, bias - mean @ weight / scale, chosen, out_of_fold)


def set_head(model: Any, regression: HeadRegression) -> None:
    """Make a regression the head of a model that has a linear one."""
    model.head.weight.set_value(regression.weight.astype(np.float32))
    model.head.bias.set_value(regression.bias.astype(np.float32))


def _simplest(losses: dict[float, Floats]) -> float:
    """Return the strongest penalty whose loss is within one standard error of the least: few rows choose at random else.

    Source:
        Breiman et al. 1984, "Classification and Regression Trees", section 3.4.3
    """
    best = min(losses, key=lambda choice: losses[choice].sum())
    for choice in sorted(losses):
        more = losses[choice] - losses[best]
        if more.mean() <= more.std() / np.sqrt(len(more)):
            return choice
    return best


def _scaled(vectors: npt.NDArray[np.float32]) -> tuple[Floats, float, Floats]:
    """Centre vectors and bring their values to a mean square of 1; return the scale and the mean, too."""
    values = vectors.astype(np.float64)
    mean = values.mean(axis=0)
    scale = float(np.sqrt(np.square(values - mean).mean())) or 1.0
    return (values - mean) / scale, scale, mean


def _fit(
    values: Floats, labels: npt.NDArray[np.int64], weights: Floats, *, num_labels: int, inverse: float
) -> tuple[Floats, Floats]:
    penalty = mirrored_penalty(inverse, num_labels)
    features = sparse_matrices().csr_matrix(values)
    return fit_softmax_regression(features, labels, weights, num_labels=num_labels, penalty=penalty)


def _folds(labels: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.int64]:
    """The fold of each row, (N,); each label is spread evenly."""
    generator, folds = np.random.default_rng(seed), np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        folds[rows] = np.arange(len(rows)) % _FOLDS
    return folds


def _left_out(
    values: Floats,
    labels: npt.NDArray[np.int64],
    weights: Floats,
    folds: npt.NDArray[np.int64],
    *,
    num_labels: int,
    inverse: float,
) -> Floats:
    """Logits of each row by a regression that was fitted without its fold."""
    logits = np.zeros((len(labels), num_labels))
    for fold in range(_FOLDS):
        held = folds == fold
        weight, bias = _fit(values[~held], labels[~held], weights[~held], num_labels=num_labels, inverse=inverse)
        logits[held] = values[held] @ weight + bias
    return logits
