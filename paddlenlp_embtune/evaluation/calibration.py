"""Probabilities that mean what they say: a temperature, thresholds for a wanted precision, and how far off they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.evaluation.insight import calibration_table
from paddlenlp_embtune.evaluation.temperature import fit_temperature, negative_log_likelihood, parts, settle_temperature
from paddlenlp_embtune.serving.answers import passes
from paddlenlp_embtune.serving.bundle import Bundle, Calibration
from paddlenlp_embtune.serving.predictor import Predictor
from paddlenlp_embtune.serving.sealing import best_engine, reseal, revising

__all__ = [
    "LEAST_ROWS",
    "brier_score",
    "calibrate",
    "calibration_error",
    "fit_temperature",
    "fit_thresholds",
    "label_numbers",
    "negative_log_likelihood",
]

LEAST_ROWS = 20
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


def calibrate(
    bundle: Bundle,
    texts: Sequence[str],
    labels: Sequence[str],
    *,
    target_precision: float | None = None,
    target: Path | None = None,
) -> Bundle:
    """Fit a bundle's temperature, and thresholds if a precision is wanted, on labelled rows, and write both into it.

    The labels that texts get stay the same. The temperature stays 1 where the rows do not bear another one out, and
    ``manifest.calibration.note`` says why.

    Args:
        bundle: an opened bundle.
        texts: N labelled rows that the model was not trained on.
        labels: their labels.
        target_precision: choose a threshold for each label that gives this precision on these rows; None sets none.
        target: where the result goes; None revises the bundle in its place.
    Raises:
        DataError: a label is not the bundle's, there are fewer than 20 rows, or the precision is not possible.
        MissingDependencyError: scipy is not installed.
        BundleError: the disk does not take the bundle.
    """
    with revising(bundle, target or bundle.path) as current:
        return reseal(current, target or current.path, **_fitted(current, texts, labels, target_precision))


def _fitted(bundle: Bundle, texts: Sequence[str], labels: Sequence[str], target_precision: float | None) -> dict[str, Any]:
    """Return what a bundle's manifest says after its calibration."""
    truth = label_numbers(bundle, texts, labels, least=LEAST_ROWS)
    if target_precision is not None and not 0 < target_precision < 1:
        raise DataError(f"target_precision is {target_precision}; legal: above 0 and below 1")
    with Predictor(bundle, engine=best_engine(bundle.manifest)) as predictor:
        at = predictor.scaled_probabilities(texts)
    fit = settle_temperature(at, truth)
    before, after = at(1.0), at(fit.temperature)
    thresholds: dict[str, float] = {}
    limits = np.zeros(len(bundle.manifest.labels), dtype=np.float32)
    held_out: float | None = None
    if target_precision is not None:
        thresholds = fit_thresholds(after, truth, bundle.manifest.labels, target_precision=target_precision)
        limits = _limits(thresholds, bundle.manifest.labels)
        held_out = _precision_held_out(after, truth, bundle.manifest.labels, target_precision)
    passed = passes(after, limits)
    record = Calibration(
        rows=len(truth),
        ece_before=calibration_error(before, truth),
        ece_after=calibration_error(after, truth),
        ece_held_out=calibration_error(fit.held_out, truth),
        nll_before=negative_log_likelihood(before, truth),
        nll_after=negative_log_likelihood(after, truth),
        brier_before=brier_score(before, truth),
        brier_after=brier_score(after, truth),
        target_precision=target_precision,
        answered=float(passed.mean()),
        precision=float((after.argmax(axis=1) == truth)[passed].mean()) if passed.any() else None,
        nll_held_out=negative_log_likelihood(fit.held_out, truth),
        precision_held_out=held_out,
        errors=fit.errors,
        note=fit.note,
    )
    return {"temperature": fit.temperature, "thresholds": thresholds, "calibration": record}


def label_numbers(bundle: Bundle, texts: Sequence[str], labels: Sequence[str], *, least: int) -> Ids:
    """Turn the labels of labelled rows into class numbers, (N,).

    Raises:
        DataError: they are not one for each text, are too few, or one is not the bundle's.
    """
    if len(labels) != len(texts):
        raise DataError(f"{len(texts)} texts and {len(labels)} labels do not belong together; legal: one label for each text")
    known = bundle.manifest.labels
    for index, label in enumerate(labels):
        if label not in known:
            raise DataError(f"row {index} has the label {label!r}, which the bundle does not know; legal: {', '.join(known)}")
    if len(labels) < least:
        raise DataError(f"{len(labels)} labelled rows are too few; legal: {least} or more")
    return np.asarray([known.index(label) for label in labels], dtype=np.int64)


def _limits(thresholds: Mapping[str, float], labels: Sequence[str]) -> npt.NDArray[np.float32]:
    return np.array([thresholds.get(label, 0.0) for label in labels], dtype=np.float32)


def _precision_held_out(probabilities: Floats, truth: Ids, labels: Sequence[str], target: float) -> float | None:
    """Return the share of right answers among those that pass thresholds which were chosen on other rows; None if none do."""
    passed = np.zeros(len(truth), dtype=np.bool_)
    for rest, own in parts(len(truth)):
        thresholds = fit_thresholds(probabilities[rest], truth[rest], labels, target_precision=target)
        passed[own] = passes(probabilities[own].astype(np.float32), _limits(thresholds, labels))
    return float((probabilities.argmax(axis=1) == truth)[passed].mean()) if passed.any() else None
