"""Resampled figures: against formulas, scikit-learn, and what is known without any test."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from paddlenlp_embtune.experiments._bootstrap import holm, interval_of, measure, resampled, two_sided_p


def drawn_answers(truth: np.ndarray, right: float, seeds: int, generator: np.random.Generator) -> np.ndarray:
    other = (truth + 1) % 3
    return np.stack([np.where(generator.random(len(truth)) < right, truth, other) for _ in range(seeds)])


def test_metrics_are_those_of_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 3, 200)
    predicted = drawn_answers(truth, 0.7, 2, generator)
    expected = [f1_score(truth, each, average="macro") for each in predicted]
    assert measure(truth, predicted, 3, "f1_macro") == pytest.approx(expected)
    expected = [accuracy_score(truth, each) for each in predicted]
    assert measure(truth, predicted, 3, "accuracy") == pytest.approx(expected)
    assert measure(truth, predicted, 4, "f1_macro")[0] < measure(truth, predicted, 3, "f1_macro")[0]


def test_the_spread_is_that_of_rows_where_seeds_agree() -> None:
    truth = np.zeros(400, dtype=np.int64)
    predicted = np.tile((np.arange(400) >= 300).astype(np.int64), (3, 1))
    (values,) = resampled(truth, [predicted], 2, "accuracy", resamples=4000)
    assert values.std() == pytest.approx((0.75 * 0.25 / 400) ** 0.5, rel=0.05)


def test_the_spread_is_that_of_seeds_where_rows_are_many() -> None:
    """The standard error of a mean over seeds, from the standard deviation with S - 1."""
    truth = np.zeros(20_000, dtype=np.int64)
    shares = [0.70, 0.76, 0.82]
    predicted = np.stack([(np.arange(20_000) >= share * 20_000).astype(np.int64) for share in shares])
    (values,) = resampled(truth, [predicted], 2, "accuracy", resamples=2000)
    assert values.std() == pytest.approx(np.std(shares, ddof=1) / 3**0.5, rel=0.06)


def test_equal_answers_never_differ() -> None:
    generator = np.random.default_rng(1)
    truth = generator.integers(0, 3, 50)
    predicted = drawn_answers(truth, 0.6, 3, generator)
    one, other = resampled(truth, [predicted, predicted.copy()], 3, "f1_macro", resamples=200)
    assert np.array_equal(one, other)
    assert two_sided_p(one - other) == 1.0


def test_noise_is_seldom_called_a_difference() -> None:
    """Two arms that are right equally often differ beyond chance in about 5% of the experiments, and a real one shows."""
    found = []
    for number in range(60):
        generator = np.random.default_rng(number)
        truth = generator.integers(0, 3, 300)
        arms = [drawn_answers(truth, 0.7, 3, generator) for _ in range(2)]
        one, other = resampled(truth, arms, 3, "accuracy", resamples=400, seed=number)
        found.append(two_sided_p(one - other))
    assert np.mean(np.asarray(found) < 0.05) <= 0.12
    better = [drawn_answers(truth, share, 3, generator) for share in (0.9, 0.6)]
    one, other = resampled(truth, better, 3, "accuracy", resamples=400)
    assert two_sided_p(one - other) < 0.01
    assert interval_of(one - other)[0] > 0.2


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
