"""The faster operators of an encoder against Paddle's own: outputs, gradients, dropout, undoing, and what is left alone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from paddlenlp.transformers import BertConfig, BertModel, ErnieConfig, ErnieModel

from paddlenlp_embtune import compat
from paddlenlp_embtune.compat.encoder_patch import speed_up_encoder
from paddlenlp_embtune.compat.functional import attention, dropout
from tests.compat.parameters import freeze, shift_vectors

F = paddle.nn.functional
IDS = np.array([[5, 6, 7, 8, 9, 10], [11, 12, 13, 14, 0, 0], [15, 16, 0, 0, 0, 0]])
FAMILIES = {"bert": (BertModel, BertConfig), "ernie": (ErnieModel, ErnieConfig)}


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest) -> Any:
    return encoder(request.param)


def encoder(family: str = "bert", *, dropout: float = 0.0) -> Any:
    """A small encoder whose scales and biases are not the 1 and 0 that hide mistakes."""
    paddle.seed(3)
    kind, config = FAMILIES[family]
    made = kind(
        config(
            vocab_size=40,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=16,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
            initializer_range=0.3,
        )
    )
    shift_vectors(made)
    made.train()
    return made


def backward(model: Any) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Hidden states, and the gradient of every parameter that gets one."""
    hidden = model(paddle.to_tensor(IDS))[0]
    weights = np.random.default_rng(1).normal(size=hidden.shape).astype("float32")
    model.clear_gradients()
    (hidden * paddle.to_tensor(weights)).sum().backward()
    gradients = {name: value.grad.numpy() for name, value in model.named_parameters() if value.grad is not None}
    return hidden.numpy(), gradients


def same(left: tuple[Any, dict[str, Any]], right: tuple[Any, dict[str, Any]], *, exactly: bool = False) -> None:
    assert set(left[1]) == set(right[1])
    scale = max(np.abs(value).max() for value in left[1].values())
    for one, other in [(left[0], right[0]), *((left[1][name], right[1][name]) for name in left[1])]:
        if exactly:
            np.testing.assert_array_equal(one, other)
        else:
            # The gradient of a key's bias is 0 but for rounding, so tolerance is told in the largest gradient too.
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6 * scale)


def test_outputs_and_gradients_are_the_same(model: Any) -> None:
    before = backward(model)
    speed_up_encoder(model)
    same(before, backward(model))
    assert before[1]  # the pooler, whose output is not used, has none


def test_undoing_restores_every_bit_and_leaves_no_trace(model: Any) -> None:
    before, traces = backward(model), [set(vars(layer)) for layer in model.sublayers()]
    activations = [vars(layer).get("activation") for layer in model.sublayers()]
    undo = speed_up_encoder(model)
    assert [set(vars(layer)) for layer in model.sublayers()] != traces
    undo()
    undo()
    same(before, backward(model), exactly=True)
    assert [set(vars(layer)) for layer in model.sublayers()] == traces
    assert [vars(layer).get("activation") for layer in model.sublayers()] == activations


def test_a_model_sped_up_twice_is_undone_by_the_first() -> None:
    model = encoder()
    undo, second = speed_up_encoder(model), speed_up_encoder(model)
    second()
    assert "forward" in vars(model.encoder.layers[0].linear1)
    undo()
    assert "forward" not in vars(model.encoder.layers[0].linear1)


@pytest.mark.parametrize("pattern", ["embeddings", "embeddings encoder.layers.0", "norm", "weight", "bias"])
def test_frozen_parameters_get_no_gradient_and_the_others_the_same(pattern: str) -> None:
    model = encoder()
    freeze(model, pattern)
    before = backward(model)
    compat.restore_layer_norms(model)
    speed_up_encoder(model)
    same(before, backward(model))


@pytest.mark.parametrize("order", ["fix first", "fix last"])
@pytest.mark.parametrize("undone", ["fix first", "fix last"])
def test_it_lives_with_mended_norms_in_any_order(order: str, undone: str) -> None:
    model = encoder()
    before = backward(model)
    if order == "fix first":
        compat.fix_layer_norm_gradients(model, always=True)
    undo = speed_up_encoder(model)
    if order == "fix last":
        compat.fix_layer_norm_gradients(model, always=True)
    same(before, backward(model))
    for step in (
        (compat.restore_layer_norms, lambda _: undo())
        if undone == "fix first"
        else (lambda _: undo(), compat.restore_layer_norms)
    ):
        step(model)
    same(before, backward(model), exactly=True)


def test_gradients_for_inputs_alone_are_exact_in_evaluation() -> None:
    model = encoder()
    model.eval()
    ids = paddle.to_tensor(IDS)
    table = model.embeddings.word_embeddings(ids)
    model.embeddings.word_embeddings.register_forward_post_hook(lambda *_: table)
    before = paddle.grad((model(ids)[0] ** 2).sum(), table, retain_graph=True)[0].numpy()
    speed_up_encoder(model)
    np.testing.assert_array_equal(paddle.grad((model(ids)[0] ** 2).sum(), table)[0].numpy(), before)


