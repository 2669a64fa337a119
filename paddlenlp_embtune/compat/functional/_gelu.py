"""The exact Gaussian error linear unit."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from paddlenlp_embtune.compat import onednn
from paddlenlp_embtune.compat.functional._arrays import Array, array_of, tensor_of
from paddlenlp_embtune.compat.functional._autograd import make_operator, save_inputs
from paddlenlp_embtune.compat.paddle import require_paddle

__all__ = ["backward", "forward", "gelu"]


def gelu(hidden: Any) -> Any:
    """Return the exact Gaussian error linear unit of every value."""
    return _operator().apply(hidden)


@functools.cache
def _operator() -> Any:
    return make_operator("gelu", forward, backward)


def forward(context: Any, hidden: Any) -> Any:
    """Compute GELU of an array of any shape; what the slope needs is computed when the backward pass asks."""
    save_inputs(context, hidden)
    context.share = functools.cache(lambda: _share(hidden.detach()))
    values = array_of(hidden)
    out = onednn.gelu(values, lambda: np.multiply(values, context.share()))
    if out is None:
        out = np.multiply(values, context.share())
    else:
        context.share = functools.cache(lambda: _share(hidden.detach()))  # what proved the first result is not kept
    return tensor_of(out)


def _share(hidden: Any) -> Array:
    """Return the normal distribution's probability of being below each value."""
    paddle = require_paddle()
    # Paddle's error function; numpy has none.
    share = paddle.erf(paddle.scale(hidden, math.sqrt(0.5)))
    return array_of(paddle.scale(share, 0.5, 0.5))


def backward(context: Any, gradient: Any) -> Any:
    """Return the gradient of the values, by the slope Phi(x) + x phi(x)."""
    values, arrived = array_of(context.saved[0]), array_of(gradient)

    def slope() -> Array:
        # Phi(x) + x phi(x), with the normal distribution's probability and density
        found: Array = values * values
        found *= np.float32(-0.5)
        np.exp(found, out=found)
        found *= np.float32(1 / math.sqrt(2 * math.pi))
        found *= values
        found += context.share()
        found *= arrived
        return found

    found = onednn.gelu_gradient(values, arrived, slope)
    return tensor_of(slope() if found is None else found)
