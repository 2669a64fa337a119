"""Metrics, thresholds and calibration of classifiers that give a text any number of labels; calibration needs scipy."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.evaluation._scipy import import_scipy
from paddlenlp_embtune.evaluation._temperature import folds

__all__ = [
    "LabelCalibration",
    "best_threshold",
    "fit_label_scaling",
    "fit_label_thresholds",
    "ranking_precision",
    "several_labels_report",
]

Floats = npt.NDArray[np.floating[Any]]
Ids = npt.NDArray[np.int64]

_FEW = 10
"""Rows with and without a label, at least, for a threshold or a calibration of its own: ten events for each parameter."""
_MOST_SCALE, _MOST_OFFSET = 20.0, 50.0
_LEAST = 1e-12


def several_labels_report(truth: Ids, given: Ids, labels: Sequence[str], scores: Floats | None = None) -> dict[str, Any]:
    """Compare the labels that texts have with those that they were given.

    Args:
        truth: (N, C), 1 for each label that a text has.
        given: (N, C), 1 for each label that it was given.
        labels: the class names, C.
        scores: (N, C); None leaves the ranking out.
    Returns:
        ``n``; ``accuracy``, the share of texts with exactly their labels (subset accuracy); ``f1_micro``,
        ``precision_micro`` and ``recall_micro``, over all pairs of text and label; ``f1_macro``, the mean over the labels;
        ``f1_weighted``, by their rows; ``f1_samples``, the mean over the texts, 1 for a text that has no label and gets none;
        ``ranking``, the label ranking average precision; ``per_class`` as for one label a text; ``labels_per_row`` and
        ``rows_without``, of the ``truth`` and as ``given``.
    Source:
        Tsoumakas, Katakis and Vlahavas 2010, "Mining Multi-label Data", section 7
    """
    both = truth * given
    hits, support, claimed = both.sum(axis=0), truth.sum(axis=0), given.sum(axis=0)
    precision, recall, f1 = _share(hits, claimed), _share(hits, support), _share(2 * hits, support + claimed)
    sizes = truth.sum(axis=1) + given.sum(axis=1)
    of_rows = np.where(sizes > 0, _share(2 * both.sum(axis=1), sizes), 1.0)
    found: dict[str, Any] = {
        "n": len(truth),
        "accuracy": float((truth == given).all(axis=1).mean()),
        "f1_micro": _ratio(2 * hits.sum(), support.sum() + claimed.sum()),
        "precision_micro": _ratio(hits.sum(), claimed.sum()),
        "recall_micro": _ratio(hits.sum(), support.sum()),
        "f1_macro": float(f1.mean()),
        "f1_weighted": _ratio((f1 * support).sum(), support.sum()),
        "f1_samples": float(of_rows.mean()),
        "per_class": {
            label: {
                "precision": float(precision[at]),
                "recall": float(recall[at]),
                "f1": float(f1[at]),
                "support": int(support[at]),
            }
            for at, label in enumerate(labels)
        },
        "labels_per_row": {"truth": float(truth.sum(axis=1).mean()), "given": float(given.sum(axis=1).mean())},
        "rows_without": {"truth": int((~truth.any(axis=1)).sum()), "given": int((~given.any(axis=1)).sum())},
    }
    return found if scores is None else {**found, "ranking": ranking_precision(truth, scores)}


def ranking_precision(truth: Ids, scores: Floats) -> float:
    """Return the label ranking average precision: of the labels above each label of a text, the share that it has too.

    Texts without a label, or with all of them, count as 1.

    Shapes:
        truth: (N, C) of 0 and 1; scores: (N, C)
    Source:
        Tsoumakas, Katakis and Vlahavas 2010, "Mining Multi-label Data", section 7.1.2; ties count as scikit-learn counts them
    """
    found = np.ones(len(truth))
    for row, (own, values) in enumerate(zip(truth.astype(np.bool_), scores, strict=True)):
        mine = np.sort(values[own])
        if len(mine) in (0, len(own)):
            continue
        above = len(own) - np.searchsorted(np.sort(values), mine, side="left")
        found[row] = ((len(mine) - np.searchsorted(mine, mine, side="left")) / above).mean()
    return float(found.mean())


def best_threshold(scores: Floats, truth: Ids) -> tuple[float, float]:
    """Return the threshold of highest F1 over all pairs of text and label together, and this F1.

    Without any label in the truth, the threshold is 1, which no score reaches.

    Shapes:
        scores, truth: of one shape, (N, C) or (N,)
    """
    values, right = scores.ravel(), truth.ravel()
    order = np.argsort(-values, kind="stable")
    values = values[order]
    hits, given = np.cumsum(right[order]), np.arange(1, len(values) + 1)
    total = int(right.sum())
    if not total:
        return 1.0, 0.0
    f1 = 2 * hits / (given + total)
    last = np.append(np.diff(values) != 0, True)  # pairs of one score pass together
    at = int(np.where(last, f1, -1.0).argmax())
    below = float(values[at + 1]) if at + 1 < len(values) else min(0.0, 2 * float(values[at]))
    middle = float(np.float32((float(values[at]) + below) / 2))
    return (middle if middle > np.float32(below) else float(values[at])), float(f1[at])


def fit_label_thresholds(scores: Floats, truth: Ids) -> tuple[npt.NDArray[np.float32], Ids]:
    """Find from which score on each label is given: one threshold for all, or one for each where that is better held out.

    A label with fewer than ten rows with or without it takes the threshold of all. Which of the two is better is judged by the
    F1 over all pairs, on fifths of the rows that neither was fitted on.

    Args:
        scores: (N, C) float32.
        truth: (N, C) of 0 and 1.
    Returns:
        (C,) float32 thresholds, and what texts are given by those that were fitted on the other rows, (N, C) of 0 and 1
    Source:
        Fan and Lin 2007, "A Study on Threshold Selection for Multi-label Classification", the method SCutFBR.1 without its
        floor; the choice between one threshold and many is ours
    """
    fits = (_one_threshold, _own_thresholds)
    held_out = [_cross_fitted(fit, scores, truth) for fit in fits]
    f1 = [_ratio(2 * (given * truth).sum(), given.sum() + truth.sum()) for given in held_out]
    chosen = int(f1[1] > f1[0])
    return fits[chosen](scores, truth), held_out[chosen]


def _one_threshold(scores: Floats, truth: Ids) -> npt.NDArray[np.float32]:
    return np.full(scores.shape[1], best_threshold(scores, truth)[0], dtype=np.float32)


def _own_thresholds(scores: Floats, truth: Ids) -> npt.NDArray[np.float32]:
    found = _one_threshold(scores, truth)
    for label in _well_known(truth):
        found[label] = best_threshold(scores[:, label], truth[:, label])[0]
    return found


def _cross_fitted(fit: Callable[[Floats, Ids], npt.NDArray[np.float32]], scores: Floats, truth: Ids) -> Ids:
    given = np.zeros_like(truth)
    for rest, own in folds(len(truth)):
        given[own] = scores[own] >= fit(scores[rest], truth[rest])
    return given


@dataclasses.dataclass(frozen=True, eq=False)
class LabelCalibration:
    """How logits become calibrated scores: the sigmoid of scale times logit plus offset.

    Args:
        scale, offset: of each label, (C,) float64; 1 and 0 where the rows do not support others.
        held_out: (N, C) scores of rows that the calibration was not fitted on.
        note: what was found, where it is worth saying; None otherwise.
    """

    scale: npt.NDArray[np.float64]
    offset: npt.NDArray[np.float64]
    held_out: npt.NDArray[np.float64]
    note: str | None

    def scores(self, logits: Floats) -> npt.NDArray[np.float64]:
        """Return the scores of (N, C) logits."""
        return _sigmoid(logits * self.scale + self.offset)


def fit_label_scaling(logits: Floats, truth: Ids) -> LabelCalibration:
    """Calibrate each label by itself, all in the same way, or not at all: what is likeliest on rows that it was not fitted on.

    Labels with fewer than ten rows with or without them are calibrated as all labels together.

    Args:
        logits: (N, C).
        truth: (N, C) of 0 and 1.
    Raises:
        MissingDependencyError: scipy is not installed.
    Source:
        Platt 1999, "Probabilistic Outputs for Support Vector Machines", section 2.2; the choice is ours
    """
    fits: dict[str, Callable[[Floats, Ids], tuple[Floats, Floats]]] = {
        "plain": _no_scaling,
        "one": _one_scaling,
        "each": _own_scaling,
    }
    held_out, likelihoods = {}, {}
    for name, fit in fits.items():
        scores = np.zeros(logits.shape)
        for rest, own in folds(len(truth)):
            scale, offset = fit(logits[rest], truth[rest])
            scores[own] = _sigmoid(logits[own] * scale + offset)
        held_out[name], likelihoods[name] = scores, _log_likelihood(scores, truth)
    best = max(fits, key=likelihoods.__getitem__)
    scale, offset = fits[best](logits, truth)
    note = None
    if best == "plain":
        note = (
            "a calibration of the labels is worse than none on rows that it was not fitted on, so there is none; give more rows"
        )
    elif best == "one":
        note = "all labels are calibrated in one way, which does better than one for each on rows that it was not fitted on"
    return LabelCalibration(scale.astype(np.float64), offset.astype(np.float64), held_out[best], note)


def _no_scaling(logits: Floats, _: Ids) -> tuple[Floats, Floats]:
    return np.ones(logits.shape[1]), np.zeros(logits.shape[1])


def _one_scaling(logits: Floats, truth: Ids) -> tuple[Floats, Floats]:
    scale, offset = _platt(logits.ravel(), truth.ravel())
    return np.full(logits.shape[1], scale), np.full(logits.shape[1], offset)


def _own_scaling(logits: Floats, truth: Ids) -> tuple[Floats, Floats]:
    scale, offset = _one_scaling(logits, truth)
    for label in _well_known(truth):
        scale[label], offset[label] = _platt(logits[:, label], truth[:, label])
    return scale, offset


def _platt(logits: Floats, truth: Ids) -> tuple[float, float]:
    """Return scale and offset that make the labels likeliest, with targets that are not quite 0 and 1."""
    optimize = import_scipy("optimize", what="calibration")
    positive = int(truth.sum())
    if positive in (0, len(truth)):
        return 1.0, 0.0
    targets = np.where(truth > 0, (positive + 1) / (positive + 2), 1 / (len(truth) - positive + 2))
    values = logits.astype(np.float64)

    def objective(found: Floats) -> tuple[float, Floats]:
        scaled = values * found[0] + found[1]
        error = _sigmoid(scaled) - targets
        loss = np.logaddexp(0, scaled) - targets * scaled
        return float(loss.mean()), np.array([(error * values).mean(), error.mean()])

    bounds = [(0.05, _MOST_SCALE), (-_MOST_OFFSET, _MOST_OFFSET)]
    scale, offset = optimize.minimize(objective, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=bounds).x
    return round(float(scale), 4), round(float(offset), 4)


def _well_known(truth: Ids) -> list[int]:
    counts = truth.sum(axis=0)
    found: list[int] = np.flatnonzero((counts >= _FEW) & (len(truth) - counts >= _FEW)).tolist()
    return found


def _log_likelihood(scores: Floats, truth: Ids) -> float:
    right = np.where(truth > 0, scores, 1 - scores)
    return float(np.log(np.maximum(right, _LEAST)).mean())


def _sigmoid(logits: Floats) -> npt.NDArray[np.float64]:
    found: npt.NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(logits, -80.0, 80.0)))
    return found


def _share(parts: npt.NDArray[Any], wholes: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    found: npt.NDArray[np.float64] = np.divide(parts, wholes, out=np.zeros(len(parts)), where=wholes > 0)
    return found


def _ratio(part: Any, whole: Any) -> float:
    return float(part / whole) if whole else 0.0
