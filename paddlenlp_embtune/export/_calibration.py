"""Fitting a temperature and thresholds on labelled rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from paddlenlp_embtune.bundle import Calibration
from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.evaluation import (
    brier_score,
    calibration_error,
    fit_thresholds,
    fit_validated_temperature,
    negative_log_likelihood,
    precision_held_out,
    threshold_array,
)
from paddlenlp_embtune.export.labelled_rows import LabelledRows
from paddlenlp_embtune.inference import above_threshold

__all__ = ["MIN_CALIBRATION_ROWS", "fit_calibration"]

MIN_CALIBRATION_ROWS = 20
"""Labelled rows that a temperature is fitted on, at the least."""


def fit_calibration(rows: LabelledRows, engine: str, labels: Sequence[str], target_precision: float | None) -> dict[str, Any]:
    """Fit a temperature, and thresholds if a precision is wanted; return the fields of the manifest that say so.

    Args:
        rows: 20 or more that the model was not trained on.
        engine: answers to them.
        labels: C names.
        target_precision: above 0 and below 1; None sets no thresholds.
    Raises:
        DataError: the rows are too few, have a label that is not known, or the precision is not possible.
        MissingDependencyError: scipy is not installed.
    """
    truth = rows.truth(least=MIN_CALIBRATION_ROWS)
    if target_precision is not None and not 0 < target_precision < 1:
        raise DataError(f"target_precision is {target_precision}; expected above 0 and below 1")
    at = rows.at_temperature(engine)
    fit = fit_validated_temperature(at, truth)
    before, after = at(1.0), at(fit.temperature)
    thresholds: dict[str, float] = {}
    limits = np.zeros(len(labels), dtype=np.float32)
    held_out: float | None = None
    if target_precision is not None:
        thresholds = fit_thresholds(after, truth, labels, target_precision=target_precision)
        limits = threshold_array(thresholds, labels)
        held_out = precision_held_out(after, truth, labels, target_precision)
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
