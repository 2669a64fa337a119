"""Calibration: temperature, thresholds for a target precision, and calibration error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.evaluation._temperature import fit_temperature, folds, negative_log_likelihood
from paddlenlp_embtune.evaluation.error_analysis import calibration_table
from paddlenlp_embtune.inference import above_threshold

__all__ = [
    "brier_score",
    "calibration_error",
    "fit_temperature",
    "fit_thresholds",
    "negative_log_likelihood",
    "precision_held_out",
    "threshold_array",
]

_BINS = 15
_LEAST_ANSWERS = 5

Floats = npt.NDArray[np.floating[Any]]
Ids = npt.NDArray[np.int64]


def calibration_error(probabilities: Floats, truth: Ids, *, bins: int = _BINS) -> float:
    """Return the expected calibration error: how far confidence is from accuracy, averaged over bins of equal width.

    Shapes:
        probabilities: (N, C); truth: (N,) class numbers
    Source:
        Guo et al. 2017, "On Calibration of Modern Neural Networks", equation 3
    """
    confidence, right = probabilities.max(axis=1).astype(np.float64), probabilities.argmax(axis=1) == truth
    return float(calibration_table(confidence, right, bins)["ece"])


def brier_score(probabilities: Floats, truth: Ids) -> float:
    """Return the mean squared distance of (N, C) probabilities from the right labels, (N,): 0 to 2.

    Source:
        Brier 1950, "Verification of forecasts expressed in terms of probability"
    """
    exact = np.eye(probabilities.shape[1])[truth]
    return float(np.square(probabilities.astype(np.float64) - exact).sum(axis=1).mean())


def fit_thresholds(probabilities: Floats, truth: Ids, labels: Sequence[str], *, target_precision: float) -> dict[str, float]:
    """Find for each label the lowest score from which on its answers are right as often as wanted.

    Args:
        probabilities: (N, C).
        truth: (N,) class numbers.
        labels: C names.
        target_precision: share of the answers at or above the threshold that are right, above 0 and below 1.
    Returns:
        Thresholds by label, 0 to 1; 0 where every answer may pass, 1 where no threshold gives that precision on 5 answers.
    """
    best, score = probabilities.argmax(axis=1), probabilities.max(axis=1)
    thresholds = {}
    for number, label in enumerate(labels):
        rows = np.flatnonzero(best == number)
        rows = rows[np.argsort(-score[rows], kind="stable")]
        precision = np.cumsum(truth[rows] == number) / np.arange(1, len(rows) + 1)
        last = np.append(np.diff(score[rows]) != 0, True)[: len(rows)]  # answers of one score pass together
        good = np.flatnonzero((precision >= target_precision) & last & (np.arange(len(rows)) >= _LEAST_ANSWERS - 1))
        if not good.size:
            thresholds[label] = 1.0
        elif good[-1] == len(rows) - 1:
            thresholds[label] = 0.0
        else:
            thresholds[label] = _between(float(score[rows[good[-1]]]), float(score[rows[good[-1] + 1]]))
    return thresholds


def _between(passes_last: float, fails_first: float) -> float:
    """Return a threshold between two scores, so that rounding does not decide; in float32, as answers are compared."""
    middle = float(np.float32((passes_last + fails_first) / 2))
    return middle if middle > np.float32(fails_first) else passes_last


def threshold_array(thresholds: Mapping[str, float], labels: Sequence[str]) -> npt.NDArray[np.float32]:
    """Return the thresholds in the order of the labels, (C,) float32; 0 where a label has none."""
    return np.array([thresholds.get(label, 0.0) for label in labels], dtype=np.float32)


def precision_held_out(probabilities: Floats, truth: Ids, labels: Sequence[str], target: float) -> float | None:
    """Return the share of right answers among those that pass thresholds which were chosen on other rows; None if none do."""
    passed = np.zeros(len(truth), dtype=np.bool_)
    for rest, own in folds(len(truth)):
        thresholds = fit_thresholds(probabilities[rest], truth[rest], labels, target_precision=target)
        passed[own] = above_threshold(probabilities[own].astype(np.float32), threshold_array(thresholds, labels))
    return float((probabilities.argmax(axis=1) == truth)[passed].mean()) if passed.any() else None
