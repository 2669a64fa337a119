"""Spaces of recipes: what is read, what is refused with the field's name, and what a trial makes of a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest

from paddlenlp_embtune.config import Recipe
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.experiments.search import Space

RECIPE = Recipe.from_dict(
    {
        "model": {"options": {"filters": 64}},
        "groups": [{"name": "head", "parameters": ["head.*"], "rate": 2e-3}, {"name": "rest", "rate": 1e-3}],
    }
)
PLAIN: dict[str, Any] = {
    "train.batch_size": [16, 64],
    "groups.head.rate": {"low": 1e-4, "high": 1e-2, "log": True},
    "model.options.filters": {"low": 32, "high": 128, "step": 32},
    "regularization.label_smoothing": {"low": 0, "high": 0.2},
    "freeze": [None, {"groups": ["rest"], "unfreeze_at_epoch": 1}],
    "average": [None, {"kind": "ema"}],
}


def test_a_trial_changes_exactly_the_fields_of_the_space() -> None:
    space = Space.from_dict(PLAIN, RECIPE)
    values = {
        "train.batch_size": 16,
        "groups.head.rate": 5e-3,
        "model.options.filters": 96,
        "regularization.label_smoothing": 0.1,
        "freeze": None,
        "average": {"kind": "ema"},
    }
    changed = space.apply(RECIPE, values)
    assert changed.train.batch_size == 16
    assert changed.groups is not None
    assert [group.rate for group in changed.groups] == [5e-3, 1e-3]
    assert changed.model.options == {"filters": 96}
    assert changed.regularization is not None
    assert changed.regularization.label_smoothing == 0.1
    assert changed.freeze is None
    assert changed.average is not None
    assert space.apply(changed, {}) == changed
    assert space.apply(RECIPE, {}) == RECIPE


def test_optuna_suggests_values_of_the_right_kind_which_can_be_read_back() -> None:
    space = Space.from_dict(PLAIN, RECIPE)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(8):
        trial = study.ask()
        values = space.suggest(trial)
        assert values["train.batch_size"] in (16, 64)
        assert isinstance(values["model.options.filters"], int)
        assert values["model.options.filters"] % 32 == 0
        assert values["freeze"] in PLAIN["freeze"]
        assert isinstance(values["regularization.label_smoothing"], float)
        assert space.values(trial.params) == values
        space.apply(RECIPE, values)
        study.tell(trial, 0.0)


def test_what_a_recipe_leaves_open_counts_as_what_a_run_would_take() -> None:
    space = Space.from_dict(
        {
            "train.batch_size": [32, 64],
            "model.options.dropout": {"low": 0.1, "high": 0.5},
            "regularization.label_smoothing": {"low": 0.0, "high": 0.2},
            "train.loss_options.gamma": [1.0, 2.0],
        },
        Recipe.from_dict({"train": {"loss": "focal"}}),
    )
    found = space.parameters_of(Recipe.from_dict({"train": {"loss": "focal"}}), rows=1000)
    assert found is not None
    assert space.values(found) == {
        "train.batch_size": 64,
        "model.options.dropout": 0.5,
        "regularization.label_smoothing": 0.0,
        "train.loss_options.gamma": 2.0,
    }
    outside = Space.from_dict({"train.batch_size": [16, 32]}, Recipe())
    assert outside.parameters_of(Recipe(), rows=1000) is None
    between = Space.from_dict({"model.options.filters": {"low": 32, "high": 128, "step": 64}}, RECIPE)
    assert between.parameters_of(RECIPE, rows=1000) is None


REFUSED: list[tuple[Any, str]] = [
    ({}, "must be a mapping of fields"),
    ([], "must be a mapping of fields"),
    ({"train.batchsize": [16, 32]}, "train.batchsize, which is no field of the recipe; did you mean 'train.batch_size'"),
    ({"batch_size": [16, 32]}, "batch_size, which is no field of the recipe"),
    ({"groups.hed.rate": [1e-3, 1e-2]}, "did you mean 'groups.head.rate'"),
    ({"model.options.filtrs": [16, 32]}, "model.options of textcnn has no 'filtrs'; did you mean 'filters'"),
    ({"train.loss_options.gamma": [1.0, 2.0]}, "train.loss_options of cross_entropy has no 'gamma'"),
    ({"train.batch_size": []}, "train.batch_size of the space has no values"),
    ({"train.batch_size": [16]}, "must have two or more values that differ"),
    ({"train.batch_size": [16, 16]}, "must have two or more values that differ"),
    ({"train.batch_size": 16}, "must be a list of values, or a range"),
    (
        {"train.batch_size": {"low": 64, "high": 16}},
        "the range of train.batch_size is empty: low must be below high, got 64 and 16",
    ),
    ({"train.batch_size": {"low": 16, "high": 16}}, "the range of train.batch_size is empty"),
    ({"train.batch_size": {"low": 1, "high": 8, "stp": 2}}, "has no key 'stp'; did you mean 'step'"),
    (
        {"train.batch_size": {"low": 1, "high": 8, "step": 9}},
        "step of train.batch_size must be above 0 and at most high - low, 7",
    ),
    ({"train.batch_size": {"low": 1, "high": 8, "step": 0.5}}, "step of train.batch_size must be a whole number"),
    ({"train.batch_size": {"low": "few", "high": 8}}, "low of train.batch_size in the space must be a number, got 'few'"),
    (
        {"train.batch_size": {"low": 0, "high": 8}},
        "cannot take train.batch_size: 0 .* train.batch_size must be 1 or more, got 0",
    ),
    ({"model.options.dropout": {"low": 0.0, "high": 0.5, "log": True}}, "log: true, so low must be above 0"),
    ({"model.options.dropout": {"low": 0.0, "high": 0.5, "log": "yes"}}, "log of model.options.dropout must be true or false"),
    ({"regularization.label_smoothing": [0.0, 1.5]}, "must be 0 or more and below 1, got 1.5"),
    ({"data.train": ["a.tsv", "b.tsv"]}, "data.train, which cannot be searched: every trial has the same rows"),
    ({"seed": [0, 1]}, "seed, which cannot be searched"),
    ({"early_stopping.metric": ["accuracy", "loss"]}, "trials are compared by it"),
]


@pytest.mark.parametrize(("plain", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_what_is_no_space_is_refused(plain: Any, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Space.from_dict(plain, RECIPE)


def test_groups_that_no_recipe_states_cannot_be_searched() -> None:
    with pytest.raises(RecipeError, match="the recipe states no groups, which are searched by name"):
        Space.from_dict({"groups.head.rate": [1e-3, 1e-2]}, Recipe())


def test_a_file_is_read_or_named(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    with pytest.raises(RecipeError, match=r"cannot read the space .*space.yaml"):
        Space.load(path, RECIPE)
    path.write_text("groups.head.rate: {low: 1e-4, high: 1e-2, log: true}\n", encoding="utf-8")
    space = Space.load(path, RECIPE)
    assert space.dimensions[0].describe() == "0.0001 to 0.01, log"
    assert Space.from_dict(space.to_dict(), RECIPE) == space
