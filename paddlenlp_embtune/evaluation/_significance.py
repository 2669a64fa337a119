"""Significance tests of two classifiers on the same rows.

Rows enter only as counts of what happened to them (right label, answer of A, answer of B), so that ten thousand resamples of
ten thousand rows take seconds. The tests presume that rows are drawn independently of each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.evaluation._scipy import import_scipy

__all__ = [
    "approximate_randomization",
    "detectable_difference",
    "macro_f1",
    "mcnemar",
    "paired_bootstrap",
    "validate_pair",
]

_VALUES_AT_ONCE = 2**22

Labels = npt.ArrayLike
Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def macro_f1(truth: Labels, predicted: Labels, num_labels: int) -> float:
    """Return the unweighted mean of the F1 of all classes; (N,) class numbers each."""
    right, answer = np.asarray(truth), np.asarray(predicted)
    hits = np.bincount(right[right == answer], minlength=num_labels)
    sizes = np.bincount(right, minlength=num_labels) + np.bincount(answer, minlength=num_labels)
    return float(_mean_f1(hits[None].astype(np.float64), sizes[None].astype(np.float64))[0])


def mcnemar(only_a: int, only_b: int) -> float:
    """Return the two-sided p-value of McNemar's test in its exact form.

    Args:
        only_a: rows that only A has right.
        only_b: rows that only B has right.
    Raises:
        MissingDependencyError: scipy is not installed.
    Source:
        McNemar (1947), "Note on the sampling error of the difference between correlated proportions"; the exact binomial form
    """
    rows = only_a + only_b
    return float(_stats().binomtest(only_a, rows).pvalue) if rows else 1.0


def detectable_difference(discordant: int, rows: int, *, level: float = 0.05, power: float = 0.8) -> float | None:
    """Return the difference of accuracy that McNemar's exact test finds with a given power.

    It holds for as many discordant rows as there are: rows that exactly one of the two has right.

    Args:
        discordant: how many there are.
        rows: N.
        level: of the test.
        power: the chance to find the difference.
    Returns:
        0 to 1; None where so few rows are discordant that the test can find nothing.
    Raises:
        MissingDependencyError: scipy is not installed.
    Source:
        ours: the power of the exact test given the number of discordant rows, solved for the share that one side has of them
    """
    if not discordant or 0.5 ** (discordant - 1) > level:
        return None
    binomial = _stats().binom
    tails = binomial.cdf(np.arange(discordant + 1), discordant, 0.5)
    last = int(np.searchsorted(tails, level / 2, side="right")) - 1  # the test rejects up to here, or as far from the end

    def excess_power(share: float) -> float:
        found = binomial.cdf(last, discordant, share) + binomial.sf(discordant - last - 1, discordant, share)
        return float(found - power)

    share = import_scipy("optimize", what="comparing classifiers").brentq(excess_power, 0.5, 1.0, xtol=1e-9)
    return float((2 * share - 1) * discordant / rows)


def paired_bootstrap(
    truth: Labels, a: Labels, b: Labels, num_labels: int, *, resamples: int = 10_000, seed: int = 0
) -> tuple[Floats, Floats]:
    """Draw the rows again with replacement, the answers of both together, and measure both on every sample.

    Args:
        truth: (N,) class numbers, 0 to C - 1.
        a: (N,) answers of the one.
        b: (N,) answers of the other.
        num_labels: C.
        resamples: R, 100 or more.
        seed: seeds them.
    Shapes:
        returns: accuracy and macro-F1, (R, 2) each; the columns are A and B
    Source:
        Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapter 13; the paired form of Koehn (2004),
        "Statistical significance tests for machine translation evaluation"; rows that are alike are drawn together, as counts
    """
    right, one, other = validate_pair(truth, a, b, num_labels, resamples)
    cells, counts = np.unique(np.stack([right, one, other]), axis=1, return_counts=True)
    generator = np.random.default_rng(seed)
    accuracy, f1 = np.empty((resamples, 2)), np.empty((resamples, 2))
    sizes = _one_hot(cells[0], num_labels)
    for part in _parts(resamples, len(counts)):
        drawn = generator.multinomial(len(right), counts / len(right), size=part.stop - part.start).astype(np.float64)
        for column, answer in enumerate(cells[1:]):
            answers = _one_hot(answer, num_labels)
            hits = drawn @ (sizes * answers)
            accuracy[part, column] = hits.sum(axis=1) / len(right)
            f1[part, column] = _mean_f1(hits, drawn @ (sizes + answers))
    return accuracy, f1


def approximate_randomization(
    truth: Labels, a: Labels, b: Labels, num_labels: int, *, shuffles: int = 10_000, seed: int = 0
) -> float:
    """Return the two-sided p-value of a difference in macro-F1: how often one as large comes of swapping answers at random.

    Args:
        truth: (N,) class numbers, 0 to C - 1.
        a: (N,) answers of the one.
        b: (N,) answers of the other.
        num_labels: C.
        shuffles: 100 or more.
        seed: seeds them.
    Returns:
        (1 + shuffles with a difference as large) / (1 + shuffles): never 0.
    Source:
        Noreen (1989), Computer-Intensive Methods for Testing Hypotheses; Yeh (2000), "More accurate tests for the statistical
        significance of result differences"
    """
    right, one, other = validate_pair(truth, a, b, num_labels, shuffles)
    differ = one != other
    if not differ.any():
        return 1.0
    same = np.flatnonzero(~differ)
    # Rows (t, a, b) and (t, b, a) are of one kind: after the swaps each has either form with the same chance.
    pairs = np.stack([right, np.minimum(one, other), np.maximum(one, other)])[:, differ]
    kinds, counts = np.unique(pairs, axis=1, return_counts=True)
    truths, lower, upper = (_one_hot(row, num_labels) for row in kinds)
    fixed_hits = np.bincount(right[same][one[same] == right[same]], minlength=num_labels)
    fixed_sizes = np.bincount(right, minlength=num_labels) + np.bincount(one[same], minlength=num_labels)

    def measure(first: Floats) -> Floats:
        """F1 of a classifier that answers ``first`` rows of each kind with the lower label, the rest with the upper."""
        rest = counts - first
        hits = fixed_hits + first @ (truths * lower) + rest @ (truths * upper)
        return _mean_f1(hits, fixed_sizes + first @ lower + rest @ upper)

    seen = abs(macro_f1(right, one, num_labels) - macro_f1(right, other, num_labels))
    generator = np.random.default_rng(seed)
    as_large = 0
    for part in _parts(shuffles, len(counts)):
        first = generator.binomial(counts, 0.5, size=(part.stop - part.start, len(counts))).astype(np.float64)
        as_large += int(np.count_nonzero(np.abs(measure(first) - measure(counts - first)) >= seen - 1e-12))
    return (1 + as_large) / (1 + shuffles)


def validate_pair(truth: Labels, a: Labels, b: Labels, num_labels: int, resamples: int) -> tuple[Ids, Ids, Ids]:
    """Return truth and answers as (N,) int64 each.

    Raises:
        DataError: they do not belong together, hold something else, or there are too few resamples.
    """
    arrays = [np.asarray(values) for values in (truth, a, b)]
    if any(values.ndim != 1 or len(values) != len(arrays[0]) for values in arrays) or not len(arrays[0]):
        shapes = ", ".join(str(values.shape) for values in arrays)
        raise DataError(f"truth and answers are of shapes {shapes}; expected one label each for the same rows, 1 or more")
    if num_labels < 2 or resamples < 100:
        raise DataError(f"num_labels is {num_labels} and resamples {resamples}; expected 2 or more, 100 or more")
    for values in arrays:
        if values.dtype.kind not in "iu" or values.min() < 0 or values.max() >= num_labels:
            raise DataError(
                f"labels are {values.dtype}, {values.min()} to {values.max()}; expected whole, 0 to {num_labels - 1}"
            )
    right, one, other = (values.astype(np.int64) for values in arrays)
    return right, one, other


def _mean_f1(hits: Floats, sizes: Floats) -> Floats:
    """Mean over classes of 2 hits / (rows + answers); (R, C) each to (R,); 0 where a class has neither."""
    f1 = np.divide(2.0 * hits, sizes, out=np.zeros_like(hits), where=sizes > 0)
    mean: Floats = f1.mean(axis=1)
    return mean


def _one_hot(numbers: Ids, count: int) -> Floats:
    exact: Floats = np.eye(count)[numbers]
    return exact


def _stats() -> Any:
    return import_scipy("stats", what="comparing classifiers")


def _parts(count: int, width: int) -> Iterator[slice]:
    step = max(1, _VALUES_AT_ONCE // width)
    for at in range(0, count, step):
        yield slice(at, min(at + step, count))
