"""A temperature stands on errors: it never collapses, is held back where they are few, and must hold on other rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from paddlenlp_embtune.evaluation._temperature import (
    FEW_ERRORS,
    cross_fit_probabilities,
    fit_temperature,
    fit_validated_temperature,
    negative_log_likelihood,
)
from paddlenlp_embtune.evaluation.calibration import calibration_error, fit_thresholds
from paddlenlp_embtune.inference.postprocessing import above_threshold, softmax

At = Callable[[float], npt.NDArray[np.float32]]
Numbers = npt.NDArray[np.int64]


def at_of(logits: npt.NDArray[np.float64]) -> At:
    exact = logits.astype(np.float32)
    return lambda temperature: softmax(exact / np.float32(temperature))


def easy(rows: int, classes: int, *, margin: float, errors: int = 0, seed: int = 0) -> tuple[At, Numbers]:
    """Rows that are all right by about a margin, but for some that are just wrong."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, classes, rows)
    logits = generator.normal(size=(rows, classes)) * 0.1
    logits[np.arange(rows), truth] += margin
    wrong = np.arange(errors)
    logits[wrong, (truth[wrong] + 1) % classes] += margin + 0.5
    return at_of(logits), truth


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("rows", [20, 60, 1000])
@pytest.mark.parametrize("margin", [0.5, 2.5, 8.0, 60.0])
def test_rows_without_an_error_give_no_temperature(rows: int, classes: int, margin: float) -> None:
    at, truth = easy(rows, classes, margin=max(margin, 1.0))
    fit = fit_validated_temperature(at, truth)
    assert (fit.temperature, fit.errors) == (1.0, 0)
    assert fit.note is not None
    assert f"all {rows} rows are right" in fit.note
    np.testing.assert_array_equal(fit.held_out, at(1.0))


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("errors", [1, 2, 5, 9])
@pytest.mark.parametrize("rows", [60, 300])
def test_a_few_errors_do_not_let_scores_rise_beyond_what_they_show(rows: int, errors: int, classes: int) -> None:
    at, truth = easy(rows, classes, margin=1.5, errors=errors)
    fit = fit_validated_temperature(at, truth)
    assert 0.2 < fit.temperature <= 1.0
    claimed = float(at(fit.temperature).max(axis=1).mean())
    assert claimed <= max((rows - errors) / rows, float(at(1.0).max(axis=1).mean())) + 1e-6
    assert fit.note is not None
    assert f"{errors} of {rows} rows are wrong" in fit.note


def test_nine_errors_are_few_and_ten_are_not() -> None:
    notes = [
        fit_validated_temperature(*easy(200, 3, margin=2.0, errors=errors)).note for errors in (FEW_ERRORS - 1, FEW_ERRORS)
    ]
    assert notes[0] is not None
    assert notes[1] is None


@pytest.mark.parametrize("rows", [20, 60, 200, 1000])
@pytest.mark.parametrize("planted", [0.3, 1.0, 3.0])
def test_a_temperature_is_kept_only_where_it_holds_on_other_rows(rows: int, planted: float) -> None:
    worse = []
    for seed in range(8):
        generator = np.random.default_rng(seed)
        logits = generator.normal(size=(rows + 4000, 3)) * 2
        shares = softmax(logits).cumsum(axis=1)  # type: ignore[arg-type]
        truth = (generator.random(len(logits))[:, None] > shares).sum(axis=1).clip(0, 2)
        at, unseen = at_of(logits[:rows] * planted), at_of(logits[rows:] * planted)
        fit = fit_validated_temperature(at, truth[:rows])
        assert negative_log_likelihood(fit.held_out, truth[:rows]) <= negative_log_likelihood(at(1.0), truth[:rows])
        assert negative_log_likelihood(at(fit.temperature), truth[:rows]) <= negative_log_likelihood(at(1.0), truth[:rows])
        before, after = (calibration_error(unseen(t), truth[rows:]) for t in (1.0, fit.temperature))
        worse.append(after - before)
    assert np.mean(worse) < 0.015
    if planted != 1.0:
        assert np.mean(worse) < -0.02


def test_a_temperature_that_does_worse_on_other_rows_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    at, truth = easy(100, 3, margin=1.5, errors=30)
    found = fit_temperature(at, truth)
    assert found != 1.0
    monkeypatch.setattr(
        "paddlenlp_embtune.evaluation._temperature.cross_fit_probabilities",
        lambda at, truth: np.full((100, 3), 0.01, dtype=np.float32),
    )
    fit = fit_validated_temperature(at, truth)
    assert fit.temperature == 1.0
    assert fit.note is not None
    assert f"the temperature {found:g} is worse than 1" in fit.note


def test_held_out_rows_are_scored_at_temperatures_of_the_others() -> None:
    at, truth = easy(200, 3, margin=1.0, errors=60)
    held_out = cross_fit_probabilities(at, truth)
    assert held_out.shape == (200, 3)
    assert len({round(float(row.max()), 4) for row in held_out}) > 1
    assert not np.array_equal(held_out, at(fit_temperature(at, truth)))


@pytest.mark.parametrize("gap", [1, 2, 3])
@pytest.mark.parametrize("score", [0.5000001, 0.7, 0.9999995])
def test_a_threshold_between_neighbouring_scores_lets_none_through_that_may_not(score: float, gap: int) -> None:
    low = np.float32(score)
    high = low
    for _ in range(gap):
        high = np.nextafter(high, np.float32(1))
    best = np.array([high] * 6 + [low] * 6, dtype=np.float32)
    shares = np.stack([best, 1 - best], axis=1)
    truth = np.array([0] * 6 + [1] * 6)
    found = fit_thresholds(shares, truth, ("a", "b"), target_precision=0.9)
    limits = np.array([found["a"], found["b"]], dtype=np.float32)
    assert above_threshold(shares, limits).tolist() == [True] * 6 + [False] * 6
