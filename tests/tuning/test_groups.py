"""Parameter groups: absolute rates, stated decay, and patterns that must match."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from paddlenlp_embtune.errors import PatternError, RecipeError
from paddlenlp_embtune.recipe import GroupSpec
from paddlenlp_embtune.tuning import group_table, resolve_groups
from paddlenlp_embtune.tuning.groups import groups_named, optimizer_groups
from tests.toy import Toy, ToyData

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


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        ([GroupSpec(name="a", parameters=("embeding.*",), rate=1.0)], r"matched 0 of 7 parameters; nearest: 'embedding"),
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
    with pytest.raises(RecipeError, match="nearest: 'embedding'; legal: embedding, head, rest"):
        groups_named(resolve_groups(Toy(), SPECS), ["embeding"], what="freeze.groups")
