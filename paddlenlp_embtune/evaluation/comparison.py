"""Two classifiers on the same rows, and two tables under one model: metrics, their intervals, and a verdict."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.bundle import Bundle, draft_with_embedding
from paddlenlp_embtune.evaluation._significance import (
    approximate_randomization,
    detectable_difference,
    macro_f1,
    mcnemar,
    paired_bootstrap,
    validate_pair,
)
from paddlenlp_embtune.evaluation.metrics import encode_labels
from paddlenlp_embtune.inference import Predictor, refuse_several_labels

__all__ = ["Comparison", "Figure", "compare", "compare_tables", "verdict"]

_LEVEL = 0.05
Labels = npt.ArrayLike
Interval = tuple[float, float]
Table = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Figure:
    """One measure of both classifiers, 0 to 1, with 95% intervals.

    Args:
        a, b: of each.
        interval_a, interval_b: where each would lie on other rows of the same kind.
        difference: b - a.
        interval: of the difference, narrower than the other two suggest, because both classifiers saw the same rows.
        p: how often chance alone gives a difference as large, in either direction.
    """

    a: float
    b: float
    interval_a: Interval
    interval_b: Interval
    difference: float
    interval: Interval
    p: float

    def sides(self) -> tuple[tuple[float, Interval], tuple[float, Interval]]:
        """Return A and B, each with its interval."""
        return (self.a, self.interval_a), (self.b, self.interval_b)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two classifiers on the same rows.

    Args:
        rows: N.
        both_right, only_a, only_b, neither: rows by who is right.
        differ: rows that the two label differently.
        accuracy: with the p-value of McNemar's exact test.
        f1_macro: with that of approximate randomization.
        detectable: the difference of accuracy that these rows would have shown with a power of 80%; None if none is so large.
        resamples: of the bootstrap, and shuffles of the randomization.
    """

    rows: int
    both_right: int
    only_a: int
    only_b: int
    neither: int
    differ: int
    accuracy: Figure
    f1_macro: Figure
    detectable: float | None
    resamples: int


def compare(truth: Labels, a: Labels, b: Labels, num_labels: int, *, resamples: int = 10_000, seed: int = 0) -> Comparison:
    """Compare the answers of two classifiers to the same rows.

    Args:
        truth: (N,) class numbers, 0 to C - 1.
        a: (N,) answers of the one.
        b: (N,) answers of the other.
        num_labels: C; a class that is neither there nor answered counts as an F1 of 0.
        resamples: 100 or more.
        seed: seeds the resamples.
    Raises:
        DataError: the arrays do not belong together, or hold something else.
    """
    right, one, other = validate_pair(truth, a, b, num_labels, resamples)
    spread = paired_bootstrap(right, one, other, num_labels, resamples=resamples, seed=seed)
    only_a = int(np.count_nonzero((one == right) & (other != right)))
    only_b = int(np.count_nonzero((other == right) & (one != right)))
    both = int(np.count_nonzero((one == right) & (other == right)))
    accuracies = float((one == right).mean()), float((other == right).mean())
    f1s = macro_f1(right, one, num_labels), macro_f1(right, other, num_labels)
    p_f1 = approximate_randomization(right, one, other, num_labels, shuffles=resamples, seed=seed)
    return Comparison(
        rows=len(right),
        both_right=both,
        only_a=only_a,
        only_b=only_b,
        neither=len(right) - both - only_a - only_b,
        differ=int(np.count_nonzero(one != other)),
        accuracy=_figure(*accuracies, spread[0], mcnemar(only_a, only_b)),
        f1_macro=_figure(*f1s, spread[1], p_f1),
        detectable=detectable_difference(only_a + only_b, len(right)),
        resamples=resamples,
    )


def compare_tables(
    bundle: Bundle,
    a: Table,
    b: Table,
    texts: Sequence[str],
    labels: Sequence[str],
    *,
    resamples: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Put two tables under the live model of a bundle, one after the other, and label the same rows with both.

    Args:
        bundle: an opened bundle; its model is rebuilt with Paddle.
        a: (V, D) float32, the embedding of the one.
        b: (V, D) float32, the embedding of the other.
        texts: N labelled rows that neither was tuned on.
        labels: their labels.
        resamples: as in :func:`compare`.
        seed: as in :func:`compare`.
    Raises:
        DataError: a label is not the bundle's.
        VectorError: a table does not fit the model, or holds NaN or infinite values.
        MissingDependencyError: paddle is not installed.
    """
    refuse_several_labels(bundle.manifest, "the comparison of two embeddings")
    truth = encode_labels(bundle, texts, labels, least=1)
    answers = []
    for table in (a, b):
        with tempfile.TemporaryDirectory(prefix="embtune-") as scratch:
            draft = draft_with_embedding(bundle, table, Path(scratch))
            with Predictor(draft, engine="paddle") as predictor:
                answers.append(predictor.probabilities(texts).argmax(axis=1))
    return compare(truth, answers[0], answers[1], len(bundle.manifest.labels), resamples=resamples, seed=seed)


def verdict(found: Comparison, names: Sequence[str] = ("A", "B")) -> str:
    """Summarize in one sentence which differences are significant.

    Args:
        found: the comparison.
        names: of the two classifiers.
    """
    rows = f"{found.rows} rows"
    if not found.differ:
        return f"both give the same answers on all {rows}"
    figures = {"accuracy": found.accuracy, "macro-F1": found.f1_macro}
    real = {name: figure for name, figure in figures.items() if figure.p < _LEVEL}
    ps = ", ".join(f"p = {figure.p:.2g} ({name})" for name, figure in figures.items() if name not in real)
    told = [
        f"{names[1] if figure.difference > 0 else names[0]} is better in {name}: by {100 * abs(figure.difference):.2f} points "
        f"(95% interval of {names[1]} - {names[0]}: {100 * figure.interval[0]:.2f} to {100 * figure.interval[1]:.2f}), "
        f"p = {figure.p:.2g} on {rows}"
        for name, figure in real.items()
    ]
    if ps:
        where = f" in {' and '.join(name for name in figures if name not in real)}" if real else ""
        told.append(f"no significant difference{where}: {ps}{'' if real else f' on {rows}'}")
    if "accuracy" not in real:
        told.append(
            f"{found.only_a + found.only_b} rows on which one alone is right are too few for any test"
            if found.detectable is None
            else f"a difference of {100 * found.detectable:.1f} points of accuracy would have been found with a power of 80%"
        )
    return "; ".join(told)


def _figure(a: float, b: float, samples: Floats, p: float) -> Figure:
    def interval(values: Floats) -> Interval:
        low, high = np.percentile(values, (2.5, 97.5))
        return float(low), float(high)

    columns = samples[:, 0], samples[:, 1]
    return Figure(a, b, interval(columns[0]), interval(columns[1]), b - a, interval(columns[1] - columns[0]), p)
