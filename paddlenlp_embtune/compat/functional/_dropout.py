"""Dropout whose masks come from numpy's bits, seeded by Paddle's generator."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from paddlenlp_embtune.compat.functional._arrays import Array, array_of, tensor_of
from paddlenlp_embtune.compat.functional._autograd import make_operator
from paddlenlp_embtune.compat.paddle import require_paddle

__all__ = ["draw_mask", "dropout", "dropout_steps"]

_STEPS = 2**16  # the resolution of a dropout probability


def dropout(hidden: Any, probability: float) -> Any:
    """Zero every value with a probability, independently, and scale the others so that the mean stays.

    The probability is rounded to a multiple of 2**-16, and the scale follows it. A draw from Paddle's generator seeds the bits.
    """
    return _operator().apply(hidden, probability)


@functools.cache
def _operator() -> Any:
    return make_operator("dropout", forward, backward)


def dropout_steps(probability: float) -> int:
    """Return a dropout probability in steps of 2**-16; 0 and 65,536 are no dropout and nothing left."""
    return round(probability * _STEPS)


def draw_mask(shape: tuple[int, ...], probability: float) -> Array:
    """Draw which values dropout keeps: return what each is multiplied by, 0 or the scale.

    Shapes:
        returns: the shape that is asked for
    """
    # From Paddle's generator, so that a seed and a resumed random state decide it.
    seed = require_paddle().randint(0, 2**31 - 1, [4], dtype="int32").numpy()
    count, steps = math.prod(shape), dropout_steps(probability)
    bits = np.random.SFC64(seed).random_raw(-(-count // 4)).view(np.uint16)[:count]
    scale = np.float32(_STEPS / (_STEPS - steps))
    factors: Array = np.multiply((bits >= steps).reshape(shape), scale, dtype=np.float32)
    return factors


def forward(context: Any, hidden: Any, probability: float) -> Any:
    """Drop values of an array of any shape, and keep the factors that did."""
    values = array_of(hidden)
    context.factors = draw_mask(values.shape, probability)
    return tensor_of(values * context.factors)


def backward(context: Any, gradient: Any) -> Any:
    """Return the gradient of the values: what arrived times the same factors."""
    return tensor_of(array_of(gradient) * context.factors)
