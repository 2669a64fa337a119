"""Parameter groups: absolute rates, stated decay, and patterns that must match."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

import paddlenlp_embtune as embtune
from paddlenlp_embtune.config.recipe import FreezeSpec, GroupSpec, Recipe
from paddlenlp_embtune.errors import PatternError, RecipeError
from paddlenlp_embtune.models import TextCNN
from paddlenlp_embtune.training import group_table, resolve_groups
from paddlenlp_embtune.training.parameter_groups import group_specs, groups_named, optimizer_groups
from tests.toy import Deep, Steps, Toy, ToyData, make_trainer

SPECS = (
    GroupSpec(name="embedding", parameters=("embedding.*",), rate=5e-5),
    GroupSpec(name="head", parameters=("classifier.*",), rate=2e-4, weight_decay=0.1),
    GroupSpec(name="rest", rate=1e-3, weight_decay=0.01),
)


def gradients(model: Toy) -> dict[str, np.ndarray]:
    data = ToyData(16)
    logits = model(paddle.to_tensor(data.ids))
    paddle.nn.functional.cross_entropy(logits, paddle.to_tensor(data.labels)).backward()
    return {name: parameter.grad.numpy().copy() for name, parameter in model.named_parameters()}


def test_sgd_moves_every_group_by_its_absolute_rate() -> None:
    model = Toy()
    groups = resolve_groups(model, SPECS)
    rates = {name: group.spec.rate for group in groups for name in group.parameters}
    before = {name: parameter.numpy().copy() for name, parameter in model.named_parameters()}
    base = 3e-3
    rows = [{**row, "weight_decay": 0.0} for row in optimizer_groups(groups, base_rate=base)]
    optimizer = paddle.optimizer.SGD(base, parameters=rows)
    found = gradients(model)
    optimizer.step()
    for name, parameter in model.named_parameters():
        expected = before[name] - np.float32(rates[name]) * found[name]
        np.testing.assert_allclose(parameter.numpy(), expected, rtol=0, atol=1e-8, err_msg=name)


@pytest.mark.parametrize("base", [1e-3, 0.5])
def test_adamw_moves_every_group_as_a_plain_adamw_at_that_rate(base: float) -> None:
    paddle.seed(0)
    grouped = Toy()
    state = {name: value.numpy().copy() for name, value in grouped.state_dict().items()}
    groups = resolve_groups(grouped, SPECS)
    optimizer = paddle.optimizer.AdamW(base, parameters=optimizer_groups(groups, base_rate=base), weight_decay=0.3)
    for _ in range(3):
        gradients(grouped)
        optimizer.step()
        optimizer.clear_grad()
    for group in groups:
        plain = Toy()
        plain.set_state_dict({name: paddle.to_tensor(value) for name, value in state.items()})
        twin = resolve_groups(plain, SPECS)
        references = [
            paddle.optimizer.AdamW(spec.rate, parameters=list(parameters.values()), weight_decay=decay)
            for other in twin
            for spec in (other.spec,)
            for parameters, decay in ((other.decayed, spec.weight_decay), (other.undecayed, 0.0))
            if parameters
        ]
        for _ in range(3):
            gradients(plain)
            for reference in references:
                reference.step()
            plain.clear_gradients()
        own = dict(plain.named_parameters())
        for name, parameter in group.parameters.items():
            np.testing.assert_allclose(parameter.numpy(), own[name].numpy(), rtol=1e-6, atol=1e-9, err_msg=name)


def test_biases_and_norms_are_not_decayed_unless_asked() -> None:
    by_name = {group.spec.name: group for group in resolve_groups(Toy(), SPECS)}
    assert set(by_name["head"].undecayed) == {"classifier.bias"}
    assert set(by_name["rest"].undecayed) == {"encoder.bias", "norm.weight", "norm.bias"}
    asked = GroupSpec(name="all", rate=1e-3, weight_decay=0.01, decay_bias_and_norm=True)
    assert not resolve_groups(Toy(), [asked])[0].undecayed


def test_the_table_counts_every_value_once() -> None:
    model = Toy()
    table = group_table(resolve_groups(model, SPECS))
    assert sum(row["parameters"] for row in table) == sum(int(p.size) for p in model.parameters())
    assert [row["name"] for row in table] == ["embedding", "head", "rest"]


# --- groups by class of layer ---------------------------------------------------------------------------------------


def chosen_by(model: Any, *layers: str) -> set[str]:
    specs = [GroupSpec(name="chosen", layers=layers, rate=1e-3), GroupSpec(name="rest", rate=1e-3)]
    return set(resolve_groups(model, specs)[0].parameters)


@pytest.mark.parametrize(
    ("layers", "names"),
    [
        (("LayerNorm",), {"norm.weight", "norm.bias"}),
        (("*Norm", "Emb*"), {"norm.weight", "norm.bias", "embedding.weight"}),
        (("Linear",), {"encoder.weight", "encoder.bias", "classifier.weight", "classifier.bias"}),
    ],
)
def test_a_class_of_layers_chooses_the_parameters_of_all_its_layers(layers: tuple[str, ...], names: set[str]) -> None:
    assert chosen_by(Toy(), *layers) == names


def test_a_class_of_layers_is_found_at_every_depth_and_takes_what_its_layers_hold_themselves() -> None:
    norms = {
        f"{place}.{part}" for place in ("norm", *(f"encoder.layers.{n}.norm" for n in range(3))) for part in ("weight", "bias")
    }
    assert chosen_by(Deep(), "LayerNorm") == norms
    with pytest.raises(PatternError, match=r"'Block' matched no class of layers; expected Embedding, LayerNorm or Linear"):
        chosen_by(Deep(), "Block")


def test_a_group_of_layers_is_frozen_and_released_as_any_other(tmp_path: Path) -> None:
    steps = Steps()
    trainer = make_trainer(tmp_path, steps)
    groups = (GroupSpec(name="norms", layers=("LayerNorm",), rate=1e-2), GroupSpec(name="rest", rate=1e-2))
    freeze = FreezeSpec(groups=("norms",), unfreeze_at_epoch=2)
    embtune.attach(trainer, Recipe(groups=groups, freeze=freeze, early_stopping=None))
    trainer.train()
    for name in steps.weights[0]:
        assert steps.moved(name)[0] == (8 if name.startswith("norm.") else 0), name


# --- refused --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        ([GroupSpec(name="a", parameters=("embeding.*",), rate=1.0)], r"matched 0 of 7 parameters; did you mean 'embedding"),
        (
            [GroupSpec(name="a", parameters=("classifier.*", "encoder.wieght"), rate=1.0), GroupSpec(name="b", rate=1.0)],
            r"'encoder.wieght' matched 0 of 7 parameters; did you mean 'encoder.weight'",
        ),
        (
            [GroupSpec(name="a", layers=("LayrNorm",), rate=1.0), GroupSpec(name="b", rate=1.0)],
            "group 'a' pattern 'LayrNorm' matched no class of layers; did you mean 'LayerNorm'",
        ),
        (
            [GroupSpec(name="a", layers=("Linear",), rate=1.0), GroupSpec(name="b", parameters=("*.bias",), rate=1.0)],
            "'encoder.bias' is claimed by the groups 'a' and 'b'; expected one group",
        ),
        (
            [GroupSpec(name="a", layers=("Layer*",), rate=1.0), GroupSpec(name="b", layers=("*Norm",), rate=1.0)],
            "'norm.weight' is claimed by the groups 'a' and 'b'",
        ),
        (
            [
                GroupSpec(name="a", parameters=("classifier.*",), rate=1.0),
                GroupSpec(name="b", parameters=("*.bias",), rate=1.0),
                GroupSpec(name="c", rate=1.0),
            ],
            "'classifier.bias' is claimed by the groups 'a' and 'b'",
        ),
        ([GroupSpec(name="a", parameters=("classifier.*",), rate=1.0)], "5 parameters are in no group"),
    ],
)
def test_groups_that_do_not_fit_are_refused(specs: list[GroupSpec], message: str) -> None:
    with pytest.raises(PatternError, match=message):
        resolve_groups(Toy(), specs)


def test_an_unknown_group_name_lists_those_there_are() -> None:
    with pytest.raises(RecipeError, match=r"did you mean 'embedding'\? Expected embedding, head or rest"):
        groups_named(resolve_groups(Toy(), SPECS), ["embeding"], what="freeze.groups")


def test_depths_that_meet_another_group_are_refused() -> None:
    specs = [GroupSpec(name="a", depths=(0, -1), rate=1.0), GroupSpec(name="b", depths=(2,), rate=1.0)]
    with pytest.raises(PatternError, match=r"'encoder\.layers\.2\..*' is claimed by the groups 'a' and 'b'"):
        resolve_groups(Deep(), specs)


@pytest.mark.parametrize(
    ("train", "factor"), [({}, 1.0), ({"batch_size": 16}, 1.0), ({"batch_size": 256}, 2.0), ({"accumulation_steps": 4}, 2.0)]
)
def test_the_rates_of_a_text_cnn_grow_as_the_root_of_large_batches(train: dict[str, int], factor: float) -> None:
    model = TextCNN(vocabulary_size=5, dimension=2, num_labels=2, filters=2, ngram_buckets=0)
    found = {group.name: group.rate for group in group_specs(Recipe.from_dict({"train": train}), model)}
    assert found == pytest.approx({"embedding": 1e-3 * factor, "backbone": 2e-3 * factor, "head": 2e-3 * factor})
