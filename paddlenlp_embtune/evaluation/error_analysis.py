"""Error analysis: metrics, calibration, and the rows to look at, from probabilities to plain JSON. Needs numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.errors import DataError

__all__ = ["analyze_predictions", "calibration_table", "clip_text"]

Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]
_TEXT_LENGTH = 400


def analyze_predictions(
    probabilities: npt.ArrayLike,
    truth: Sequence[int],
    labels: Sequence[str],
    texts: Sequence[str],
    *,
    bins: int = 15,
    hardest: int = 20,
    uncertain: int = 20,
) -> dict[str, Any]:
    """Analyze the predictions of a classifier on N labelled rows.

    Args:
        probabilities: (N, C), each row adding up to 1.
        truth: N class numbers.
        labels: the class names, C.
        texts: N texts; of a longer one the first 400 characters are kept.
        bins: bins of equal width for the calibration, 1 or more.
        hardest: list at most this many wrong rows, 0 or more.
        uncertain: list at most this many rows without a clear label, 0 or more.
    Returns:
        ``n``, ``labels``, ``accuracy``, ``f1_macro``, ``confusion`` (C rows of truth by C columns of prediction), ``per_class``
        (by label: ``precision``, ``recall``, ``f1``, ``support``, ``predicted``), ``calibration`` (``ece``, ``confidence``:
        the mean probability of the label that was chosen, ``bins``), ``brier`` (0 to 2), ``hardest`` (wrong rows, the surest
        first) and ``uncertain`` (the smallest distance between the first and the second label first). A listed row has
        ``row`` (its number, from 0), ``text``, ``true``, ``predicted``, ``probability`` (of the predicted label),
        ``true_probability``, ``second`` and ``second_probability``.
    Raises:
        DataError: the arguments do not belong together, or are no probabilities.
    Source:
        Guo et al. (2017), "On Calibration of Modern Neural Networks", equation 3, for the ECE; Brier (1950) for the score;
        Scheffer et al. (2001) for the margin
    """
    shares, true = _check(probabilities, truth, labels, texts, bins)
    rows = np.arange(len(true))
    predicted = shares.argmax(axis=1)
    confusion = np.zeros((len(labels), len(labels)), dtype=np.int64)
    np.add.at(confusion, (true, predicted), 1)
    per_class = _per_class(confusion, labels)
    confidence, right = shares[rows, predicted], predicted == true
    ranked = np.sort(shares, axis=1)
    margin = ranked[:, -1] - ranked[:, -2]
    wrong = rows[~right]
    squares = np.einsum("nc,nc->n", shares, shares) - 2 * shares[rows, true] + 1.0

    def listed(chosen: Ids) -> list[dict[str, Any]]:
        return [_row(int(row), shares[row], int(true[row]), labels, texts[int(row)]) for row in chosen]

    return {
        "n": len(true),
        "labels": [_clean(label) for label in labels],
        "accuracy": float(right.mean()),
        "f1_macro": float(np.mean([row["f1"] for row in per_class.values()])),
        "confusion": confusion.tolist(),
        "per_class": per_class,
        "calibration": calibration_table(confidence, right, bins),
        "brier": float(squares.mean()),
        "hardest": listed(wrong[np.argsort(-confidence[wrong], kind="stable")[:hardest]]),
        "uncertain": listed(rows[np.argsort(margin, kind="stable")[:uncertain]]),
    }


def _check(
    probabilities: npt.ArrayLike, truth: Sequence[int], labels: Sequence[str], texts: Sequence[str], bins: int
) -> tuple[Floats, Ids]:
    shares = np.asarray(probabilities, dtype=np.float64)
    if bins < 1 or len(labels) < 2 or len(set(labels)) != len(labels):
        raise DataError(f"bins is {bins} and labels are {list(labels)!r}; expected 1 bin or more, 2 labels or more, each once")
    if shares.shape != (len(truth), len(labels)) or len(texts) != len(truth) or not len(truth):
        raise DataError(
            f"probabilities of shape {shares.shape}, {len(truth)} true labels, {len(texts)} texts and {len(labels)} classes "
            "do not belong together; expected (rows, classes), with one label and one text for each row, 1 row or more"
        )
    odd = np.flatnonzero(~(np.isfinite(shares) & (shares >= 0)).all(axis=1) | ~(abs(shares.sum(axis=1) - 1) < 1e-3))
    if odd.size:
        raise DataError(f"row {odd[0]} of the probabilities is {shares[odd[0]].tolist()}; expected 0 to 1, adding up to 1")
    true = np.asarray(truth)
    if true.dtype.kind not in "iu" or true.min() < 0 or true.max() >= len(labels):
        raise DataError(f"the true labels go from {true.min()} to {true.max()}; expected whole numbers, 0 to {len(labels) - 1}")
    return shares, true.astype(np.int64)


def _per_class(confusion: Ids, labels: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Count by label; what has no rows to be measured on is 0."""
    table = {}
    for number, label in enumerate(labels):
        hits, support, predicted = confusion[number, number], confusion[number].sum(), confusion[:, number].sum()
        table[_clean(label)] = {
            "precision": float(hits / max(1, predicted)),
            "recall": float(hits / max(1, support)),
            "f1": float(2 * hits / max(1, support + predicted)),
            "support": int(support),
            "predicted": int(predicted),
        }
    return table


def calibration_table(confidence: Floats, right: npt.NDArray[np.bool_], bins: int) -> dict[str, Any]:
    """Compare how sure a classifier was with how often it was right; bin m holds (m-1)/M < confidence <= m/M.

    Args:
        confidence: (N,) float64 probabilities of the answers.
        right: (N,) whether they are right.
        bins: M, of equal width.
    Returns:
        ``ece``, the expected calibration error; ``confidence``, the mean; ``bins``, what each holds.
    """
    number = (np.ceil(confidence * bins).astype(np.int64) - 1).clip(0, bins - 1)
    counts = np.bincount(number, minlength=bins)
    sure = np.bincount(number, weights=confidence, minlength=bins)
    hits = np.bincount(number, weights=right.astype(np.float64), minlength=bins)
    return {
        "ece": float(abs(hits - sure).sum() / len(confidence)),
        "confidence": float(confidence.mean()),
        "bins": [
            {
                "low": at / bins,
                "high": (at + 1) / bins,
                "count": int(counts[at]),
                "confidence": float(sure[at] / counts[at]) if counts[at] else None,
                "accuracy": float(hits[at] / counts[at]) if counts[at] else None,
            }
            for at in range(bins)
        ],
    }


def _row(row: int, shares: Floats, true: int, labels: Sequence[str], text: str) -> dict[str, Any]:
    first, second = np.argsort(-shares, kind="stable")[:2].tolist()
    return {
        "row": row,
        "text": clip_text(text),
        "true": _clean(labels[true]),
        "predicted": _clean(labels[first]),
        "probability": float(shares[first]),
        "true_probability": float(shares[true]),
        "second": _clean(labels[second]),
        "second_probability": float(shares[second]),
    }


def clip_text(text: str) -> str:
    """Return the beginning of a text, as a listed row has it."""
    return _clean(text if len(text) <= _TEXT_LENGTH else text[:_TEXT_LENGTH] + "…")


def _clean(text: str) -> str:
    """Replace lone surrogates, which no file takes."""
    return text.encode("utf-8", "replace").decode("utf-8")
