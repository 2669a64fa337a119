"""GELU and layer norms by oneDNN against double precision, and what is left to others."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_embtune.compat import functional, onednn
from paddlenlp_embtune.compat.onednn import _primitives, operators

pytestmark = pytest.mark.usefixtures("usable", "selected")
ERF = np.vectorize(math.erf)
UNIT = 2.0**-24


@pytest.fixture
def selected(monkeypatch: pytest.MonkeyPatch) -> None:
    onednn.use_kernels(matmul="paddle", operators="onednn", reason="a test")
    monkeypatch.setattr(_primitives, "_local", _primitives._Local())


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What oneDNN returned: results, or None where it left them to others."""
    found: list[Any] = []
    run = operators._run

    def kept(*given: Any) -> Any:
        found.append(run(*given))
        return found[-1]

    monkeypatch.setattr(operators, "_run", kept)
    return found


def forward_and_backward(function: Callable[..., Any], *inputs: np.ndarray, gradient: np.ndarray) -> list[np.ndarray]:
    tensors = [paddle.to_tensor(values, stop_gradient=False) for values in inputs]
    out = function(*tensors)
    out.backward(paddle.to_tensor(gradient))
    return [out.numpy(), *(tensor.grad.numpy() for tensor in tensors)]


def gelu64(values: np.ndarray, gradient: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    wide = values.astype("float64")
    below = 0.5 * (1 + ERF(wide / math.sqrt(2)))
    return wide * below, gradient * (below + wide * np.exp(-wide * wide / 2) / math.sqrt(2 * math.pi))


def norm64(rows: np.ndarray, scale: np.ndarray, shift: np.ndarray, gradient: np.ndarray) -> list[np.ndarray]:
    wide, arrived = rows.astype("float64"), gradient.astype("float64")
    inverse = 1 / np.sqrt(wide.var(axis=1, keepdims=True) + 1e-5)
    normal = (wide - wide.mean(axis=1, keepdims=True)) * inverse
    own = arrived * scale
    inner = (own - own.mean(axis=1, keepdims=True) - normal * (own * normal).mean(axis=1, keepdims=True)) * inverse
    return [normal * scale + shift, inner, (arrived * normal).sum(axis=0), arrived.sum(axis=0)]


@pytest.mark.parametrize("seed", range(12))
def test_gelu_of_fuzzed_sizes(made: list[Any], seed: int) -> None:
    generator = np.random.default_rng(seed)
    shape = tuple(int(2 ** generator.uniform(0, bits)) for bits in (10, 8))
    values = (generator.normal(size=shape) * 10.0 ** generator.integers(-5, 3)).astype("float32")
    values[generator.random(shape) < 0.1] = 0
    values[generator.random(shape) < 0.1] *= 1e-40
    gradient = generator.normal(size=shape).astype("float32")
    found = forward_and_backward(functional.gelu, values, gradient=gradient)
    assert [result is None for result in made] == [False, False]
    for ours, exact in zip(found, gelu64(values, gradient), strict=True):
        np.testing.assert_allclose(ours, exact, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("seed", range(12))
def test_layer_norms_of_fuzzed_shapes(made: list[Any], seed: int) -> None:
    generator = np.random.default_rng(seed)
    rows, width = int(2 ** generator.uniform(0, 11.6)), int(2 ** generator.uniform(1, 9))
    values = (generator.normal(size=(rows, width)) * 10.0 ** generator.integers(-2, 3)).astype("float32")
    scale, shift = (generator.normal(1, 0.3, width).astype("float32") for _ in range(2))
    gradient = generator.normal(size=(rows, width)).astype("float32")
    norm = lambda *inputs: functional.layer_norm(*inputs, 1e-5)  # noqa: E731
    found = forward_and_backward(norm, values, scale, shift, gradient=gradient)
    assert [result is None for result in made] == [False, False]
    for ours, exact in zip(found, norm64(values, scale, shift, gradient), strict=True):
        np.testing.assert_allclose(ours, exact, rtol=1e-5, atol=64 * UNIT * max(1, np.abs(exact).max()) * math.sqrt(rows))


SPECIAL = [np.nan, np.inf, -np.inf, 3e38, -3e38, 0.0, -0.0, 1e-42]


@pytest.mark.parametrize("special", SPECIAL)
@pytest.mark.parametrize("name", ["gelu", "layer_norm"])
def test_special_values_give_what_they_gave_before(name: str, special: float) -> None:
    generator = np.random.default_rng(2)
    values, gradient = (generator.normal(size=(20, 32)).astype("float32") for _ in range(2))
    scale, shift = (generator.normal(1, 0.3, 32).astype("float32") for _ in range(2))
    function, given = {
        "gelu": (functional.gelu, (values,)),
        "layer_norm": (lambda *inputs: functional.layer_norm(*inputs, 1e-5), (values, scale, shift)),
    }[name]
    results = []
    for operators_of in ("onednn", "paddle"):
        onednn.use_kernels(matmul="paddle", operators=operators_of, reason="a test")
        for place in (None, (3, 5)):
            marked = values.copy()
            if place is not None:
                marked[place] = special
            results.append(forward_and_backward(function, marked, *given[1:], gradient=gradient))
    for ours, before in zip(results[1], results[3], strict=True):
        np.testing.assert_allclose(ours, before, rtol=1e-5, atol=1e-5 * np.abs(before[np.isfinite(before)]).max(initial=1))


def test_a_frozen_scale_gets_no_gradient_and_the_others_the_same() -> None:
    generator = np.random.default_rng(3)
    values, gradient = (generator.normal(size=(20, 32)).astype("float32") for _ in range(2))
    scale, shift = (generator.normal(1, 0.3, 32).astype("float32") for _ in range(2))
    exact = norm64(values, scale, shift, gradient)
    for frozen in ("scale", "shift", "values"):
        tensors = {name: paddle.to_tensor(array) for name, array in (("values", values), ("scale", scale), ("shift", shift))}
        for name, tensor in tensors.items():
            tensor.stop_gradient = name == frozen
        functional.layer_norm(*tensors.values(), 1e-5).backward(paddle.to_tensor(gradient))
        for (name, tensor), wanted in zip(tensors.items(), exact[1:], strict=True):
            if name == frozen:
                assert tensor.grad is None
            else:
                np.testing.assert_allclose(tensor.grad.numpy(), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["gelu", "layer_norm"])
@pytest.mark.parametrize("damage", ["fails", "writes nothing", "is wrong"])
def test_a_kernel_that_fails_or_is_wrong_is_not_used(monkeypatch: pytest.MonkeyPatch, name: str, damage: str) -> None:
    run = _primitives.Primitive.run

    def damaged(self: Any, *addresses: int) -> bool:
        if damage == "is wrong":
            done = run(self, *addresses)
            for address in addresses[-1:]:
                np.ctypeslib.as_array((ctypes.c_float * 8).from_address(address))[:] += 1
            return done
        return damage == "writes nothing"

    generator = np.random.default_rng(4)
    values, gradient = (generator.normal(size=(20, 32)).astype("float32") for _ in range(2))
    ones = np.ones(32, "float32")
    results = []
    for broken in (True, False):
        with monkeypatch.context() as patch:
            if broken:
                patch.setattr(_primitives.Primitive, "run", damaged)
            else:
                onednn.use_kernels(matmul="paddle", operators="paddle", reason="a test")
            norm = lambda *inputs: functional.layer_norm(*inputs, 1e-5)  # noqa: E731
            function, given = {"gelu": (functional.gelu, (values,)), "layer_norm": (norm, (values, ones, ones))}[name]
            results.append(forward_and_backward(function, *(array.copy() for array in given), gradient=gradient))
    for ours, before in zip(*results, strict=True):
        np.testing.assert_allclose(ours, before, rtol=1e-5, atol=1e-6)


def test_equal_inputs_give_equal_bits_and_no_rows_are_left_to_others(made: list[Any]) -> None:
    generator = np.random.default_rng(5)
    values, gradient = (generator.normal(size=(688, 384)).astype("float32") for _ in range(2))
    ones = np.ones(384, "float32")
    norm = lambda *inputs: functional.layer_norm(*inputs, 1e-5)  # noqa: E731
    for function, given in ((functional.gelu, (values,)), (norm, (values, ones, ones))):
        first, second = (forward_and_backward(function, *given, gradient=gradient) for _ in range(2))
        for one, other in zip(first, second, strict=True):
            np.testing.assert_array_equal(one, other)
    made.clear()
    assert functional.gelu(paddle.zeros([0, 4])).shape == [0, 4]
    assert made == [None]
