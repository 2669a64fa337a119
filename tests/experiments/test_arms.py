"""Arms as a user states them: built in, of files, changed by settings; and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from paddlenlp_embtune.config import FreezeSpec, LayerwiseSpec
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.experiments import BUILT_IN_ARMS, parse_arms, recipe_of


def one(stated: str, *settings: str, rows: int = 1000) -> Any:
    (arm,) = parse_arms([stated], settings)
    return recipe_of(arm, rows=rows)


def test_every_built_in_arm_can_be_stated() -> None:
    arms = parse_arms(BUILT_IN_ARMS)
    assert tuple(arm.name for arm in arms) == BUILT_IN_ARMS
    assert {arm.kind for arm in arms} == {"baseline", "frozen", "recipe"}
    for arm in arms:
        recipe_of(arm, rows=100)


def test_the_arms_about_freezing_differ_in_what_their_names_say() -> None:
    plain, rates, freeze, default = (one(name) for name in ("plain", "rates", "freeze", "textcnn"))
    assert (plain.freeze, rates.freeze) == (None, None)
    assert freeze.freeze == default.freeze == FreezeSpec()
    assert len({group.rate for group in plain.groups}) == len({group.rate for group in freeze.groups}) == 1
    assert rates.groups is None
    assert default.groups is None


@pytest.mark.parametrize("name", ["plain", "freeze"])
def test_with_an_encoder_all_layers_have_one_rate(name: str) -> None:
    recipe = one(f"x=encoder+{name}")
    assert recipe.model.encoder == "e5-small-zh"
    assert recipe.layerwise.decay == 1.0
    assert (recipe.layerwise.rate, recipe.layerwise.embedding_rate, recipe.layerwise.head_rate) == (5e-5, None, None)


def test_gradual_unfreezing_of_an_encoder_fits_into_the_run() -> None:
    """Thirteen groups are released by about half of the steps, however many there are."""
    for rows in (50, 1000, 9000):
        recipe = one("encoder+gradual", rows=rows)
        size = recipe.train.resolved(rows, encoder=True)
        steps = size.epochs * -(-rows // size.batch_size)
        assert 1 <= recipe.freeze.unfreeze_at_step == recipe.freeze.every_steps
        assert 13 * recipe.freeze.every_steps <= 0.6 * steps


def test_gradual_unfreezing_knows_the_length_that_a_setting_states() -> None:
    recipe = one("encoder+gradual", "train.epochs=4", "train.batch_size=16", rows=200)
    assert 13 * recipe.freeze.every_steps < 4 * 13


def test_rates_follow_the_one_that_a_setting_states() -> None:
    assert one("encoder+plain", "layerwise.rate=2e-4").layerwise == LayerwiseSpec(rate=2e-4, decay=1.0)


def test_parts_apply_from_left_to_right_and_settings_last(tmp_path: Path) -> None:
    file = tmp_path / "lora.yaml"
    file.write_text("seed: 3\ntrain: {epochs: 7}\nfreeze: {groups: [head], unfreeze_at_epoch: 2}\ntext: {vocabulary: null}\n")
    (arm,) = parse_arms([str(file)])
    assert arm.name == "lora"
    assert recipe_of(arm, rows=9).freeze.groups == ("head",)
    assert one(f"a={file}+rates").freeze is None
    assert one(f"a=rates+{file}").freeze.groups == ("head",)
    changed = one(f"a={file}+freeze", "a:freeze.unfreeze_at_epoch=3", "train.batch_size=8")
    assert (changed.freeze.unfreeze_at_epoch, changed.train.batch_size, changed.train.epochs) == (3, 8, 7)


def test_paths_in_a_recipe_file_are_relative_to_it(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("vectors: {source: ./v.txt}\n")
    assert Path(one(str(tmp_path / "a.yaml")).vectors.source) == tmp_path / "v.txt"


def test_settings_without_a_name_reach_all_but_baselines() -> None:
    arms = parse_arms(["tfidf", "textcnn", "plain"], ["train.epochs=2"])
    assert [dict(arm.settings) for arm in arms] == [{}, {"train": {"epochs": 2}}, {"train": {"epochs": 2}}]


def test_another_encoder() -> None:
    arms = parse_arms(["encoder", "frozen"], encoder="./ernie")
    assert [recipe_of(arm, rows=9).model.encoder for arm in arms] == ["./ernie", "./ernie"]


@pytest.mark.parametrize(
    ("arms", "settings", "told"),
    [
        (["textcn"], [], "'textcn', which is neither a file nor built in; did you mean 'textcnn'"),
        (["a b=textcnn"], [], "has the name 'a b'"),
        (["tfidf", "tfidf"], [], "the arm 'tfidf' is stated twice"),
        (["x=tfidf+freeze"], [], "changes the baseline tfidf, which has no recipe"),
        (["textcnn"], ["plain:train.epochs=2"], "names the arm 'plain'"),
        (["tfidf"], ["tfidf:train.epochs=2"], "is a baseline and has no recipe"),
        (["textcnn"], ["train.epochs"], "expected SETTING=VALUE"),
        (["textcnn"], ["train.epoch=3"], "the arm 'textcnn': recipe.train has no key 'epoch'; did you mean 'epochs'"),
        (["textcnn"], ["train.epochs=0"], "the arm 'textcnn': train.epochs must be 1 or more, got 0"),
        (["textcnn"], ["data.train=other.tsv"], "states data.train ('other.tsv'), but all arms"),
        (["textcnn"], ["data.dev_ratio=0.5"], "states data.dev_ratio"),
        (["frozen"], ["model.encoder=null"], "reads the vectors of an encoder, and states none"),
    ],
)
def test_what_is_no_arm_is_refused(arms: list[str], settings: list[str], told: str) -> None:
    with pytest.raises(RecipeError) as refused:
        parse_arms(arms, settings)
    assert told in str(refused.value)
