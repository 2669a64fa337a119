"""Alarms: each acts once when a measure crosses a threshold, and is armed again when the measure is back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from paddlenlp_embtune.config import AlarmSpec
from paddlenlp_embtune.errors import RecipeError, expected_names

__all__ = ["DEFAULT_ALARMS", "AlarmBoard", "describe_alarm", "resolve_alarms"]

DEFAULT_ALARMS: Mapping[str, AlarmSpec] = {
    "drift": AlarmSpec(
        measure="cosine_drift_mean",
        above=0.5,
        advice="the rows that moved have turned away from where they started; lower the embedding's learning rate, or release "
        "it later",
    ),
    "blow_up": AlarmSpec(
        measure="norm_ratio", above=2.0, advice="the rows have grown; lower the embedding's learning rate, or decay its weights"
    ),
    "collapse": AlarmSpec(
        measure="mean_cosine_change",
        above=0.3,
        advice="the rows turn into one direction; lower the embedding's learning rate, or freeze it",
    ),
    "one_direction": AlarmSpec(
        measure="first_direction_change",
        above=0.3,
        advice="most of the variance lies in one direction; lower the embedding's learning rate, or freeze it",
    ),
    "dead_rows": AlarmSpec(
        measure="zero_share",
        above=0.05,
        advice="rows are zero, so their tokens all look alike; look at how the vectors were loaded, and at the vocabulary",
    ),
    "scrambled": AlarmSpec(
        measure="probe_cohesion",
        below=3.0,
        advice="characters that belong together lie no closer than strangers: do the rows belong to this vocabulary? A "
        "shift by one row looks like this",
    ),
    "unknown": AlarmSpec(
        measure="unknown_rate", above=0.2, advice="many tokens are unknown; give the vocabulary more rows, or another tokenizer"
    ),
    "no_learning": AlarmSpec(
        measure="agreement_z",
        below=3.0,
        after_evals=3,
        advice="predictions agree with the labels no more than chance would; are the labels in the order of the texts?",
    ),
    "one_class": AlarmSpec(
        measure="largest_predicted_share",
        above=0.995,
        after_evals=2,
        advice="one label is predicted for nearly every text; look at the labels, the class balance and the learning rates",
    ),
}
"""Thresholds that no healthy run on the real data sets of the benchmark reaches; see ``tests/benchmarks/health.py``."""


def resolve_alarms(
    stated: Mapping[str, AlarmSpec | None], registered: Mapping[str, AlarmSpec], *, drift: float | None = None
) -> dict[str, AlarmSpec]:
    """Merge built-in alarms, those of plugins and those of a recipe, the later over the earlier; None removes an alarm."""
    merged: dict[str, AlarmSpec | None] = {**DEFAULT_ALARMS, **registered, **stated}
    if drift is not None and "drift" not in stated:
        box = DEFAULT_ALARMS["drift"]
        if drift != box.above:  # a recipe that keeps to the built-in threshold leaves a plugin's alarm alone
            merged["drift"] = dataclasses.replace(
                registered.get("drift", box), measure=box.measure, above=drift, below=None, clear=None
            )
    return {name: alarm for name, alarm in merged.items() if alarm is not None}


def describe_alarm(name: str, alarm: AlarmSpec, value: float) -> str:
    """Return the line that tells of an alarm: its measure, the value, the threshold, and the advice."""
    bound = f"above {alarm.above}" if alarm.above is not None else f"below {alarm.below}"
    advice = f"; {alarm.advice}" if alarm.advice else ""
    return f"{name}: {alarm.measure} is {value:.3g}, {bound}{advice}"


class AlarmBoard:
    """Knows which alarms are on.

    Args:
        alarms: by name.
    """

    def __init__(self, alarms: Mapping[str, AlarmSpec]) -> None:
        self.alarms = dict(alarms)
        self.active: set[str] = set()

    def judge(self, measures: Mapping[str, Any], *, evals: int | None = None) -> list[tuple[str, AlarmSpec, float]]:
        """Compare measures with thresholds; return (name, alarm, value) for every alarm that is raised now.

        Args:
            measures: by name; alarms whose measure is not among them keep their state.
            evals: evaluations so far, for alarms that wait for some.
        """
        raised = []
        for name, alarm in self.alarms.items():
            value = measures.get(alarm.measure)
            if value is not None and not isinstance(value, (int, float)):
                numbers = sorted(key for key, each in measures.items() if isinstance(each, (int, float)))
                raise RecipeError(
                    f"the alarm {name!r} watches {alarm.measure!r}, which is no number; "
                    f"{expected_names(alarm.measure, numbers)}"
                )
            if value is None or (alarm.after_evals and (evals or 0) < alarm.after_evals):
                continue
            if name in self.active:
                if alarm.cleared(float(value)):
                    self.active.discard(name)
            elif alarm.crossed(float(value)):
                self.active.add(name)
                raised.append((name, alarm, float(value)))
        return raised
