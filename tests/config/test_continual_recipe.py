"""The part of a recipe about learning on."""

from __future__ import annotations

from typing import Any

import pytest

from paddlenlp_embtune.config import ContinualSpec, Recipe
from paddlenlp_embtune.errors import RecipeError


def test_one_method_or_several_with_strengths() -> None:
    one = ContinualSpec(method="ewc", strength=3)
    assert (one.methods, one.strength_of("ewc"), one.keeps_fisher) == (("ewc",), 3.0, True)
    two = Recipe.from_dict(
        {"model": {"start": "b"}, "continual": {"method": ["replay", "lwf"], "strength": {"lwf": 2}}}
    ).continual
    assert two is not None
    assert (two.methods, two.strength_of("replay"), two.strength_of("lwf"), two.keeps_fisher) == (
        ("replay", "lwf"),
        1.0,
        2.0,
        False,
    )


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        ({"method": "replai"}, "continual.method is 'replai'; did you mean 'replay'"),
        ({"method": ["ewc", "ewc"]}, "continual.method must be methods, each once"),
        ({"method": "ewc", "strength": 0}, "continual.strength of ewc must be above 0, got 0"),
        ({"method": ["ewc", "lwf"], "strength": 2}, "continual.strength must be a number for each method by its name"),
        ({"method": "ewc", "strength": {"lwf": 1}}, "continual.strength names 'lwf'"),
        ({"examples": -1}, "continual.examples must be 0 or more, got -1"),
        ({"selection": "random"}, "continual.selection is 'random'"),
        ({"fisher_decay": 1.5}, "continual.fisher_decay must be above 0 and at most 1"),
        ({"temperature": 0}, "continual.temperature must be above 0"),
        ({"new_labels": ["a", "a"]}, "continual.new_labels must be labels, each once"),
        ({"method": "multitask", "strength": 2}, "continual.strength must be a number for each method by its name"),
        ({"method": "multitask", "new_labels": ["a"]}, "continual.new_labels must be empty beside multitask"),
        ({"task": " "}, "continual.task must be a name, or null"),
    ],
)
def test_what_makes_no_sense_is_refused(stated: dict[str, Any], told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        Recipe.from_dict({"model": {"start": "b"}, "continual": stated})


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"continual": {"method": "lwf"}}, "model.start must be the bundle to go on from, beside continual.method lwf"),
        ({"continual": {"label_map": {"a": "b"}}}, "continual.label_map must be empty without model.start"),
        ({"continual": {"new_labels": ["a"]}}, "continual.new_labels must be empty without model.start"),
        (
            {"model": {"start": "b"}, "continual": {"method": "lwf"}, "distill": {"teacher": "other"}},
            "cannot have continual.method lwf and another distill.teacher",
        ),
        (
            {"model": {"start": "b"}, "continual": {"method": "ewc"}, "adapter": {"kind": "lora"}},
            "cannot have continual.method ewc or l2sp and adapter",
        ),
        ({"model": {"encoder": "e", "experts": ["vectors"]}, "continual": {"examples": 5}}, "continual and model.experts"),
    ],
)
def test_what_has_no_former_model_is_refused(parts: dict[str, Any], told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        Recipe.from_dict(parts)


def test_texts_are_stored_only_where_the_recipe_says_so() -> None:
    assert ContinualSpec().examples == 0
    assert not ContinualSpec(method="replay").examples
