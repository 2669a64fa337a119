"""Failure modes to plant into a run on the finance texts of the package, and what they must raise."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import paddle

import paddlenlp_embtune as embtune
from paddlenlp_embtune.builtin import FINANCE
from paddlenlp_embtune.embeddings.io import ReadOptions, VectorTable
from paddlenlp_embtune.embeddings.io.lac import read_lac
from paddlenlp_embtune.plugin import registry
from paddlenlp_embtune.plugin.registry import load
from tests.helpers import tsv
from tests.host import TrainerCallback

RATES = {"embedding": 1e-3, "backbone": 2e-3, "head": 2e-3}


@dataclasses.dataclass(frozen=True)
class FailureMode:
    """What goes wrong, and the alarms of which one at least must say so.

    Args:
        raises: names of alarms; empty for a healthy run.
        recipe: changes to the recipe.
        rows: changes the training rows, (text, label).
        dev_too: whether it changes the development rows too.
        vectors: changes the vectors that the embedding starts from.
        table: changes the embedding itself before training.
        callback: works on the model after each step.
    """

    raises: tuple[str, ...]
    recipe: dict[str, Any] = dataclasses.field(default_factory=dict)
    rows: Callable[[list[tuple[str, str]]], list[tuple[str, str]]] | None = None
    dev_too: bool = True
    vectors: Callable[[np.ndarray], np.ndarray] | None = None
    table: Callable[[np.ndarray], np.ndarray] | None = None
    callback: type[TrainerCallback] | None = None


def groups(**factors: float) -> list[dict[str, Any]]:
    patterns = {"embedding": "embedding.*", "backbone": "convolution.*", "head": "head.*"}
    return [
        {"name": name, "parameters": [patterns[name]], "rate": rate * factors.get(name, 1.0)} for name, rate in RATES.items()
    ]


def shuffled(rows: list[tuple[str, str]]) -> list[tuple[str, str]]:
    labels = [label for _, label in rows]
    random.Random(0).shuffle(labels)
    return [(text, label) for (text, _), label in zip(rows, labels, strict=True)]


def nearly_one_class(rows: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """One label but for a row of each other, which is too little to learn from."""
    firsts = {label: (text, label) for text, label in reversed(rows)}
    return [row for row in rows if row[1] == "中性"] + [row for label, row in firsts.items() if label != "中性"]


def half_dead(table: np.ndarray) -> np.ndarray:
    dead = table.copy()
    dead[np.random.default_rng(0).permutation(len(table))[: len(table) // 2]] = 0.0
    return dead


class Collapse(TrainerCallback):
    """Pulls every row towards one direction."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        weight = kwargs["model"].embedding.weight
        with paddle.no_grad():
            pull = paddle.zeros_like(weight)
            pull[1:, 0] = 0.02
            weight.set_value(weight + pull)


FAILURE_MODES: dict[str, FailureMode] = {
    "none": FailureMode(raises=()),
    "embedding rate x 100": FailureMode(raises=("drift", "blow_up"), recipe={"groups": groups(embedding=100.0)}),
    "labels shuffled": FailureMode(raises=("no_learning",), rows=shuffled),
    "one class only": FailureMode(raises=("one_class",), rows=nearly_one_class, dev_too=False),
    "half of the table dead": FailureMode(raises=("dead_rows",), table=half_dead),
    "vocabulary shifted by one": FailureMode(raises=("scrambled",), vectors=lambda table: np.roll(table, 1, axis=0)),
    "collapse to one direction": FailureMode(raises=("collapse", "one_direction"), callback=Collapse),
}


class Planted:
    """A plugin that changes the vectors and adds a callback."""

    def __init__(self, failure: FailureMode) -> None:
        self.failure = failure

    @embtune.hookimpl
    def embtune_register_vector_formats(self) -> dict[str, Any]:
        def read(source: str, options: ReadOptions | None = None) -> VectorTable:
            table = read_lac("lac", options)
            return dataclasses.replace(table, table=self.failure.vectors(table.table))

        return {"planted": read} if self.failure.vectors is not None else {}

    @embtune.hookimpl
    def embtune_before_attach(self, trainer: Any) -> None:
        # Not in the vectors: zero rows of theirs count as absent, and are drawn.
        if self.failure.table is not None:
            weight = trainer.model.embedding.weight
            weight.set_value(self.failure.table(weight.numpy()))

    @embtune.hookimpl
    def embtune_register_callbacks(self) -> list[Any]:
        return [self.failure.callback()] if self.failure.callback is not None else []


ROWS = {"train": 945, "dev": 150}
"""How many of the texts of the package a run takes: those written one by one, with which the files begin."""


def plant(name: str, folder: Path) -> list[str]:
    """Train on the finance texts with a failure; return the names of the alarms in the order in which they were raised."""
    failure = FAILURE_MODES[name]
    folder.mkdir(parents=True)
    for part in ("train", "dev"):
        lines = (FINANCE / f"{part}.tsv").read_text(encoding="utf-8").splitlines()[1 : 1 + ROWS[part]]
        rows = [(line.split("\t")[0], line.split("\t")[1]) for line in lines]
        if failure.rows is not None and (part == "train" or failure.dev_too):
            rows = failure.rows(rows)
        (folder / f"{part}.tsv").write_text(tsv(rows), encoding="utf-8")
    recipe = embtune.Recipe.from_dict(
        {
            "domain": "finance",
            "data": {"train": str(folder / "train.tsv"), "dev": str(folder / "dev.tsv")},
            "vectors": {"source": "planted" if failure.vectors is not None else "lac"},
            "train": {"epochs": 10, "checkpoint_seconds": None},
            "export": {"engines": []},
            **failure.recipe,
        }
    )
    events: list[dict[str, Any]] = []
    former = registry.use(load(plugins=[Planted(failure)], installed=False))
    try:
        embtune.train(recipe, folder / "run", listeners=[lambda event: events.append(dict(event))])
    finally:
        registry.use(former)
    return [event["name"] for event in events if event["event"] == "alarm"]
