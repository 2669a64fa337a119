"""Groups by the depth of an encoder's layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import paddle
import pytest

import paddlenlp_embtune as embtune
from paddlenlp_embtune.config.recipe import FreezeSpec, GroupSpec, LayerwiseSpec, Recipe, ScheduleSpec
from paddlenlp_embtune.errors import PatternError, RecipeError
from paddlenlp_embtune.models import layerwise_groups
from paddlenlp_embtune.training import resolve_groups
from tests.toy import LABELS, VOCABULARY, WIDTH, Deep, Steps, Toy, make_trainer

LAYERS = 3
BARE: dict[str, Any] = {"early_stopping": None, "clip": None, "health": None}
CONSTANT = ScheduleSpec(kind="constant", warmup_ratio=0.0)


class WithScales(Deep):
    """Beside the encoder's, there is a longer numbered list of small layers."""

    def __init__(self) -> None:
        super().__init__()
        self.scales = paddle.nn.LayerList([paddle.nn.Linear(1, 1) for _ in range(9)])


class HeadFirst(Deep):
    """The classifier is declared before all else."""

    def __init__(self) -> None:
        super().__init__()
        held = dict(self._sub_layers)
        self._sub_layers.clear()
        self.classifier = held.pop("classifier")
        for name, layer in held.items():
            setattr(self, name, layer)


