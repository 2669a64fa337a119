"""A layer of an encoder as one operator against Paddle's, against its parts one by one, and where it must step aside."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_embtune import compat
from paddlenlp_embtune.compat import functional, speed_up_encoder
from tests.compat.parameters import freeze, shift_vectors

HIDDEN, MASK = (3, 5, 8), np.array([[0, 0, 0, 0, 0], [0, 0, 0, -1e4, -1e4], [0, -1e4, -1e4, -1e4, -1e4]], "float32")
ERF = np.vectorize(math.erf)


def layer(*, dropout: float = 0.0, inner: float = 0.0, **options: Any) -> Any:
    """A layer whose norms and biases are not the 1 and 0 that hide mistakes."""
    paddle.seed(6)
    made = paddle.nn.TransformerEncoderLayer(8, 2, 12, dropout, "gelu", dropout, inner, **options)
    shift_vectors(made)
    made.train()
    return made


def passed(model: Any, *, masked: bool = True, frozen: bool = False) -> dict[str, np.ndarray]:
    """Output and gradients of a pass, with the same draws of dropout each time."""
    generator = np.random.default_rng(1)
    hidden, weights = (paddle.to_tensor(generator.normal(size=HIDDEN).astype("float32")) for _ in range(2))
    hidden.stop_gradient = frozen
    paddle.seed(9)
    out = model(hidden, paddle.to_tensor(MASK[:, None, None]) if masked else None)
    model.clear_gradients()
    (out * weights).sum().backward()
    found = {name: value.grad.numpy() for name, value in model.named_parameters() if value.grad is not None}
    return {"out": out.numpy(), **found, **({} if frozen else {"hidden": hidden.grad.numpy()})}


def same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray], *, exactly: bool = False) -> None:
    assert set(found) == set(expected)
    for name, value in expected.items():
        if exactly:
            np.testing.assert_array_equal(found[name], value, err_msg=name)
        else:
            np.testing.assert_allclose(found[name], value, rtol=2e-5, atol=5e-6, err_msg=name)


@pytest.fixture
def entered(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The layers that ran as one operator."""
    found: list[Any] = []
    run = functional.encoder_layer

    def counted(*given: Any) -> Any:
        found.append(given)
        return run(*given)

    monkeypatch.setattr(functional, "encoder_layer", counted)
    return found


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("frozen", [True, False])
def test_it_is_paddles_layer(entered: list[Any], masked: bool, frozen: bool) -> None:
    model = layer()
    before = passed(model, masked=masked, frozen=frozen)
    undo = speed_up_encoder(model)
    same(passed(model, masked=masked, frozen=frozen), before)
    assert len(entered) == 1
    undo()
    same(passed(model, masked=masked, frozen=frozen), before, exactly=True)


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("masked", [True, False])
def test_an_evaluation_is_one_operator_in_float32_that_drops_nothing(entered: list[Any], bf16: bool, masked: bool) -> None:
    model = layer(dropout=0.3, inner=0.2)
    model.eval()
    hidden, mask = paddle.rand(HIDDEN), paddle.to_tensor(MASK[:, None, None]) if masked else None
    with paddle.no_grad():
        before = model(hidden, mask).numpy()
        speed_up_encoder(model, bf16=bf16)
        found = model(hidden, mask)
    assert found.stop_gradient
    np.testing.assert_allclose(found.numpy(), before, rtol=1e-5, atol=1e-6)
    assert len(entered) == 1


def test_an_evaluation_with_gradients_is_left_to_paddle(entered: list[Any]) -> None:
    model = layer(dropout=0.3)
    model.eval()
    before = passed(model)
    speed_up_encoder(model)
    same(passed(model), before, exactly=True)
    assert entered == []


def test_an_evaluation_that_still_drops_is_not_one_operator(entered: list[Any]) -> None:
    model = layer(dropout=0.3)
    model.eval()
    model.dropout1.train()
    with paddle.no_grad():
        paddle.seed(2)
        before = model(paddle.ones(HIDDEN)).numpy()
        speed_up_encoder(model)
        paddle.seed(2)
        np.testing.assert_allclose(model(paddle.ones(HIDDEN)).numpy(), before, rtol=1e-5, atol=1e-6)
    assert entered == []


