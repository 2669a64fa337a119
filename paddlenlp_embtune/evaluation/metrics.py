"""Metrics of a classifier: accuracy, F1, per class, confusion matrix, and agreement beyond chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.inference import kind_of

__all__ = ["agreement", "classification_report", "encode_labels", "monitored_metrics", "ordinal_metrics"]

Ids = npt.NDArray[np.int64]


def classification_report(truth: Sequence[int], predicted: Sequence[int], labels: Sequence[str]) -> dict[str, Any]:
    """Compare class numbers.

    Args:
        truth: N class numbers.
        predicted: N class numbers.
        labels: the class names, C.
    Returns:
        ``n``, ``accuracy``, ``f1_macro`` (unweighted mean over all C classes, 0 for a class that is neither there nor
        predicted), ``f1_weighted``, ``per_class`` (by label: ``precision``, ``recall``, ``f1``, ``support``) and ``confusion``
        (C rows of truth by C columns of prediction).
    Raises:
        DataError: nothing to compare, or unequal lengths.
    """
    if not len(truth) or len(truth) != len(predicted):
        raise DataError(
            f"there are {len(truth)} true and {len(predicted)} predicted labels; expected as many of each, 1 or more"
        )
    # With numpy: runs report at every evaluation, and importing scikit-learn alone takes longer than a thousand reports.
    table = _confusion(truth, predicted, len(labels))
    hits, support, claimed = np.diag(table), table.sum(axis=1), table.sum(axis=0)
    precision, recall, f1 = _share(hits, claimed), _share(hits, support), _share(2 * hits, support + claimed)
    per_class = {
        label: {
            "precision": float(precision[index]),
            "recall": float(recall[index]),
            "f1": float(f1[index]),
            "support": int(support[index]),
        }
        for index, label in enumerate(labels)
    }
    return {
        "n": len(truth),
        "accuracy": float(hits.sum() / len(truth)),
        "f1_macro": float(f1.mean()),
        "f1_weighted": float((f1 * support).sum() / support.sum()),
        "per_class": per_class,
        "confusion": table.tolist(),
    }


def _confusion(truth: Sequence[int], predicted: Sequence[int], num_labels: int) -> Ids:
    """Count pairs, (C, C): rows of truth by columns of prediction."""
    table = np.zeros((num_labels, num_labels), dtype=np.int64)
    np.add.at(table, (np.asarray(truth), np.asarray(predicted)), 1)
    return table


def _share(parts: Ids, wholes: Ids) -> npt.NDArray[np.float64]:
    """Divide, (C,) by (C,); 0 of nothing is 0."""
    return np.divide(parts, wholes, out=np.zeros(len(parts)), where=wholes > 0)


def monitored_metrics(truth: Sequence[int], predicted: Sequence[int], labels: Sequence[str]) -> dict[str, float]:
    """Return the metrics that a recipe can monitor: ``accuracy``, ``f1_macro``, and what :func:`agreement` gives."""
    report = classification_report(truth, predicted, labels)
    return {**{name: report[name] for name in ("accuracy", "f1_macro")}, **agreement(truth, predicted, len(labels))}


def agreement(truth: Sequence[int], predicted: Sequence[int], num_labels: int) -> dict[str, float]:
    """Measure how far predictions agree with the truth beyond chance, and how one-sided they are.

    Args:
        truth: N class numbers.
        predicted: N class numbers.
        num_labels: C.
    Returns:
        ``kappa``; ``largest_predicted_share``; from 50 rows on ``agreement_z``, the agreement beyond chance in standard errors
        under chance.
    Source:
        Cohen 1960, "A Coefficient of Agreement for Nominal Scales"; the standard error under chance after Fleiss, Cohen and
        Everitt 1969
    """
    # By hand: the standard error needs the same shares, and sklearn's cohen_kappa_score takes 17 times as long for 2,000 rows
    # and is NaN where both sides know one label only. Runs call this at every evaluation.
    table = _confusion(truth, predicted, num_labels)
    rows = int(table.sum())
    shares = table / rows
    of_truth, of_predicted = shares.sum(axis=1), shares.sum(axis=0)
    expected = float(of_truth @ of_predicted)
    observed = float(np.trace(shares))
    spread = expected + expected**2 - float((of_truth * of_predicted * (of_truth + of_predicted)).sum())
    error = math.sqrt(max(spread, 0.0) / rows)
    found = {
        "kappa": (observed - expected) / (1 - expected) if expected < 1 else 0.0,
        "largest_predicted_share": float(of_predicted.max()),
    }
    if rows >= 50:
        found["agreement_z"] = (observed - expected) / error if error > 0 else 0.0
    return found


def ordinal_metrics(truth: Ids, predicted: Ids, num_labels: int) -> dict[str, float]:
    """Measure how far predictions are from the truth on a scale.

    Args:
        truth: (N,) class numbers, in the order of the scale.
        predicted: (N,) class numbers.
        num_labels: C.
    Returns:
        ``mean_absolute_error`` in levels; ``quadratic_kappa``, the agreement beyond chance where a mistake counts by the square
        of its distance, 0 where truth and predictions leave no room for any.
    Source:
        Cohen 1968, "Weighted Kappa: Nominal Scale Agreement with Provision for Scaled Disagreement"
    """
    table = _confusion(truth.tolist(), predicted.tolist(), num_labels).astype(np.float64)
    levels = np.arange(num_labels)
    distances = np.square(levels[:, None] - levels[None])
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    chance = float((distances * expected).sum())
    return {
        "mean_absolute_error": float(abs(truth - predicted).mean()),
        "quadratic_kappa": 1 - float((distances * table).sum()) / chance if chance else 0.0,
    }


def encode_labels(bundle: Bundle, texts: Sequence[str], labels: Sequence[str] | Sequence[Sequence[str]], *, least: int) -> Ids:
    """Turn the labels of labelled rows into what answers are compared with: class numbers, (N,).

    Args:
        bundle: knows the labels.
        texts: N texts.
        labels: N labels; of a bundle that gives a text several, N collections of labels, and the result is (N, C) of 0 and 1.
        least: how many rows are needed.
    Raises:
        DataError: they are not one for each text, are too few, one is not the bundle's, or they are of another kind.
    """
    kind = kind_of(bundle.manifest)
    if len(labels) != len(texts):
        raise DataError(f"{len(texts)} texts and {len(labels)} labels do not belong together; expected one label for each text")
    known = bundle.manifest.labels
    sets: list[Sequence[str]] = [(each,) if isinstance(each, str) else each for each in labels]
    if not kind.several and (odd := next((each for each in sets if len(each) != 1), None)) is not None:
        raise DataError(f"a row has {len(odd)} labels, {list(odd)}, and the bundle gives a text one; expected one label a row")
    for index, label in ((index, label) for index, own in enumerate(sets) for label in own):
        if label not in known:
            raise DataError(f"row {index} has the label {label!r}, which the bundle does not know; expected {', '.join(known)}")
    if len(labels) < least:
        raise DataError(f"{len(labels)} labelled rows are too few; expected {least} or more")
    return kind.encode(sets, known)