def test_evaluation_with_gradients_is_paddles_and_without_is_fast_and_drops_nothing() -> None:
    model = encoder(dropout=0.5)
    model.eval()
    before = backward(model)
    speed_up_encoder(model)
    same(before, backward(model), exactly=True)
    with paddle.no_grad():
        np.testing.assert_allclose(model(paddle.to_tensor(IDS))[0].numpy(), before[0], rtol=1e-5, atol=1e-6)
    model.train()
    assert np.abs(backward(model)[0] - before[0]).max() > 0.1


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_dropout_is_independent_at_its_rate_and_keeps_the_mean(probability: float) -> None:
    paddle.seed(5)
    ones = paddle.ones([400, 1001])
    ones.stop_gradient = False
    out = dropout(ones, probability)
    out.sum().backward()
    values = out.numpy()
    kept = values > 0
    spread = np.sqrt(probability * (1 - probability) / kept.size)
    assert abs(kept.mean() - (1 - probability)) < 4 * spread
    np.testing.assert_allclose(values[kept], 1 / (1 - probability), rtol=1e-4)
    assert abs(values.mean() - 1) < 4 * spread / (1 - probability)
    np.testing.assert_array_equal(ones.grad.numpy(), values)
    centred = kept - kept.mean()
    for shift in (1, 2, 3, 4, 8, 1001):  # four values share one draw
        pairs = (centred.ravel()[:-shift] * centred.ravel()[shift:]).mean() / centred.var()
        assert abs(pairs) < 4 / np.sqrt(kept.size)
    assert abs(np.corrcoef(kept.ravel(), dropout(ones, probability).numpy().ravel() > 0)[0, 1]) < 4 / np.sqrt(kept.size)


def test_dropout_follows_the_seed_and_the_random_state() -> None:
    model = encoder(dropout=0.3)
    speed_up_encoder(model)
    paddle.seed(8)
    first, state = backward(model), paddle.get_rng_state()
    second = backward(model)
    assert np.abs(first[0] - second[0]).max() > 0.01
    paddle.set_rng_state(state)
    same(second, backward(model), exactly=True)
    paddle.seed(8)
    same(first, backward(model), exactly=True)


def test_gradients_of_attention_with_dropout_are_those_of_the_same_draw() -> None:
    generator = np.random.default_rng(2)
    query, key, value = (paddle.to_tensor(generator.normal(size=[2, 5, 8]).astype("float32")) for _ in range(3))
    mask = paddle.to_tensor(np.array([[0, 0, 0, 0, -1e4], [0, 0, 0, 0, 0]], "float32").reshape([2, 1, 1, 5]))
    weights = paddle.to_tensor(generator.normal(size=[2, 5, 8]).astype("float32"))

    def loss() -> Any:
        paddle.seed(11)
        return (attention(query, key, value, mask, heads=2, probability=0.4) * weights).sum()

    for tensor in (query, key, value):
        tensor.stop_gradient = False
        loss().backward()
        found, direction = tensor.grad.numpy(), generator.normal(size=[2, 5, 8]).astype("float32")
        tensor.stop_gradient = True
        original, ends = tensor.numpy(), []
        for sign in (1, -1):
            tensor.set_value(original + sign * 0.01 * direction)
            ends.append(float(loss()))
        tensor.set_value(original)
        assert (ends[0] - ends[1]) / 0.02 == pytest.approx(float((found * direction).sum()), rel=5e-3, abs=1e-3)


def native(query: Any, key: Any, value: Any, mask: Any | None) -> Any:
    heads = [tensor.reshape([2, -1, 2, 4]).transpose([0, 2, 1, 3]) for tensor in (query, key, value)]
    scores = paddle.matmul(heads[0] / 2, heads[1], transpose_y=True)
    weights = F.softmax(scores if mask is None else scores + mask)
    return paddle.matmul(weights, heads[2]).transpose([0, 2, 1, 3]).reshape([2, -1, 8])


@pytest.mark.parametrize("masked", [False, True])
def test_attention_takes_other_lengths_and_no_mask(masked: bool) -> None:
    generator = np.random.default_rng(4)
    tensors = [paddle.to_tensor(generator.normal(size=[2, length, 8]).astype("float32")) for length in (3, 5, 5)]
    mask = paddle.to_tensor(generator.normal(size=[2, 2, 3, 5]).astype("float32")) if masked else None
    for tensor in tensors:
        tensor.stop_gradient = False
    results = []
    for out in (attention(*tensors, mask, heads=2, probability=0.0), native(*tensors, mask)):
        results.append([out, *paddle.grad((out**3).sum(), tensors)])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-4, atol=1e-5)


def test_rows_without_anything_to_attend_to_become_nan_as_before() -> None:
    tensors = [paddle.ones([2, 3, 8]) for _ in range(3)]
    mask = paddle.full([2, 1, 1, 3], -np.inf)
    assert np.isnan(attention(*tensors, mask, heads=2, probability=0.0).numpy()).all()


