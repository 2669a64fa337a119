"""Probabilities that mean what they say: a temperature, thresholds for a wanted precision, and how far off they are."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.errors import DataError, MissingDependencyError
from paddlenlp_embtune.evaluation.insight import calibration_table
from paddlenlp_embtune.serving.answers import passes
from paddlenlp_embtune.serving.bundle import Bundle, Calibration
from paddlenlp_embtune.serving.predictor import Predictor
from paddlenlp_embtune.serving.sealing import best_engine, reseal

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
_BINS, _PARTS = 15, 5
_LEAST_ANSWERS = 5
_LOWEST, _HIGHEST = 0.05, 20.0

Floats = npt.NDArray[np.floating[Any]]
Ids = npt.NDArray[np.int64]
AtTemperature = Callable[[float], npt.NDArray[np.float32]]


def calibration_error(probabilities: Floats, truth: Ids, *, bins: int = _BINS) -> float:
    """Return the expected calibration error: how far confidence is from accuracy, averaged over bins of equal width.

    Shapes:
        probabilities: (N, C); truth: (N,) class numbers
    Source:
        Guo et al. 2017, "On Calibration of Modern Neural Networks", equation 3
    """
    confidence, right = probabilities.max(axis=1).astype(np.float64), probabilities.argmax(axis=1) == truth
    return float(calibration_table(confidence, right, bins)["ece"])


def negative_log_likelihood(probabilities: Floats, truth: Ids) -> float:
    """Return the mean of -ln of the right label's probability; (N, C) probabilities and (N,) class numbers."""
    chosen = probabilities[np.arange(len(truth)), truth].astype(np.float64)
    return float(-np.log(np.maximum(chosen, 1e-12)).mean())


def brier_score(probabilities: Floats, truth: Ids) -> float:
    """Return the mean squared distance of (N, C) probabilities from the right labels, (N,): 0 to 2.

    Source:
        Brier 1950, "Verification of forecasts expressed in terms of probability"
    """
    exact = np.eye(probabilities.shape[1])[truth]
    return float(np.square(probabilities.astype(np.float64) - exact).sum(axis=1).mean())


def fit_temperature(at: AtTemperature, truth: Ids) -> float:
    """Find the temperature that makes the right labels likeliest.

    Args:
        at: gives (N, C) probabilities at a temperature.
        truth: (N,) class numbers.
    Returns:
        0.05 to 20: below 1 where the model was too timid, above 1 where it was too sure.
    Raises:
        MissingDependencyError: scipy is not installed.
    Source:
        Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2
    """
    try:
        optimize: Any = importlib.import_module("scipy.optimize")
    except ModuleNotFoundError:
        raise MissingDependencyError(
            'calibration needs scipy; install it with: pip install "paddlenlp-embtune[cpu]", or: pip install scipy'
        ) from None
    found = optimize.minimize_scalar(
        lambda logarithm: negative_log_likelihood(at(float(np.exp(logarithm))), truth),
        bounds=(np.log(_LOWEST), np.log(_HIGHEST)),
        method="bounded",
        options={"xatol": 1e-4},
    )
    return round(float(np.exp(found.x)), 4)


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
            # Between the last answer that may pass and the first that may not, so that rounding does not decide.
            thresholds[label] = float((score[rows[good[-1]]] + score[rows[good[-1] + 1]]) / 2)
    return thresholds


def calibrate(
    bundle: Bundle,
    texts: Sequence[str],
    labels: Sequence[str],
    *,
    target_precision: float | None = None,
    target: Path | None = None,
) -> Bundle:
    """Fit a bundle's temperature, and thresholds if a precision is wanted, on labelled rows, and write both into it.

    The labels that texts get stay the same, but for long texts whose windows disagree.

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
    truth = label_numbers(bundle, texts, labels, least=LEAST_ROWS)
    if target_precision is not None and not 0 < target_precision < 1:
        raise DataError(f"target_precision is {target_precision}; legal: above 0 and below 1")
    with Predictor(bundle, engine=best_engine(bundle.manifest)) as predictor:
        at = predictor.scaled_probabilities(texts)
    temperature = fit_temperature(at, truth)
    before, after = at(1.0), at(temperature)
    thresholds = (
        fit_thresholds(after, truth, bundle.manifest.labels, target_precision=target_precision)
        if target_precision is not None
        else {}
    )
    limits = np.array([thresholds.get(label, 0.0) for label in bundle.manifest.labels], dtype=np.float32)
    passed = passes(after, limits)
    record = Calibration(
        rows=len(truth),
        ece_before=calibration_error(before, truth),
        ece_after=calibration_error(after, truth),
        ece_held_out=calibration_error(_cross_fitted(at, truth), truth),
        nll_before=negative_log_likelihood(before, truth),
        nll_after=negative_log_likelihood(after, truth),
        brier_before=brier_score(before, truth),
        brier_after=brier_score(after, truth),
        target_precision=target_precision,
        answered=float(passed.mean()),
        precision=float((after.argmax(axis=1) == truth)[passed].mean()) if passed.any() else None,
    )
    changes = {"temperature": temperature, "thresholds": thresholds, "calibration": record}
    return reseal(bundle, target or bundle.path, **changes)


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


def _cross_fitted(at: AtTemperature, truth: Ids) -> npt.NDArray[np.float32]:
    """Probabilities of each fifth of the rows at the temperature fitted on the others."""
    result: npt.NDArray[np.float32] = at(1.0).copy()
    part = np.random.default_rng(0).permutation(len(truth)) % _PARTS
    for number in range(_PARTS):
        rest, own = part != number, part == number

        def others(temperature: float, rest: npt.NDArray[np.bool_] = rest) -> npt.NDArray[np.float32]:
            return at(temperature)[rest]

        result[own] = at(fit_temperature(others, truth[rest]))[own]
    return result
