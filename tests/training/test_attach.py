"""A recipe on a Trainer that somebody else built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

import paddlenlp_embtune as embtune
from paddlenlp_embtune.config.recipe import (
    ClipSpec,
    EarlyStoppingSpec,
    FreezeSpec,
    GroupSpec,
    PlateauSpec,
    Recipe,
    ScheduleSpec,
)
from tests.toy import Snapshots, Toy, assert_equal, make_trainer, state_of

GROUPS = (
    GroupSpec(name="embedding", parameters=("embedding.*",), rate=2e-3),
    GroupSpec(name="rest", rate=1e-2, weight_decay=0.01),
)
STOP = EarlyStoppingSpec(metric="accuracy")
RECIPE = Recipe(groups=GROUPS, early_stopping=STOP, freeze=FreezeSpec(groups=("embedding",), unfreeze_at_epoch=1))


def test_a_recipe_freezes_releases_and_records(tmp_path: Path) -> None:
    snapshots = Snapshots()
    trainer = make_trainer(tmp_path, snapshots, learning_rate=7.0)
    record = embtune.attach(trainer, RECIPE)
    trainer.train()
    first, second, *_ = snapshots.weights
    np.testing.assert_array_equal(first["embedding.weight"], second["embedding.weight"])
    assert [event["what"] for event in record.of("phase")] == ["frozen", "released"]
    assert len(record.of("health")) == 3
    assert {row["name"] for row in record.of("groups")[0]["table"]} == {"embedding", "rest"}


def test_recorded_rates_are_absolute_and_follow_the_schedule(tmp_path: Path) -> None:
    recipe = Recipe(groups=GROUPS, early_stopping=None, freeze=None, schedule=ScheduleSpec(kind="linear", warmup_ratio=0.0))
    trainer = make_trainer(tmp_path, learning_rate=123.0)
    record = embtune.attach(trainer, recipe)
    trainer.train()
    for event in record.of("rates"):
        left = 1 - (event["step"] - 1) / 12
        assert event["rates"]["embedding"] == pytest.approx(2e-3 * left, rel=1e-6, abs=1e-12)
        assert event["rates"]["rest"] == pytest.approx(1e-2 * left, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("kind", ScheduleSpec.KINDS)
def test_one_step_moves_weights_as_plain_adamw_at_the_groups_rate(tmp_path: Path, kind: str) -> None:
    groups = tuple(GroupSpec(name=g.name, parameters=g.parameters, rate=g.rate) for g in GROUPS)
    recipe = Recipe(
        groups=groups,
        early_stopping=None,
        freeze=None,
        clip=None,
        health=None,
        schedule=ScheduleSpec(kind=kind, warmup_ratio=0.0, plateau=PlateauSpec(metric="accuracy")),
    )
    snapshots = Snapshots()
    trainer = make_trainer(tmp_path, snapshots, num_train_epochs=1, max_steps=1, learning_rate=9.0, max_grad_norm=0.0)
    embtune.attach(trainer, recipe)
    trainer.train()
    before, after = snapshots.weights
    # Adam's first step is the rate in the direction of the gradient's sign, wherever the gradient is not tiny.
    step = np.abs(after["classifier.weight"] - before["classifier.weight"])
    np.testing.assert_allclose(np.median(step), 1e-2, rtol=1e-3)
    touched = np.abs(after["embedding.weight"] - before["embedding.weight"])
    np.testing.assert_allclose(np.median(touched[touched > 0]), 2e-3, rtol=1e-2)


def test_the_default_rules_serve_a_strangers_model(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    record = embtune.attach(trainer, Recipe(early_stopping=STOP))
    trainer.train()
    rates = {row["name"]: row["rate"] for row in record.of("groups")[0]["table"]}
    assert rates == {"embedding": 5e-5, "head": 2e-4}


@pytest.mark.parametrize(
    ("recipe", "options", "error", "message"),
    [
        (Recipe(groups=GROUPS), {"evaluation_strategy": "no"}, embtune.RecipeError, "never evaluates"),
        (
            Recipe(groups=GROUPS, early_stopping=STOP, freeze=FreezeSpec(groups=("embeding",))),
            {},
            embtune.RecipeError,
            "did you mean 'embedding'",
        ),
        (
            Recipe(groups=(GroupSpec(name="a", parameters=("nothing.*",), rate=1.0),), early_stopping=STOP, freeze=None),
            {},
            embtune.PatternError,
            "matched 0 of 7",
        ),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused_at_once(
    tmp_path: Path, recipe: Recipe, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        embtune.attach(make_trainer(tmp_path, **options), recipe)


def test_a_trainer_with_an_optimizer_is_refused(tmp_path: Path) -> None:
    model = Toy()
    trainer = make_trainer(tmp_path, model=model)
    trainer.optimizer = paddle.optimizer.AdamW(1e-3, parameters=model.parameters())
    with pytest.raises(embtune.HostError, match="has an optimizer already"):
        embtune.attach(trainer, RECIPE)


def test_clipping_happens_once(tmp_path: Path) -> None:
    """By the recipe: the Trainer's own clipping, to next to nothing here, does not come on top."""
    ends = []
    for max_grad_norm in (0.0, 1e-9):
        trainer = make_trainer(tmp_path, max_grad_norm=max_grad_norm)
        embtune.attach(trainer, Recipe(groups=GROUPS, early_stopping=STOP, clip=ClipSpec(global_norm=0.5)))
        trainer.train()
        ends.append(state_of(trainer.model))
    assert_equal(*ends)


@pytest.mark.parametrize("name", ["fp16", "bf16"])
def test_half_precision_on_a_cpu_is_refused(tmp_path: Path, name: str) -> None:
    trainer = make_trainer(tmp_path)
    setattr(trainer.args, name, True)
    with pytest.raises(embtune.HostError, match=f"{name}=True, which needs a GPU"):
        embtune.attach(trainer, RECIPE)
