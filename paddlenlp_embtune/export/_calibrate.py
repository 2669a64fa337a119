"""Calibrating a bundle: its temperature and thresholds, fitted on labelled rows and written into its manifest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.bundle import Bundle, Calibration
from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.evaluation import (
    brier_score,
    calibration_error,
    encode_labels,
    fit_thresholds,
    fit_validated_temperature,
    negative_log_likelihood,
    precision_held_out,
    threshold_array,
)
from paddlenlp_embtune.export.seal import best_engine, reseal, revising
from paddlenlp_embtune.inference import Predictor, above_threshold

__all__ = ["MIN_CALIBRATION_ROWS", "calibrate"]

MIN_CALIBRATION_ROWS = 20
"""Labelled rows that a temperature is fitted on, at the least."""

Ids = npt.NDArray[np.int64]


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
    truth = encode_labels(bundle, texts, labels, least=MIN_CALIBRATION_ROWS)
    if target_precision is not None and not 0 < target_precision < 1:
        raise DataError(f"target_precision is {target_precision}; expected above 0 and below 1")
    with Predictor(bundle, engine=best_engine(bundle.manifest)) as predictor:
        at = predictor.scaled_probabilities(texts)
    fit = fit_validated_temperature(at, truth)
    before, after = at(1.0), at(fit.temperature)
    thresholds: dict[str, float] = {}
    limits = np.zeros(len(bundle.manifest.labels), dtype=np.float32)
    held_out: float | None = None
    if target_precision is not None:
        thresholds = fit_thresholds(after, truth, bundle.manifest.labels, target_precision=target_precision)
        limits = threshold_array(thresholds, bundle.manifest.labels)
        held_out = precision_held_out(after, truth, bundle.manifest.labels, target_precision)
    passed = above_threshold(after, limits)
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
