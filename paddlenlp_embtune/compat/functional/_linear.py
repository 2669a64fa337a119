"""A product with a weight, and a bias."""

from __future__ import annotations

import functools
from typing import Any

from paddlenlp_embtune.compat import onednn
from paddlenlp_embtune.compat.functional._autograd import make_operator, save_inputs, wanted_gradients
from paddlenlp_embtune.compat.paddle import require_paddle

__all__ = ["linear"]


def linear(hidden: Any, weight: Any, bias: Any | None) -> Any:
    """Multiply by a weight and add a bias.

    Shapes:
        hidden: (..., I); weight: (I, O); bias: (O,) or None; returns: (..., O)
    """
    return _operator().apply(hidden, weight, bias)


@functools.cache
def _operator() -> Any:
    return make_operator("linear", _forward, _backward)


def _forward(context: Any, hidden: Any, weight: Any, bias: Any | None) -> Any:
    save_inputs(context, hidden, weight)
    out = onednn.matmul(hidden.reshape([-1, hidden.shape[-1]]), weight, bias=bias)
    return out.reshape([*hidden.shape[:-1], weight.shape[1]])


def _backward(context: Any, gradient: Any) -> Any:
    paddle = require_paddle()
    hidden, weight = context.saved
    gradient = gradient.reshape([-1, gradient.shape[-1]])
    rows = hidden.reshape([-1, hidden.shape[-1]])
    gradients = (
        lambda: onednn.matmul(gradient, weight, transpose_y=True).reshape(hidden.shape),
        lambda: onednn.matmul(rows, gradient, transpose_x=True),
        lambda: paddle.matmul(paddle.ones([1, gradient.shape[0]]), gradient).reshape([-1]),
    )
    return wanted_gradients(context, *gradients)