class Stacked(paddle.nn.Layer):
    """Numbers are left out where layers without parameters stand."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = paddle.nn.Embedding(VOCABULARY, WIDTH)
        self.stack = paddle.nn.Sequential(paddle.nn.Linear(WIDTH, WIDTH), paddle.nn.Tanh(), paddle.nn.Linear(WIDTH, WIDTH))
        self.classifier = paddle.nn.Linear(WIDTH, LABELS)

    def forward(self, input_ids: Any) -> Any:
        return self.classifier(self.stack(self.embedding(input_ids).mean(axis=1)))


def chosen_by(model: Any, depths: tuple[int, ...]) -> set[str]:
    specs = [GroupSpec(name="chosen", depths=depths, rate=1e-3), GroupSpec(name="rest", rate=1e-3)]
    return set(resolve_groups(model, specs)[0].parameters)


def whole_layers(*numbers: int) -> set[str]:
    parts = ("dense.weight", "dense.bias", "norm.weight", "norm.bias")
    return {f"encoder.layers.{number}.{part}" for number in numbers for part in parts}


def rates_of(record: embtune.training.RunRecord) -> dict[str, float]:
    return {row["name"]: row["rate"] for row in record.of("groups")[0]["table"]}


# --- groups that state depths ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("depths", "layers"), [((0,), (0,)), ((-1,), (2,)), ((0, -1), (0, 2)), ((-3, 1), (0, 1)), ((2, -1), (2,))]
)
def test_depths_choose_whole_layers_from_the_bottom_or_the_top(depths: tuple[int, ...], layers: tuple[int, ...]) -> None:
    assert chosen_by(Deep(), depths) == whole_layers(*layers)


def test_the_eleventh_layer_is_not_taken_for_the_first() -> None:
    assert chosen_by(Deep(11), (1,)) == whole_layers(1)
    assert chosen_by(Deep(11), (-1,)) == whole_layers(10)


def test_the_layers_are_the_numbered_list_that_holds_most() -> None:
    assert chosen_by(WithScales(), (0,)) == whole_layers(0)


@pytest.mark.parametrize("depth", [3, -4])
def test_a_depth_that_there_is_not_is_refused(depth: int) -> None:
    with pytest.raises(PatternError, match=f"'chosen' names the depth {depth}; expected 0 to 2, or -1 to -3 from the top"):
        chosen_by(Deep(), (0, depth))


def test_depths_of_a_model_without_layers_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"Toy has no numbered list of layers.*choose groups by name: .*embtune params"):
        chosen_by(Toy(), (0,))


def test_depths_count_only_layers_that_hold_parameters() -> None:
    assert chosen_by(Stacked(), (0,)) == {"stack.0.weight", "stack.0.bias"}
    assert chosen_by(Stacked(), (1,)) == chosen_by(Stacked(), (-1,)) == {"stack.2.weight", "stack.2.bias"}


# --- one group a layer ----------------------------------------------------------------------------------------------


def test_the_rate_of_a_layer_is_the_peak_times_the_decay_to_its_distance_from_the_top() -> None:
    groups = layerwise_groups(Deep(), LayerwiseSpec(rate=3e-4, decay=0.8, weight_decay=0.1))
    assert [(group.name, group.rate, group.weight_decay) for group in groups] == [
        ("embedding", 3e-4 * 0.8**3, 0.0),
        ("layer.0", 3e-4 * 0.8**2, 0.1),
        ("layer.1", 3e-4 * 0.8**1, 0.1),
        ("layer.2", 3e-4 * 0.8**0, 0.1),
        ("head", 3e-4, 0.1),
    ]


def test_rates_of_embedding_and_head_can_be_stated() -> None:
    groups = layerwise_groups(Deep(), LayerwiseSpec(rate=3e-4, decay=0.8, embedding_rate=1e-6, head_rate=2e-3))
    assert [group.rate for group in groups] == [1e-6, 3e-4 * 0.8**2, 3e-4 * 0.8, 3e-4, 2e-3]


def test_what_stands_below_the_layers_is_the_embedding_and_what_stands_above_is_the_head() -> None:
    model = Deep()
    by_name = {group.spec.name: group for group in resolve_groups(model, layerwise_groups(model, LayerwiseSpec()))}
    assert set(by_name["embedding"].parameters) == {"embedding.weight", "norm.weight", "norm.bias"}
    assert [set(by_name[f"layer.{depth}"].parameters) for depth in range(LAYERS)] == [whole_layers(d) for d in range(LAYERS)]
    assert set(by_name["head"].decayed) == {"pooler.weight", "classifier.weight"}
    assert set(by_name["head"].undecayed) == {"pooler.bias", "classifier.bias"}


def test_a_model_with_nothing_above_its_layers_is_refused() -> None:
    model = Deep()
    del model.pooler, model.classifier
    with pytest.raises(RecipeError, match=r"Deep has no parameters above encoder\.layers, so there is no group 'head'"):
        layerwise_groups(model, LayerwiseSpec())


# --- through attach -------------------------------------------------------------------------------------------------


def gradual_run(folder: Path, groups: tuple[str, ...]) -> Steps:
    freeze = FreezeSpec(groups=groups, gradual=True, unfreeze_at_epoch=1)
    recipe = Recipe(layerwise=LayerwiseSpec(rate=1e-2), schedule=CONSTANT, freeze=freeze, **BARE)
    steps = Steps()
    trainer = make_trainer(folder, steps, model=Deep(), num_train_epochs=5)
    embtune.attach(trainer, recipe)
    trainer.train()
    assert steps.moved("classifier.weight") == list(range(20))
    return steps


def releases(steps: Steps) -> dict[str, int]:
    """First step of each layer and of the embedding; all later ones must move it too."""
    names = {"embedding": "embedding.weight"} | {str(d): f"encoder.layers.{d}.dense.weight" for d in range(LAYERS)}
    first = {key: steps.moved(name)[0] for key, name in names.items()}
    assert all(steps.moved(name) == list(range(first[key], 20)) for key, name in names.items())
    return first


def test_layers_are_released_one_at_a_time_in_the_order_that_is_stated(tmp_path: Path) -> None:
    steps = gradual_run(tmp_path, ("layer.2", "layer.1", "layer.0", "embedding"))
    assert releases(steps) == {"2": 4, "1": 8, "0": 12, "embedding": 16}


def test_a_pattern_of_layers_stands_for_all_of_them(tmp_path: Path) -> None:
    first = releases(gradual_run(tmp_path, ("layer.*", "embedding")))
    assert first.pop("embedding") == 16
    assert sorted(first.values()) == [4, 8, 12]


def test_a_pattern_of_layers_releases_the_highest_first(tmp_path: Path) -> None:
    assert releases(gradual_run(tmp_path, ("layer.*", "embedding"))) == {"2": 4, "1": 8, "0": 12, "embedding": 16}


def test_the_default_rules_give_a_deep_model_one_group_a_layer(tmp_path: Path) -> None:
    steps = Steps()
    trainer = make_trainer(tmp_path, steps, model=Deep())
    record = embtune.attach(trainer, Recipe(schedule=CONSTANT, **BARE))
    trainer.train()
    layers = {f"layer.{depth}": 5e-5 * 0.9 ** (2 - depth) for depth in range(LAYERS)}
    assert rates_of(record) == {"embedding": 5e-5 * 0.9**3, **layers, "head": 5e-4}
    for name in steps.weights[0]:
        below = name.startswith(("embedding.", "norm."))
        assert steps.moved(name) == list(range(4 if below else 0, 12)), name


def test_the_default_rules_find_the_layers_of_ernie() -> None:
    from paddlenlp.transformers import ErnieConfig, ErnieForSequenceClassification

    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2, "max_position_embeddings": 8}
    model = ErnieForSequenceClassification(ErnieConfig(vocab_size=9, num_hidden_layers=3, **sizes))
    specs = embtune.training.parameter_groups.group_specs(Recipe(), model)
    assert [spec.name for spec in specs] == ["embedding", "layer.0", "layer.1", "layer.2", "head"]
    starts = ["ernie.embeddings.", *(f"ernie.encoder.layers.{n}." for n in range(3)), ("ernie.pooler.", "classifier.")]
    for group, start in zip(resolve_groups(model, specs), starts, strict=True):
        assert group.parameters
        assert all(name.startswith(start) for name in group.parameters), group.spec.name


def test_the_default_rules_serve_a_model_whose_numbers_have_gaps(tmp_path: Path) -> None:
    steps = Steps()
    trainer = make_trainer(tmp_path, steps, model=Stacked())
    embtune.attach(trainer, Recipe(freeze=None, **BARE))
    trainer.train()
    assert all(steps.moved(name) for name in steps.weights[0])


def test_the_default_recipe_freezes_the_embedding_and_not_a_head_that_is_declared_first(tmp_path: Path) -> None:
    steps = Steps()
    trainer = make_trainer(tmp_path, steps, model=HeadFirst())
    embtune.attach(trainer, Recipe(**BARE))
    trainer.train()
    assert steps.moved("embedding.weight")[0] == 4
    assert steps.moved("classifier.weight")[0] == 0
