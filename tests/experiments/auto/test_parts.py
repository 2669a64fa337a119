"""Budgets as they are written, limits, rungs, forecasts, and the texts that bundles are measured with."""

from __future__ import annotations

import pytest

from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.experiments.auto import Limits, parse_duration
from paddlenlp_embtune.experiments.auto._final import final_recipe
from paddlenlp_embtune.experiments.auto._forecast import MORE, Forecast
from paddlenlp_embtune.experiments.auto._serving import choose_texts
from paddlenlp_embtune.experiments.auto.budget import Clock, in_words
from paddlenlp_embtune.experiments.auto.limits import ServingCost
from paddlenlp_embtune.experiments.auto.portfolio import portfolio
from paddlenlp_embtune.experiments.auto.rungs import plan_rungs
from paddlenlp_embtune.experiments.cell import DataSet


@pytest.mark.parametrize(
    ("stated", "seconds"), [("90s", 90), ("20m", 1200), ("1h", 3600), ("1h30m", 5400), ("1.5 H", 5400), ("2min", 120)]
)
def test_budgets(stated: str, seconds: float) -> None:
    assert parse_duration(stated) == seconds


@pytest.mark.parametrize("stated", ["", "0", "0s", "-5m", "20", "soon", "20 minutes", "m", "1000h", "９0s", "1e9s", "5m-"])
def test_what_is_no_budget(stated: str) -> None:
    with pytest.raises(RecipeError, match="expected a time with its unit, such as 90s, 20m, 1h"):
        parse_duration(stated, name="--budget")


def test_a_bare_number_is_asked_for_its_unit() -> None:
    with pytest.raises(RecipeError, match=r"is it 20 seconds, minutes or hours\?"):
        parse_duration("20")


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "0 s"), (59.4, "59 s"), (60, "1 min"), (125, "2 min 5 s"), (3900, "1 h 5 min")]
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_the_clock_continues_where_earlier_work_ended() -> None:
    now = [100.0]
    clock = Clock(60, began=2.0, now=lambda: now[0])
    now[0] += 3
    assert (clock.elapsed, clock.left) == (5.0, 55.0)
    clock.advance_to(40.0)
    clock.advance_to(10.0)
    now[0] += 1
    assert clock.elapsed == 41.0


def test_limits_say_what_is_broken() -> None:
    cost = ServingCost(latency_ms=2.5, size_mb=118.04, memory_mb=300.0)
    limits = Limits(latency_ms=2, size_mb=100, memory_mb=400)
    assert limits.violations(cost) == ["latency 2.5 ms, allowed 2", "size 118 MB, allowed 100"]
    assert limits.excess(cost) == 1.25
    assert Limits().violations(cost) == []


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_limits_that_are_none(value: float) -> None:
    with pytest.raises(RecipeError, match="size_mb must be above 0"):
        Limits(size_mb=value)


def test_few_rows_are_not_divided_and_later_rungs_contain_earlier_ones() -> None:
    assert [(rung.share, rung.folds, rung.seeds) for rung in plan_rungs(98)] == [(1, 2, 1), (1, 4, 1), (1, 4, 2), (1, 4, 3)]
    assert [(rung.share, rung.rows) for rung in plan_rungs(6000)[:3]] == [(0.25, 1500), (0.5, 3000), (1.0, 6000)]
    assert [rung.margin for rung in plan_rungs(6000)[:3]] == pytest.approx([0.03, 0.02, 0.0])


def test_forecasts_grow_with_what_is_read_and_keep_the_rest() -> None:
    forecast = Forecast(start_seconds=3.0)
    assert forecast.fit_seconds("a", 100) is None
    forecast.add("a", 100, 30.0, 10.0)
    assert forecast.fit_seconds("a", 400) == 20.0 + 40.0
    forecast.add("a", 50, 99.0, 10.0)  # read less, and tells less
    assert forecast.fit_seconds("a", 50) == 20.0 + 5.0
    assert forecast.step_seconds(10.0, 4, jobs=2) == pytest.approx(MORE * (3.0 + 20.0))


def test_texts_of_median_length_are_timed() -> None:
    chosen = choose_texts(["字" * length for length in range(1, 200)])
    assert len(chosen["timed"]) == 16
    assert all(90 <= len(text) <= 110 for text in chosen["timed"])
    assert max(map(len, chosen["batch"])) == 199
    assert choose_texts(["一", "一"]) == {"timed": ["一"], "batch": ["一"]}


@pytest.mark.parametrize(
    ("arm", "rows", "dev", "held_out"),
    [
        ("textcnn", 131, None, 1 / 131),
        ("linear", 131, None, 1 / 131),
        ("frozen-ngrams", 131, None, 1 / 131),
        ("encoder", 131, None, 0.1),
        ("textcnn", 200, None, 0.1),
        ("textcnn", 131, "dev.tsv", 0.1),
    ],
)
def test_the_last_fit_holds_few_rows_out_where_nothing_is_chosen_on_them(
    arm: str, rows: int, dev: str | None, held_out: float
) -> None:
    candidates, _ = portfolio(encoder="./encoder")
    (found,) = (each.arm for each in candidates if each.name == arm)
    recipe = final_recipe(found, DataSet(name="rows", train="train.tsv", dev=dev), rows=rows, seed=0)
    assert recipe.data.dev_ratio == held_out
