"""Fitting a temperature and thresholds on labelled rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.bundle import Calibration, LabelScaling, Manifest
from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.evaluation import (
    brier_score,
    calibration_error,
    calibration_table,
    fit_label_scaling,
    fit_label_thresholds,
    fit_thresholds,
    fit_validated_temperature,
    negative_log_likelihood,
    precision_held_out,
    threshold_array,
)
from paddlenlp_embtune.export.labelled_rows import LabelledRows
from paddlenlp_embtune.inference import MULTI, above_threshold, kind_of

__all__ = ["MIN_CALIBRATION_ROWS", "fit_calibration"]

MIN_CALIBRATION_ROWS = 20
"""Labelled rows that a temperature is fitted on, at the least."""

Floats = npt.NDArray[np.floating[Any]]


def fit_calibration(rows: LabelledRows, engine: str, manifest: Manifest, target_precision: float | None) -> dict[str, Any]:
    """Fit a temperature, and thresholds if a precision is wanted; return the fields of the manifest that say so.

    Where a text may have several labels, each is calibrated, and gets a threshold, in any case.

    Args:
        rows: 20 or more that the model was not trained on.
        engine: answers to them.
        manifest: of the bundle.
        target_precision: above 0 and below 1; None sets no thresholds.
    Raises:
        DataError: the rows are too few, have a label that is not known, or the precision is not possible.
        MissingDependencyError: scipy is not installed.
    """
    truth = rows.truth(least=MIN_CALIBRATION_ROWS)
    if target_precision is not None and not 0 < target_precision < 1:
        raise DataError(f"target_precision is {target_precision}; expected above 0 and below 1")
    labels = manifest.labels
    if kind_of(manifest).several:
        return _fit_each_label(rows, engine, labels, truth, target_precision)
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


def _fit_each_label(
    rows: LabelledRows, engine: str, labels: Sequence[str], truth: npt.NDArray[np.int64], target_precision: float | None
) -> dict[str, Any]:
    """Fit calibration and threshold of each label of rows that may have several; figures count pairs of row and label."""
    if target_precision is not None:
        raise DataError(
            f"target_precision is {target_precision}, but the bundle gives a text any number of labels, whose thresholds are "
            "those of highest F1; leave it out"
        )
    plain = rows.at_temperature(engine, kind=MULTI)(1.0)
    logits = MULTI.logits(plain)
    fit = fit_label_scaling(logits, truth)
    after = fit.scores(logits).astype(np.float32)
    thresholds, held_out = fit_label_thresholds(after, truth)
    given = MULTI.decide(after, thresholds)
    record = Calibration(
        rows=len(truth),
        **_before_and_after(plain, after, fit.held_out, truth),
        answered=float(given.any(axis=1).mean()),
        precision=_precision(given, truth),
        precision_held_out=_precision(held_out, truth),
        errors=int((given != truth).any(axis=1).sum()),
        note=fit.note,
    )
    scaled = {
        label: LabelScaling(scale=float(scale), offset=float(offset))
        for label, scale, offset in zip(labels, fit.scale, fit.offset, strict=True)
        if (scale, offset) != (1.0, 0.0)
    }
    limits = {label: float(limit) for label, limit in zip(labels, thresholds, strict=True)}
    return {"temperature": 1.0, "thresholds": limits, "scaling": scaled, "calibration": record}


def _before_and_after(plain: Floats, after: Floats, held_out: Floats, truth: npt.NDArray[np.int64]) -> dict[str, float]:
    """Measure scores of labels as answers to whether a row has the label, yes or no."""
    has, found = truth.ravel(), {}
    for name, scores in (("before", plain), ("after", after), ("held_out", held_out)):
        yes = scores.ravel().astype(np.float64)
        answers = np.stack([1 - yes, yes], axis=1)
        found[f"ece_{name}"] = float(calibration_table(yes, has.astype(np.bool_), 15)["ece"])
        found[f"nll_{name}"] = negative_log_likelihood(answers, has)
        if name != "held_out":
            found[f"brier_{name}"] = float(np.square(yes - has).mean())
    return found


def _precision(given: npt.NDArray[np.int64], truth: npt.NDArray[np.int64]) -> float | None:
    return float((given * truth).sum() / given.sum()) if given.any() else None
