"""The part of a recipe about contrastive tuning."""

from __future__ import annotations

from typing import Any

import pytest

from paddlenlp_embtune.config import ContrastiveSpec, Recipe
from paddlenlp_embtune.errors import RecipeError

ENCODER = {"model": {"encoder": "tiny"}}


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"loss": "triplet"}, "contrastive.loss is 'triplet'"),
        ({"temperature": 0.0}, r"contrastive.temperature must be above 0 .*, got 0.0"),
        ({"margin": 2.5}, "contrastive.margin must be above 0 and at most 2, got 2.5"),
        ({"layers": 0}, "contrastive.layers must be 1 or more, or null, got 0"),
        ({"rate": -1.0}, "contrastive.rate must be above 0"),
        ({"descriptions": {"a": "A"}}, "contrastive.descriptions must be empty where contrastive.label_names is false"),
        ({"label_names": True, "descriptions": {"a": " "}}, "contrastive.descriptions.a must be a text that is not empty"),
        ({"inverse_regularization": 0.0}, "contrastive.inverse_regularization must be above 0, or null"),
        ({"pairs": 20}, "contrastive has no key 'pairs'"),
    ],
)
def test_what_is_refused(stated: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Recipe.from_dict({**ENCODER, "contrastive": stated})


@pytest.mark.parametrize(
    ("beside", "message"),
    [
        ({"model": {}}, "model.encoder must be an encoder beside contrastive"),
        ({"model": {"encoder": "tiny", "options": {"head": "cumulative_link"}}}, "model.options.head must be linear"),
        ({"text": {"windows": {"overlap_tokens": 2}}}, "text.windows must be null beside contrastive"),
        ({"train": {"accumulation_steps": 2}}, "train.accumulation_steps must be 1 beside contrastive"),
        ({"train": {"batch_size": 2}}, "train.batch_size must be 4 or more beside contrastive"),
        ({"distill": {"teacher": "run"}}, "cannot have contrastive and distill"),
        ({"adapter": {"kind": "lora"}}, "cannot have contrastive and adapter"),
        ({"self_training": {"unlabelled": ["a.txt"]}}, "cannot have contrastive and self_training"),
        ({"self_training": {"unlabelled": ["a.txt"]}, "tuning": "auto"}, "tuning must be full beside self_training"),
    ],
)
def test_what_it_does_not_go_with(beside: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Recipe.from_dict({**ENCODER, "contrastive": {}, **beside})


def test_steps_follow_from_the_rows() -> None:
    assert [ContrastiveSpec().steps_for(rows, batch_size=16) for rows in (16, 131, 10_000)] == [24, 33, 120]
    assert ContrastiveSpec(steps=7).steps_for(10_000, batch_size=16) == 7
