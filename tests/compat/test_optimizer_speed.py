"""The optimizer that frees its gradients against Paddle's own: weights, clipping, parameters without a gradient, undoing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_embtune.compat import enable_lazy_updates, speed_up_optimizer

STEPS = 6


class Network(paddle.nn.Layer):
    """Two tables, of which a step may read one alone, and a layer whose bias is frozen."""

    def __init__(self, *, sparse: bool = False) -> None:
        super().__init__()
        self.first, self.second = paddle.nn.Embedding(12, 5, sparse=sparse), paddle.nn.Embedding(12, 5)
        self.head = paddle.nn.Linear(5, 3)
        self.head.bias.stop_gradient = True

    def forward(self, ids: Any, *, both: bool) -> Any:
        hidden = self.first(ids) + self.second(ids) if both else self.first(ids)
        return self.head(hidden.mean(axis=1))


def grouped(model: Any) -> list[dict[str, Any]]:
    return [
        {"params": list(model.head.parameters()), "learning_rate": 0.3, "weight_decay": 0.0},
        {"params": [*model.first.parameters(), *model.second.parameters()], "weight_decay": 0.2},
    ]


def trained(
    change: Callable[[Any], object], *, groups: bool, limit: float | None, sparse: bool = False, passes: int = 1
) -> dict[str, np.ndarray]:
    """Every weight and moment after some steps; each second step does not read the second table."""
    paddle.seed(4)
    model: Any = Network(sparse=sparse)
    optimizer = paddle.optimizer.AdamW(
        0.05,
        parameters=grouped(model) if groups else model.parameters(),
        grad_clip=None if limit is None else paddle.nn.ClipGradByGlobalNorm(limit),
    )
    if sparse:
        enable_lazy_updates(optimizer)
    change(optimizer)
    generator = np.random.default_rng(0)
    for number in range(STEPS):
        for _ in range(passes):
            ids, labels = generator.integers(0, 12, (4, 3)), generator.integers(0, 3, 4)
            logits = model(paddle.to_tensor(ids), both=number % 2 == 0)
            paddle.nn.functional.cross_entropy(logits, paddle.to_tensor(labels)).backward()
        optimizer.step()
        optimizer.clear_grad()
    moments = [value.numpy() for held in optimizer._accumulators.values() for value in held.values()]
    return {
        **{name: value.numpy() for name, value in model.state_dict().items()},
        **{f"moment {place}": value for place, value in enumerate(moments)},
    }


@pytest.mark.parametrize("groups", [False, True])
@pytest.mark.parametrize("limit", [None, 0.05, 0.4, 1e9])
def test_weights_and_moments_are_the_same_bit_for_bit(groups: bool, limit: float | None) -> None:
    before = trained(id, groups=groups, limit=limit)
    after = trained(speed_up_optimizer, groups=groups, limit=limit)
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value, err_msg=name)


@pytest.mark.parametrize("options", [{"passes": 3}, {"sparse": True}])
def test_accumulated_gradients_and_gradients_by_rows(options: dict[str, Any]) -> None:
    before = trained(id, groups=True, limit=0.2, **options)
    after = trained(speed_up_optimizer, groups=True, limit=0.2, **options)
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value, err_msg=name)


def test_gradients_that_are_not_finite_spread_as_before() -> None:
    ends = []
    for change in (id, speed_up_optimizer):
        layer = paddle.nn.Linear(2, 2)
        layer.weight.set_value(np.eye(2, dtype="float32"))
        optimizer = paddle.optimizer.SGD(0.1, parameters=layer.parameters(), grad_clip=paddle.nn.ClipGradByGlobalNorm(1.0))
        change(optimizer)
        (layer(paddle.ones([1, 2])) * np.array([np.inf, 1], "float32")).sum().backward()
        optimizer.step()
        ends.append([parameter.numpy() for parameter in layer.parameters()])
    for one, other in zip(*ends, strict=True):
        np.testing.assert_array_equal(one, other)


def test_cleared_gradients_are_gone_and_undoing_restores_the_optimizer() -> None:
    layer = paddle.nn.Linear(2, 2)
    clip = paddle.nn.ClipGradByGlobalNorm(1.0)
    optimizer = paddle.optimizer.AdamW(0.1, parameters=layer.parameters(), grad_clip=clip)
    traces = set(vars(optimizer)), set(vars(clip))
    undo = speed_up_optimizer(optimizer)
    second = speed_up_optimizer(optimizer)
    layer(paddle.ones([1, 2])).sum().backward()
    optimizer.clear_grad()
    assert layer.weight.grad is None
    second()
    assert "step" in vars(optimizer)
    undo()
    undo()
    assert (set(vars(optimizer)), set(vars(clip))) == traces
    layer(paddle.ones([1, 2])).sum().backward()
    optimizer.clear_grad()
    assert not layer.weight.grad.numpy().any()


def test_what_wraps_an_optimizer_stays_as_it_is() -> None:
    class Wrapper:
        def __init__(self, inner: Any) -> None:
            self._inner_opt = inner

    wrapper = Wrapper(paddle.optimizer.SGD(0.1, parameters=paddle.nn.Linear(2, 2).parameters()))
    speed_up_optimizer(wrapper)()
    assert set(vars(wrapper)) == {"_inner_opt"}
