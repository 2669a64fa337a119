"""The faster steps of a text CNN: the same results and gradients as the definition has in double precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_embtune import compat
from paddlenlp_embtune.errors import HostError

WIDTH, FILTERS, ROWS = 6, 5, 40


def batch(length: int, *, texts: int = 4, window: int = 3, seed: int = 0) -> tuple[np.ndarray, ...]:
    """A table with padding in row 0, weight, bias, and ids with padding around them, one column a text."""
    generator = np.random.default_rng(seed)
    table = generator.normal(size=(ROWS, WIDTH)).astype(np.float32)
    table[0] = 0.0
    weight = generator.normal(size=(window * WIDTH, FILTERS)).astype(np.float32)
    bias = generator.normal(size=FILTERS).astype(np.float32)
    ids = np.zeros((length + 2 * (window - 1), texts), dtype=np.int64)
    ids[window - 1 : window - 1 + length] = generator.integers(0, ROWS, (length, texts))
    return table, weight, bias, ids


def defined(table: np.ndarray, weight: np.ndarray, bias: np.ndarray, ids: np.ndarray, given: np.ndarray) -> list[np.ndarray]:
    """Features and gradients of table, weight and bias in double precision, window by window."""
    table, weight, bias = (values.astype(np.float64) for values in (table, weight, bias))
    window = len(weight) // WIDTH
    starts = range(len(ids) - window + 1)
    windows = np.stack([np.concatenate(table[ids[s : s + window]], axis=-1) for s in starts])  # (starts, B, W * D)
    windows = np.concatenate([windows, np.zeros_like(windows[:1])])
    matches = windows @ weight + bias
    features = np.maximum(matches.max(axis=0), 0)
    of_table, of_weight = np.zeros_like(table), np.zeros_like(weight)
    arrived = given * (features > 0)
    for text, filter_ in np.ndindex(*arrived.shape):
        best = matches[:, text, filter_].argmax()
        of_weight[:, filter_] += arrived[text, filter_] * windows[best, text]
        for place in range(window if best < len(starts) else 0):
            part = weight[place * WIDTH : (place + 1) * WIDTH, filter_]
            of_table[ids[best + place, text]] += arrived[text, filter_] * part
    of_table[0] = 0.0
    return [features, of_table, of_weight, arrived.sum(axis=0)]


def computed(table: np.ndarray, weight: np.ndarray, bias: np.ndarray, ids: np.ndarray, given: np.ndarray) -> list[Any]:
    parameters = [paddle.to_tensor(values, stop_gradient=False) for values in (table, weight, bias)]
    tokens, places = compat.distinct_tokens(ids, ROWS)
    vectors = paddle.nn.functional.embedding(paddle.to_tensor(tokens), parameters[0], padding_idx=0)
    features = compat.window_maxima(vectors, *parameters[1:], places)
    (features * paddle.to_tensor(given)).sum().backward()
    return [features.numpy(), *(parameter.grad.numpy() for parameter in parameters)]


@pytest.mark.parametrize("window", [2, 3, 5])
@pytest.mark.parametrize("length", [1, 2, 7, 300])
def test_features_and_gradients_are_those_of_the_definition(window: int, length: int) -> None:
    given = np.random.default_rng(length).normal(size=(4, FILTERS)).astype(np.float32)
    given[0, 1] = given[2] = 0.0
    parts = batch(length, window=window, seed=length)
    names = ["features", "table", "weight", "bias"]
    for name, found, expected in zip(names, computed(*parts, given), defined(*parts, given), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5, err_msg=name)


def test_a_text_of_padding_has_the_bias_and_gives_a_gradient_to_nothing_else() -> None:
    table, weight, _, ids = batch(3)
    bias = np.array([1.0, -1.0, 2.0, 0.5, 0.0], dtype=np.float32)
    features, of_table, of_weight, of_bias = computed(table, weight, bias, np.zeros_like(ids), np.ones((4, FILTERS), "float32"))
    np.testing.assert_array_equal(features, np.tile(np.maximum(bias, 0), (4, 1)))
    assert not of_table.any()
    assert not of_weight.any()
    np.testing.assert_array_equal(of_bias, [4, 0, 4, 4, 0])


def test_distinct_tokens_are_found_and_filled_up_with_padding() -> None:
    ids = np.array([[5, 0, 7], [7, 5, 39]])
    tokens, places = compat.distinct_tokens(ids, 40)
    assert (tokens[:4].tolist(), tokens.size, tokens[4:].any()) == ([0, 5, 7, 39], 64, False)
    np.testing.assert_array_equal(tokens[places], ids)


def test_equal_inputs_give_equal_bits() -> None:
    given = np.random.default_rng(0).normal(size=(4, FILTERS)).astype(np.float32)
    first, second = (computed(*batch(9), given) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_is_not_a_number_reaches_the_features() -> None:
    table, weight, bias, ids = batch(4)
    weight[3, 2] = np.nan
    features = computed(table, weight, bias, ids, np.ones((4, FILTERS), "float32"))[0]
    assert np.isnan(features[:, 2]).all()
    assert np.isfinite(np.delete(features, 2, axis=1)).all()


@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_what_is_frozen_gets_no_gradient_and_the_rest_keeps_its_own(frozen: int) -> None:
    table, weight, bias, ids = batch(6)
    whole = computed(table, weight, bias, ids, np.ones((4, FILTERS), "float32"))[1:]
    parameters = [paddle.to_tensor(values, stop_gradient=at == frozen) for at, values in enumerate((table, weight, bias))]
    tokens, places = compat.distinct_tokens(ids, ROWS)
    vectors = paddle.nn.functional.embedding(paddle.to_tensor(tokens), parameters[0], padding_idx=0)
    compat.window_maxima(vectors, *parameters[1:], places).sum().backward()
    for at, (parameter, expected) in enumerate(zip(parameters, whole, strict=True)):
        if at == frozen:
            assert parameter.grad is None
        else:
            np.testing.assert_allclose(parameter.grad.numpy(), expected, rtol=1e-6, atol=1e-6)


def test_a_second_derivative_is_refused() -> None:
    table, weight, bias, ids = batch(4)
    tokens, places = compat.distinct_tokens(ids, ROWS)
    vectors = paddle.to_tensor(table[tokens], stop_gradient=False)
    features = compat.window_maxima(vectors, paddle.to_tensor(weight), paddle.to_tensor(bias), places)
    with pytest.raises((HostError, OSError, RuntimeError), match="second derivative"):
        paddle.grad(features.sum(), vectors, create_graph=True)


def test_other_precisions_are_left_to_paddle() -> None:
    single = paddle.ones([2, 2])
    assert compat.has_window_maxima(single)
    assert not compat.has_window_maxima(single, single.astype("float64"))
