"""How an encoder is tuned, by the rows at hand."""

from __future__ import annotations

from typing import Any

import pytest

from paddlenlp_embtune.config import ContrastiveSpec, Recipe
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.training._tuning_choice import choose_tuning


def recipe(**parts: Any) -> Recipe:
    return Recipe.from_dict({"model": {"encoder": "tiny"}, "tuning": "auto", **parts})


@pytest.mark.parametrize(
    ("rows", "chosen", "why"),
    [
        ({"a": 8, "b": 8}, "contrastive", "8 rows a label are few"),
        ({"a": 100, "b": 100}, "contrastive", "100 rows a label are few"),
        ({"a": 300, "b": 20}, "full", "160 rows a label are more than 100"),
        ({"a": 9, "b": 1}, "contrastive", "as 'b' has one, rows are compared with the labels' names"),
    ],
)
def test_the_rows_choose(rows: dict[str, int], chosen: str, why: str) -> None:
    found, choice = choose_tuning(recipe(), [label for label, count in rows.items() for _ in range(count)])
    assert choice is not None
    assert choice.chosen == chosen
    assert why in choice.why
    assert found.tuning is None
    assert (found.contrastive is not None) == (chosen == "contrastive")
    if found.contrastive is not None:
        assert found.contrastive.label_names == ("names" in why)


def test_what_does_not_go_with_pairs_leaves_the_classifier() -> None:
    found, choice = choose_tuning(recipe(adapter={"kind": "lora"}), ["a", "b"] * 8)
    assert choice is not None
    assert (choice.chosen, found.contrastive) == ("full", None)
    assert "cannot have contrastive and adapter" in choice.why


def test_what_is_stated_is_done() -> None:
    labels = ["a", "b"] * 8
    stated = {"rate": 1e-5}
    assert choose_tuning(recipe(tuning="full", contrastive=stated), labels)[0].contrastive is None
    assert choose_tuning(recipe(tuning="contrastive"), labels * 100)[0].contrastive == ContrastiveSpec()
    assert choose_tuning(recipe(contrastive=stated), labels)[0].contrastive == ContrastiveSpec(rate=1e-5)
    assert choose_tuning(recipe(tuning=None, contrastive=stated), labels) == (recipe(tuning=None, contrastive=stated), None)


def test_unknown_and_without_an_encoder() -> None:
    with pytest.raises(RecipeError, match="tuning is 'some'"):
        recipe(tuning="some")
    with pytest.raises(RecipeError, match=r"model\.encoder must be an encoder beside tuning"):
        recipe(model={})
