"""Factors of products for the tests of oneDNN: of many sizes, and with zeros and denormals among them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import paddle

LAYOUTS = [(False, False), (False, True), (True, False), (True, True)]
UNIT = 2.0**-24


def turned(values: np.ndarray, transposed: bool) -> Any:
    return paddle.to_tensor(np.ascontiguousarray(values.swapaxes(-1, -2) if transposed else values))


def draw(generator: np.random.Generator, *shape: int) -> np.ndarray:
    values = generator.normal(size=shape) * 10.0 ** generator.integers(-6, 7)
    kind = generator.integers(4)
    if kind == 0:
        values[generator.random(shape) < 0.5] = 0
    elif kind == 1:
        values[generator.random(shape) < 0.2] *= 1e-40
    return values.astype("float32")


class Fuzzed(NamedTuple):
    """Two factors and a bias or none, and which of the factors are handed over transposed."""

    left: np.ndarray
    right: np.ndarray
    bias: np.ndarray | None
    transposed: tuple[bool, bool]

    def tensors(self) -> tuple[Any, Any]:
        return turned(self.left, self.transposed[0]), turned(self.right, self.transposed[1])

    def bias_tensor(self) -> Any:
        return None if self.bias is None else paddle.to_tensor(self.bias)


def fuzzed(seed: int) -> Fuzzed:
    generator = np.random.default_rng(seed)
    rows, inner, columns = (int(2 ** generator.uniform(0, bits)) for bits in (11.6, 10, 10))
    left, right = draw(generator, rows, inner), draw(generator, inner, columns)
    return Fuzzed(left, right, draw(generator, columns) if seed % 2 else None, LAYOUTS[seed % 4])
