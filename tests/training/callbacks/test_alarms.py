"""Alarms: what sets them off, what arms them again, and whose word counts."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from paddlenlp_embtune.config.monitoring import AlarmSpec
from paddlenlp_embtune.config.recipe import HealthSpec, Recipe
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.training.callbacks.alarms import DEFAULT_ALARMS, AlarmBoard, resolve_alarms

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"above": None}, "either above or below"),
        ({"below": 0.1}, "either above or below"),
        pytest.param({"above": NAN}, "above"),
        pytest.param({"above": INF}, "above"),
        ({"measure": ""}, "measure"),
        ({"action": "explode"}, "action"),
        ({"after_evals": -1}, "after_evals"),
        ({"factor": 0.0}, "factor"),
        ({"factor": 1.0}, "factor"),
        ({"factor": NAN}, "factor"),
        ({"row_drift": 0.0}, "row_drift"),
        ({"row_drift": 2.1}, "row_drift"),
        ({"clear": 0.6}, "clear"),
        ({"clear": NAN}, "clear"),
        ({"above": None, "below": 0.5, "clear": 0.4}, "clear"),
    ],
)
def test_an_illegal_alarm_is_refused_with_the_field_that_is_wrong(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(RecipeError, match=named):
        AlarmSpec(**{"measure": "norm_ratio", "above": 0.5, **changes})


@pytest.mark.parametrize("field", ["above", "below", "row_drift", "factor", "clear"])
def test_a_threshold_of_another_type_is_refused(field: str) -> None:
    with pytest.raises(RecipeError, match=field):
        AlarmSpec(**{"measure": "norm_ratio", "above": 0.5, field: "much"})


@pytest.mark.parametrize(
    ("bounds", "crossing", "between", "clearing"),
    [
        ({"above": 1.0}, [1.01, 5.0], [1.0, 0.91], [0.9, 0.0, -3.0]),
        ({"above": 1.0, "clear": 0.2}, [1.01], [1.0, 0.21], [0.2, 0.0]),
        ({"above": 1.0, "clear": 1.0}, [1.01], [], [1.0, 0.9]),
        ({"above": -1.0}, [-0.99, 0.0], [-1.0, -1.09], [-1.1, -2.0]),
        ({"above": 0.0}, [0.001], [], [0.0, -1.0]),
        ({"below": 3.0}, [2.99, -5.0], [3.0, 3.29], [3.3, 9.0]),
        ({"below": 3.0, "clear": 5.0}, [2.99], [3.0, 4.99], [5.0]),
        ({"below": -1.0}, [-1.01], [-1.0, -0.91], [-0.9, 0.0]),
        ({"below": 0.0}, [-0.001], [], [0.0, 1.0]),
    ],
)
def test_a_value_crosses_stays_between_or_clears(
    bounds: dict[str, float], crossing: list[float], between: list[float], clearing: list[float]
) -> None:
    alarm = AlarmSpec(measure="m", **bounds)
    assert [alarm.crossed(value) for value in (*crossing, *between, *clearing)] == [True] * len(crossing) + [False] * (
        len(between) + len(clearing)
    )
    assert [alarm.cleared(value) for value in (*crossing, *between, *clearing)] == [False] * (len(crossing) + len(between)) + [
        True
    ] * len(clearing)


@pytest.mark.parametrize("bounds", [{"above": 1.0}, {"below": -1.0}])
@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_what_is_not_finite_sets_every_alarm_off_and_clears_none(bounds: dict[str, float], value: float) -> None:
    alarm = AlarmSpec(measure="m", **bounds)
    assert alarm.crossed(value)
    assert not alarm.cleared(value)


# --- the board --------------------------------------------------------------------------------------------------------


def names(board: AlarmBoard, *values: float | None, **options: int) -> list[bool]:
    """Whether the only alarm is raised, for a course of values of the measure ``m``; None leaves it out."""
    return [bool(board.judge({} if value is None else {"m": value}, **options)) for value in values]


def test_an_alarm_goes_on_once_and_again_only_after_it_was_cleared() -> None:
    board = AlarmBoard({"a": AlarmSpec(measure="m", above=1.0)})
    course = [0.5, 1.2, 1.3, 0.95, 1.2, 0.9, 0.95, 1.2]
    assert names(board, *course) == [False, True, False, False, False, False, False, True]


def test_a_missing_measure_keeps_the_state() -> None:
    board = AlarmBoard({"a": AlarmSpec(measure="m", above=1.0)})
    assert names(board, None, 2.0, None, 2.0, 0.1, None, 2.0) == [False, True, False, False, False, False, True]
    assert board.judge({"m": None}) == []
    assert board.active == {"a"}


def test_what_is_not_a_number_sets_it_off_and_only_a_number_arms_it_again() -> None:
    board = AlarmBoard({"a": AlarmSpec(measure="m", above=1.0)})
    assert names(board, NAN, NAN, 0.0, NAN) == [True, False, False, True]


def test_an_alarm_waits_for_its_evaluations() -> None:
    board = AlarmBoard({"a": AlarmSpec(measure="m", below=3.0, after_evals=2)})
    assert board.judge({"m": 0.0}) == []
    assert board.judge({"m": 0.0}, evals=1) == []
    assert [name for name, _, _ in board.judge({"m": 0.0}, evals=2)] == ["a"]


def test_alarms_on_one_measure_are_judged_each_for_itself_in_order() -> None:
    alarms = {name: AlarmSpec(measure="m", above=bound) for name, bound in (("far", 2.0), ("near", 1.0))}
    board = AlarmBoard(alarms)
    assert board.judge({"m": 1.5}) == [("near", alarms["near"], 1.5)]
    assert board.judge({"m": 2.5, "other": 9}) == [("far", alarms["far"], 2.5)]
    assert board.active == {"far", "near"}


# --- whose word counts ------------------------------------------------------------------------------------------------

OF_PLUGIN = AlarmSpec(measure="m", above=1.0, advice="plugin")
OF_RECIPE = AlarmSpec(measure="m", above=2.0, advice="recipe")


def test_the_box_is_what_remains_when_nobody_says_anything() -> None:
    assert resolve_alarms({}, {}) == dict(DEFAULT_ALARMS)


def test_a_plugin_goes_over_the_box_and_a_recipe_over_both() -> None:
    settled = resolve_alarms(
        {"blow_up": OF_RECIPE, "new": OF_RECIPE}, {"blow_up": OF_PLUGIN, "collapse": OF_PLUGIN, "p": OF_PLUGIN}
    )
    assert settled["blow_up"] is settled["new"] is OF_RECIPE
    assert settled["collapse"] is settled["p"] is OF_PLUGIN
    assert settled["unknown"] is DEFAULT_ALARMS["unknown"]


def test_null_takes_an_alarm_away_whoever_brought_it() -> None:
    settled = resolve_alarms({"blow_up": None, "p": None, "nobody": None}, {"p": OF_PLUGIN})
    assert set(settled) == set(DEFAULT_ALARMS) - {"blow_up"}


def test_the_drift_threshold_goes_over_the_box_but_under_a_stated_alarm() -> None:
    assert resolve_alarms({}, {}, drift=0.2)["drift"] == dataclasses.replace(DEFAULT_ALARMS["drift"], above=0.2)
    assert resolve_alarms({"drift": OF_RECIPE}, {}, drift=0.2)["drift"] is OF_RECIPE
    assert "drift" not in resolve_alarms({"drift": None}, {}, drift=0.2)


def test_a_plugin_may_replace_the_drift_alarm_of_a_recipe_that_says_nothing() -> None:
    assert resolve_alarms({}, {"drift": OF_PLUGIN}, drift=HealthSpec().drift_alarm)["drift"] == OF_PLUGIN


def test_alarms_of_a_recipe_survive_plain_values() -> None:
    recipe = Recipe(health=HealthSpec(alarms={"blow_up": None, "drift": AlarmSpec(measure="m", below=0.1, action="freeze")}))
    assert Recipe.from_dict(recipe.to_dict()) == recipe
