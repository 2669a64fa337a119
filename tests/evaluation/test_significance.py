"""Tests of two classifiers: against scipy, scikit-learn, exact enumeration and simulation."""

from __future__ import annotations

import dataclasses
import itertools
import sys
import time
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats
from sklearn.metrics import f1_score

from paddlenlp_embtune.errors import DataError, MissingDependencyError
from paddlenlp_embtune.evaluation._significance import (
    approximate_randomization,
    detectable_difference,
    macro_f1,
    mcnemar,
    paired_bootstrap,
)
from paddlenlp_embtune.evaluation.comparison import Comparison, compare, verdict

Ids = npt.NDArray[np.int64]


def invented(rows: int, labels: int, *, skill: tuple[float, float], seed: int, shared: float = 0.5) -> tuple[Ids, Ids, Ids]:
    """Truth, and answers of two classifiers that are right with a given chance, often on the same rows."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, labels, rows)
    luck = generator.random(rows)
    answers = []
    for chance in skill:
        own = np.where(generator.random(rows) < shared, luck, generator.random(rows))
        wrong = (truth + generator.integers(1, labels, rows)) % labels
        answers.append(np.where(own < chance, truth, wrong))
    return truth, answers[0], answers[1]


# McNemar


@pytest.mark.parametrize(
    ("one", "other"), [(0, 1), (0, 5), (0, 6), (3, 3), (7, 8), (10, 25), (400, 460), (0, 2_000), (9_000, 9_300)]
)
def test_mcnemar_is_twice_the_smaller_binomial_tail(one: int, other: int) -> None:
    rows, ways, tail = one + other, 1, 0
    for successes in range(min(one, other) + 1):
        tail += ways
        ways = ways * (rows - successes) // (successes + 1)
    expected = min(1.0, float(Fraction(2 * tail, 2**rows)))
    assert mcnemar(one, other) == pytest.approx(expected, rel=1e-9)
    assert mcnemar(other, one) == mcnemar(one, other)


def test_mcnemar_without_discordant_rows() -> None:
    assert mcnemar(0, 0) == 1.0


def test_without_scipy_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    with pytest.raises(MissingDependencyError, match=r"comparing classifiers needs scipy.*paddlenlp-embtune\[cpu\]"):
        mcnemar(3, 5)


@pytest.mark.parametrize("discordant", [6, 7, 13, 40, 200, 1_000])
def test_the_detectable_difference_is_found_with_that_power(discordant: int) -> None:
    found = detectable_difference(discordant, 2_000)
    assert found is not None
    share = (found * 2_000 / discordant + 1) / 2
    rejected = [k for k in range(discordant + 1) if stats.binomtest(k, discordant).pvalue <= 0.05]
    power = stats.binom.pmf(rejected, discordant, share).sum()
    assert power == pytest.approx(0.8, abs=1e-6)


def test_no_difference_can_be_detected_on_five_discordant_rows() -> None:
    assert [detectable_difference(discordant, 100) is None for discordant in range(8)] == [True] * 6 + [False] * 2


def test_more_rows_detect_less() -> None:
    found = [detectable_difference(count // 5, count) for count in (100, 1_000, 10_000)]
    assert None not in found
    assert sorted(found, reverse=True) == found  # type: ignore[type-var]
    assert found[2] == pytest.approx(2.8 * np.sqrt(0.2 / 10_000), rel=0.02)  # (1.96 + 0.84) standard errors


# Macro-F1


@pytest.mark.parametrize("seed", range(4))
def test_macro_f1_is_that_of_the_report(seed: int) -> None:
    truth, a, _ = invented(60, 7, skill=(0.5, 0.5), seed=seed)
    expected = f1_score(truth, a, labels=list(range(9)), average="macro", zero_division=0.0)
    assert macro_f1(truth, a, 9) == pytest.approx(expected, abs=1e-12)


def test_randomization_agrees_with_all_swaps_there_are() -> None:
    truth = np.array([0, 0, 1, 1, 2, 2, 0, 1, 2, 0, 1, 2])
    a = np.array([0, 0, 1, 1, 2, 2, 0, 1, 2, 1, 1, 0])
    b = np.array([0, 1, 1, 2, 0, 2, 2, 1, 1, 0, 2, 1])
    differ = np.flatnonzero(a != b)
    seen = abs(macro_f1(truth, a, 3) - macro_f1(truth, b, 3))
    as_large = 0
    for swaps in itertools.product((False, True), repeat=len(differ)):
        one, other = a.copy(), b.copy()
        rows = differ[list(swaps)]
        one[rows], other[rows] = b[rows], a[rows]
        as_large += abs(macro_f1(truth, one, 3) - macro_f1(truth, other, 3)) >= seen - 1e-12
    exact = as_large / 2 ** len(differ)
    assert 0.02 < exact < 0.98
    found = approximate_randomization(truth, a, b, 3, shuffles=40_000)
    assert found == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 40_000))


def test_randomization_of_accuracy_alike_classes_is_mcnemar() -> None:
    """With two balanced labels and errors on both sides alike, macro-F1 moves nearly as accuracy does."""
    truth, a, b = invented(2_000, 2, skill=(0.80, 0.83), seed=5)
    p = mcnemar(int(((a == truth) & (b != truth)).sum()), int(((b == truth) & (a != truth)).sum()))
    assert approximate_randomization(truth, a, b, 2) == pytest.approx(p, abs=0.02)


def test_p_is_never_zero_and_one_where_nothing_differs() -> None:
    truth = np.arange(500) % 4
    assert approximate_randomization(truth, truth, (truth + 1) % 4, 4, shuffles=100) == 1 / 101
    assert approximate_randomization(truth, truth, truth, 4) == 1.0


# Bootstrap


def test_counts_are_drawn_as_rows_would_be() -> None:
    truth, a, b = invented(300, 4, skill=(0.7, 0.75), seed=2)
    generator = np.random.default_rng(0)
    rows = generator.integers(0, 300, (3_000, 300))
    plain = np.array([[macro_f1(truth[row], a[row], 4), macro_f1(truth[row], b[row], 4)] for row in rows])
    accuracy, f1 = paired_bootstrap(truth, a, b, 4, resamples=20_000)
    for found, expected in ((f1, plain), (accuracy, np.stack([(x == truth)[rows].mean(axis=1) for x in (a, b)], axis=1))):
        spread = expected.std(axis=0)
        np.testing.assert_allclose(found.mean(axis=0), expected.mean(axis=0), atol=0.1 * spread.min())
        np.testing.assert_allclose(found.std(axis=0), spread, rtol=0.06)
        change, expected_change = found[:, 1] - found[:, 0], expected[:, 1] - expected[:, 0]
        assert change.std() == pytest.approx(expected_change.std(), rel=0.06)


def test_the_interval_of_accuracy_is_that_of_a_share() -> None:
    truth, a, b = invented(4_000, 3, skill=(0.8, 0.8), seed=1)
    figure = compare(truth, a, b, 3).accuracy
    error = np.sqrt(figure.a * (1 - figure.a) / 4_000)
    np.testing.assert_allclose(figure.interval_a, (figure.a - 1.96 * error, figure.a + 1.96 * error), atol=0.1 * error)
    only_a, only_b = ((a == truth) & (b != truth)).mean(), ((b == truth) & (a != truth)).mean()
    paired = np.sqrt((only_a + only_b - (only_b - only_a) ** 2) / 4_000)
    half = 1.96 * paired
    np.testing.assert_allclose(figure.interval, (figure.difference - half, figure.difference + half), atol=0.1 * paired)


def test_a_class_that_a_resample_lacks_is_no_trouble() -> None:
    truth, a, b = np.array([0, 1, 2, 0]), np.array([0, 1, 1, 0]), np.array([0, 1, 2, 1])
    found = compare(truth, a, b, 5, resamples=500)
    assert 0 <= found.f1_macro.interval_a[0] <= found.f1_macro.interval_a[1] <= 1


# Simulation


def test_under_the_null_the_tests_reject_one_time_in_twenty() -> None:
    accuracy, f1 = [], []
    for seed in range(400):
        found = compare(*invented(250, 3, skill=(0.7, 0.7), seed=seed), 3, resamples=200, seed=seed)
        accuracy.append(found.accuracy.p <= 0.05)
        f1.append(found.f1_macro.p <= 0.05)
    # The exact test of counts is conservative; three standard errors of 400 trials are 0.033.
    assert 0.005 < np.mean(accuracy) < 0.05 + 0.033
    assert 0.05 - 0.033 < np.mean(f1) < 0.05 + 0.033


def test_intervals_hold_what_they_should() -> None:
    held = []
    for seed in range(300):
        found = compare(*invented(400, 3, skill=(0.70, 0.76), seed=seed), 3, resamples=300, seed=seed).accuracy
        held.append([found.interval[0] <= 0.06 <= found.interval[1], found.interval_a[0] <= 0.70 <= found.interval_a[1]])
    assert (np.mean(held, axis=0) > 0.91).all()


def test_a_real_difference_is_found() -> None:
    found = compare(*invented(2_000, 3, skill=(0.70, 0.78), seed=0), 3)
    assert found.accuracy.p < 1e-4
    assert found.f1_macro.p < 1e-3
    assert found.accuracy.interval[0] > 0


# The whole


def test_rows_are_counted_by_who_is_right() -> None:
    truth, a, b = np.array([0, 0, 1, 1, 2]), np.array([0, 0, 1, 0, 1]), np.array([0, 1, 0, 1, 0])
    found = compare(truth, a, b, 3, resamples=100)
    assert (found.rows, found.both_right, found.only_a, found.only_b, found.neither, found.differ) == (5, 1, 2, 1, 1, 4)
    assert (found.accuracy.a, found.accuracy.b) == (0.6, 0.4)
    assert found.accuracy.difference == pytest.approx(-0.2)
    assert found.f1_macro.a == macro_f1(truth, a, 3)


def test_exchanging_the_two_turns_the_signs() -> None:
    truth, a, b = invented(500, 4, skill=(0.6, 0.7), seed=3)
    one, other = compare(truth, a, b, 4), compare(truth, b, a, 4)
    assert one.accuracy.difference == -other.accuracy.difference
    assert one.accuracy.p == other.accuracy.p
    assert one.f1_macro.p == pytest.approx(other.f1_macro.p, abs=0.01)
    np.testing.assert_allclose(one.accuracy.interval, [-x for x in reversed(other.accuracy.interval)], atol=0.006)


def test_a_seed_gives_the_same_figures() -> None:
    arrays = invented(300, 3, skill=(0.6, 0.7), seed=3)
    assert compare(*arrays, 3, seed=4) == compare(*arrays, 3, seed=4)
    assert compare(*arrays, 3, seed=4) != compare(*arrays, 3, seed=5)


def test_ten_thousand_resamples_of_ten_thousand_rows_take_seconds() -> None:
    arrays = invented(10_000, 10, skill=(0.8, 0.81), seed=0)
    started = time.perf_counter()
    compare(*arrays, 10, resamples=10_000)
    assert time.perf_counter() - started < 6


@pytest.mark.parametrize(
    ("truth", "a", "b", "labels", "resamples", "says"),
    [
        ([], [], [], 3, 100, "expected one label each"),
        ([0, 1], [0, 1], [0], 3, 100, r"\(2,\), \(2,\), \(1,\)"),
        ([[0]], [[0]], [[0]], 3, 100, "expected one label each"),
        ([0, 3], [0, 1], [0, 1], 3, 100, "0 to 3; expected whole, 0 to 2"),
        ([0, 1], [0, -1], [0, 1], 3, 100, "-1 to 0"),
        ([0.0, 1.0], [0, 1], [0, 1], 3, 100, "float64"),
        ([0, 0], [0, 0], [0, 0], 1, 100, "num_labels is 1"),
        ([0, 1], [0, 1], [0, 1], 2, 99, "resamples 99"),
    ],
)
def test_what_is_refused(truth: Any, a: Any, b: Any, labels: int, resamples: int, says: str) -> None:
    with pytest.raises(DataError, match=says):
        compare(truth, a, b, labels, resamples=resamples)


# The verdict


def judged(**options: Any) -> str:
    rows = options.pop("rows", 2_000)
    arrays = invented(rows, 3, seed=options.pop("seed", 0), **options)
    return verdict(compare(*arrays, 3, resamples=2_000), ("old", "new"))


def test_a_difference_is_told_with_its_interval() -> None:
    told = judged(skill=(0.70, 0.78))
    assert told.startswith("new is better in accuracy: by ")
    assert "95% interval of new - old: " in told
    assert "on 2000 rows; new is better in macro-F1: by " in told
    assert "power" not in told
    assert judged(skill=(0.78, 0.70)).startswith("old is better in accuracy: by ")


def test_no_difference_is_told_with_what_would_have_been_found() -> None:
    told = judged(skill=(0.7, 0.7))
    assert told.startswith("no significant difference: p = ")
    assert "on 2000 rows; a difference of " in told
    assert told.endswith(" points of accuracy would have been found with a power of 80%")


def test_two_that_answer_alike() -> None:
    truth, a, _ = invented(100, 3, skill=(0.7, 0.7), seed=0)
    assert verdict(compare(truth, a, a, 3, resamples=100)) == "both give the same answers on all 100 rows"


def test_too_few_discordant_rows() -> None:
    truth = np.arange(90) % 3
    b = truth.copy()
    b[:3] = (b[:3] + 1) % 3
    assert "3 rows on which one alone is right are too few for any test" in verdict(compare(truth, truth, b, 3, resamples=100))


def mixed(found: Comparison, *, accuracy: float, f1: float) -> Comparison:
    return dataclasses.replace(
        found,
        accuracy=dataclasses.replace(found.accuracy, p=accuracy),
        f1_macro=dataclasses.replace(found.f1_macro, p=f1),
    )


def test_figures_that_disagree_are_told_apart() -> None:
    found = compare(*invented(500, 3, skill=(0.7, 0.75), seed=0), 3, resamples=500)
    told = verdict(mixed(found, accuracy=0.01, f1=0.3))
    assert told.startswith("B is better in accuracy: ")
    assert told.endswith("no significant difference in macro-F1: p = 0.3 (macro-F1)")
    told = verdict(mixed(found, accuracy=0.3, f1=0.01))
    assert told.startswith("B is better in macro-F1: ")
    assert "no significant difference in accuracy: p = 0.3 (accuracy); a difference of " in told
