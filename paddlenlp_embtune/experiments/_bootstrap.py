"""Resamples of rows and of seeds, the same for all arms, so that their figures can be compared in pairs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["METRICS", "holm", "interval_of", "measure", "resampled", "two_sided_p"]

METRICS = ("accuracy", "f1_macro")
_AT_ONCE = 256

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def measure(truth: Ids, predicted: Ids, num_labels: int, metric: str) -> Floats:
    """Return the metric of each seed, (S,).

    Args:
        truth: (N,) class numbers.
        predicted: (S, N) class numbers, a row for each seed.
        num_labels: C.
        metric: ``accuracy`` or ``f1_macro``.
    """
    once: Floats = _measured(np.ones((1, len(truth)), dtype=np.float32), truth, predicted, num_labels, metric)[0]
    return once


def resampled(
    truth: Ids, arms: Sequence[Ids], num_labels: int, metric: str, *, resamples: int = 2000, seed: int = 0
) -> list[Floats]:
    """Draw rows and seeds again with replacement, and measure the mean over seeds of every arm on each draw.

    The draws of rows are common to all arms, those of seeds to all arms with as many.

    Args:
        truth: (N,) class numbers.
        arms: for each arm (S, N) class numbers, a row for each seed.
        num_labels: C.
        metric: ``accuracy`` or ``f1_macro``.
        resamples: R.
        seed: seeds the draws.
    Shapes:
        returns: (R,) for each arm
    Source:
        Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapters 8 and 13: both levels of the design are drawn;
        the deviations of few seeds are widened by the square root of S / (S - 1), as a standard deviation is
    """
    generator = np.random.default_rng(seed)
    found = [np.empty(resamples) for _ in arms]
    for start in range(0, resamples, _AT_ONCE):
        stop = min(start + _AT_ONCE, resamples)
        draws = np.stack([_drawn_rows(generator, len(truth)) for _ in range(start, stop)])
        points = generator.random((stop - start, max(map(len, arms))))
        for values, predicted in zip(found, arms, strict=True):
            of_seeds = _measured(draws, truth, predicted, num_labels, metric)
            chosen = (points[:, : len(predicted)] * len(predicted)).astype(np.int64)
            center = of_seeds.mean(axis=1)
            # Draws of S seeds vary by (S - 1) / S of what seeds do.
            wider = np.sqrt(len(predicted) / max(len(predicted) - 1, 1))
            values[start:stop] = center + wider * (np.take_along_axis(of_seeds, chosen, axis=1).mean(axis=1) - center)
    return found


def interval_of(values: Floats) -> list[float]:
    """Return the middle 95% of (R,) values."""
    low, high = np.percentile(values, (2.5, 97.5))
    return [float(low), float(high)]


def two_sided_p(differences: Floats) -> float:
    """Return how often (R,) resampled differences lie on the other side of 0, doubled; never 0."""
    below, above = np.count_nonzero(differences <= 0), np.count_nonzero(differences >= 0)
    return float(min(1.0, 2 * (1 + min(below, above)) / (1 + len(differences))))


def holm(values: Sequence[float]) -> list[float]:
    """Correct p-values for their number.

    Source:
        Holm 1979, "A Simple Sequentially Rejective Multiple Test Procedure"
    """
    order = np.argsort(values, kind="stable")
    corrected, largest = [0.0] * len(values), 0.0
    for rank, index in enumerate(order.tolist()):
        largest = max(largest, min(1.0, (len(values) - rank) * values[index]))
        corrected[index] = largest
    return corrected


def _drawn_rows(generator: np.random.Generator, count: int) -> npt.NDArray[np.float32]:
    """Return how often each of N rows is drawn in N draws, (N,); much faster than a multinomial draw for many rows."""
    times: npt.NDArray[np.float32] = np.bincount(generator.integers(0, count, count), minlength=count).astype(np.float32)
    return times


def _measured(draws: npt.NDArray[np.float32], truth: Ids, predicted: Ids, num_labels: int, metric: str) -> Floats:
    """Return the metric of each seed on each draw.

    Args:
        draws: how often each row was drawn.
        truth: class numbers.
        predicted: class numbers, a row for each seed.
        num_labels: C.
        metric: ``accuracy`` or ``f1_macro``.
    Shapes:
        draws: (R, N) float32; truth: (N,); predicted: (S, N); returns: (R, S)
    """
    if metric == "accuracy":
        right = (predicted == truth).astype(np.float32)
        shares: Floats = (draws @ right.T).astype(np.float64) / draws.sum(axis=1, keepdims=True)
        return shares
    classes = np.eye(num_labels, dtype=np.float32)
    of_truth = classes[truth]
    true_rows = draws @ of_truth
    columns = []
    for answers in predicted:
        hits = (draws @ (of_truth * (answers == truth)[:, None])).astype(np.float64)
        sizes = (true_rows + draws @ classes[answers]).astype(np.float64)
        f1 = np.divide(2 * hits, sizes, out=np.zeros_like(hits), where=sizes > 0)
        columns.append(f1.mean(axis=1))
    return np.stack(columns, axis=1)