def test_a_second_derivative_is_refused() -> None:
    layer = paddle.nn.GELU()
    speed_up_encoder(layer)
    hidden = paddle.ones([2, 4])
    hidden.stop_gradient = False
    with pytest.raises(OSError, match=r"HostError: .*second derivative"):
        paddle.grad(layer(hidden).sum(), hidden, create_graph=True)


def test_an_input_changed_in_place_is_refused() -> None:
    layers = paddle.nn.Sequential(paddle.nn.Linear(4, 4), paddle.nn.GELU())
    speed_up_encoder(layers)
    hidden = layers[0](paddle.ones([2, 4]))
    out = layers[1](hidden)
    hidden.add_(paddle.ones([2, 4]))
    with pytest.raises(OSError, match=r"HostError: .*changed in place"):
        out.sum().backward()


class OtherLinear(paddle.nn.Linear):
    """Somebody's own layer."""


def test_other_layers_stay_as_they_are() -> None:
    own = paddle.nn.Linear(4, 4)
    own.forward = lambda hidden: hidden  # type: ignore[method-assign]
    layers = [own, OtherLinear(4, 4), paddle.nn.Embedding(4, 4), paddle.nn.Conv1D(4, 4, 3), paddle.nn.Dropout2D(0.5)]
    before = [dict(vars(layer)) for layer in layers]
    speed_up_encoder(paddle.nn.LayerList(layers))
    assert [dict(vars(layer)) for layer in layers] == before


CASES: list[tuple[str, Callable[[], Any], list[int]]] = [
    ("no bias", lambda: paddle.nn.Linear(4, 3, bias_attr=False), [2, 5, 4]),
    ("one row", lambda: paddle.nn.Linear(4, 3), [4]),
    ("norm over two axes", lambda: paddle.nn.LayerNorm([5, 4]), [2, 5, 4]),
    ("norm without scale", lambda: paddle.nn.LayerNorm(4, weight_attr=False), [2, 4]),
    ("gelu by tanh", lambda: paddle.nn.GELU(approximate=True), [2, 4]),
    ("gelu", paddle.nn.GELU, [3, 2, 4]),
    ("dropout of nothing", lambda: paddle.nn.Dropout(0), [2, 4]),
    ("dropout of everything", lambda: paddle.nn.Dropout(1.0), [2, 4]),
]


@pytest.mark.parametrize(("make", "shape"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_layers_of_other_forms(make: Callable[[], Any], shape: list[int]) -> None:
    paddle.seed(1)
    layer = make()
    hidden = paddle.randn(shape)
    hidden.stop_gradient = False
    results = []
    for _ in range(2):
        out = layer(hidden)
        results.append([out, *paddle.grad((out**2).sum(), [hidden, *layer.parameters()])])
        speed_up_encoder(layer)
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-5, atol=1e-6)


def test_double_precision_and_weights_asked_for_take_the_old_path() -> None:
    linear = paddle.nn.Linear(4, 4)
    linear.to(dtype="float64")
    speed_up_encoder(linear)
    assert linear(paddle.ones([2, 4], dtype="float64")).dtype == paddle.float64
    model = encoder()
    speed_up_encoder(model)
    out = model(paddle.to_tensor(IDS), output_attentions=True, return_dict=True)
    assert len(out.attentions) == 2
    np.testing.assert_allclose(out.last_hidden_state.numpy(), backward(model)[0], rtol=1e-5, atol=1e-6)


def test_views_that_are_not_contiguous() -> None:
    norm = paddle.nn.LayerNorm(4)
    hidden = paddle.randn([2, 4, 5])
    before = norm(hidden.transpose([0, 2, 1])).numpy()
    speed_up_encoder(norm)
    np.testing.assert_allclose(norm(hidden.transpose([0, 2, 1])).numpy(), before, rtol=1e-5, atol=1e-6)


def test_a_copy_has_weights_of_its_own() -> None:
    model = encoder()
    speed_up_encoder(model)
    twin = copy.deepcopy(model)
    for parameter in twin.parameters():
        parameter.set_value(parameter * 0.5)
    mine, theirs = backward(model), backward(twin)
    assert np.abs(mine[0] - theirs[0]).max() > 0.01
    speed_up_encoder(twin)()
    twin.eval()
    with paddle.no_grad():
        np.testing.assert_allclose(twin(paddle.to_tensor(IDS))[0].numpy(), theirs[0], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_an_export_is_what_it_was(tmp_path: Path) -> None:
    model = encoder()
    model.eval()
    with paddle.no_grad():
        before = model(paddle.to_tensor(IDS))[0].numpy()
    speed_up_encoder(model)
    with compat.quiet():
        static = paddle.jit.to_static(model, input_spec=[paddle.static.InputSpec([None, None], "int64")], full_graph=True)
        paddle.jit.save(static, str(tmp_path / "model"))
    found = paddle.jit.load(str(tmp_path / "model"))(paddle.to_tensor(IDS))
    np.testing.assert_allclose((found[0] if isinstance(found, (list, tuple)) else found).numpy(), before, rtol=1e-5, atol=1e-6)