@pytest.mark.parametrize("bf16", [False, True])
def test_it_is_its_parts_with_the_same_draws_of_dropout(entered: list[Any], bf16: bool) -> None:
    if bf16:
        try:
            compat.onednn.require_bf16()
        except OSError as error:
            pytest.skip(str(error))
    whole, parts = layer(dropout=0.3, inner=0.2), layer(dropout=0.3, inner=0.2)
    for model in (whole, parts):
        speed_up_encoder(model, bf16=bf16)
    parts.linear1.register_forward_post_hook(lambda *_: None)
    same(passed(whole), passed(parts))
    assert len(entered) == 1


def test_it_is_double_precision_within_rounding(entered: list[Any]) -> None:
    model = layer()
    speed_up_encoder(model)
    weights = {name: value.numpy().astype("float64") for name, value in model.named_parameters()}
    generator = np.random.default_rng(1)
    values = generator.normal(size=HIDDEN).astype("float32").astype("float64")

    def linear(name: str, given: np.ndarray) -> np.ndarray:
        return given @ weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def norm(name: str, given: np.ndarray) -> np.ndarray:
        centred = given - given.mean(-1, keepdims=True)
        normal = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        return normal * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    query, key, value = (linear(f"self_attn.{name}_proj", values).reshape(3, 5, 2, 4).transpose(0, 2, 1, 3) for name in "qkv")
    scores = np.exp(query @ key.transpose(0, 1, 3, 2) / 2 + MASK[:, None, None])
    seen = (scores / scores.sum(-1, keepdims=True) @ value).transpose(0, 2, 1, 3).reshape(HIDDEN)
    middle = norm("norm1", values + linear("self_attn.out_proj", seen))
    wide = linear("linear1", middle)
    exact = norm("norm2", middle + linear("linear2", wide * 0.5 * (1 + ERF(wide / math.sqrt(2)))))
    np.testing.assert_allclose(passed(model)["out"], exact, rtol=1e-5, atol=2e-6)
    assert entered


@pytest.mark.parametrize("pattern", ["", "norm", "weight", "self_attn", "linear1 linear2", "bias"])
def test_frozen_parts_get_no_gradient_and_the_others_the_same(entered: list[Any], pattern: str) -> None:
    model = layer()
    freeze(model, pattern)
    before = passed(model)
    compat.restore_layer_norms(model)
    speed_up_encoder(model)
    same(passed(model), before)
    assert entered


def hooked(model: Any) -> None:
    model.self_attn.out_proj.register_forward_post_hook(lambda _, __, out: out * 2)


def another_part(model: Any) -> None:
    model.norm1.extra = paddle.nn.Linear(2, 2)


def another_linear(model: Any) -> None:
    class Doubled(paddle.nn.Linear):
        def forward(self, given: Any) -> Any:
            return 2 * super().forward(given)

    model.linear2 = Doubled(12, 8)


def without_bias(model: Any) -> None:
    model.linear1 = paddle.nn.Linear(8, 12, bias_attr=False)


@pytest.mark.parametrize("change", [hooked, another_part, another_linear, without_bias])
def test_a_layer_that_somebody_has_changed_runs_part_by_part(entered: list[Any], change: Callable[[Any], None]) -> None:
    model = layer()
    change(model)
    before = passed(model)
    speed_up_encoder(model)
    same(passed(model), before)
    assert entered == []


@pytest.mark.parametrize("options", [{"normalize_before": True}, {"inner": 0.3}])
def test_layers_of_other_forms(entered: list[Any], options: dict[str, Any]) -> None:
    model = layer(**options)
    speed_up_encoder(model)
    other = layer(**options)
    speed_up_encoder(other)
    hooked_never = other.linear1.register_forward_post_hook(lambda *_: None)
    same(passed(model), passed(other))
    hooked_never.remove()
    assert len(entered) == (0 if "normalize_before" in options else 1)


def test_a_weight_changed_between_the_passes_is_refused() -> None:
    model = layer()
    speed_up_encoder(model)
    hidden = paddle.ones(HIDDEN)
    hidden.stop_gradient = False
    out = model(hidden)
    with paddle.no_grad():
        model.linear1.weight.add_(paddle.ones_like(model.linear1.weight))
    with pytest.raises(OSError, match=r"HostError: .*encoder layer was changed in place"):
        out.sum().backward()
