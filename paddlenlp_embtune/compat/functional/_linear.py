"""A product with a weight, and a bias."""

from __future__ import annotations

import functools
from typing import Any

from paddlenlp_embtune.compat import onednn
from paddlenlp_embtune.compat.functional._arrays import array_of, tensor_of
from paddlenlp_embtune.compat.functional._autograd import make_operator, save_inputs, wanted_gradients

__all__ = ["linear"]


def linear(hidden: Any, weight: Any, bias: Any | None, *, bf16: bool = False) -> Any:
    """Multiply by a weight and add a bias.

    With ``bf16`` the factors of all three products, forward and backward, are rounded to bfloat16, and the sums are float32.
    Each tensor is rounded once: the backward pass takes the copies of the forward pass, which nobody else can change.

    Shapes:
        hidden: (..., I); weight: (I, O); bias: (O,) or None; returns: (..., O) float32
    """
    return _operator().apply(hidden, weight, bias, bf16)


@functools.cache
def _operator() -> Any:
    return make_operator("linear", _forward, _backward)


def _forward(context: Any, hidden: Any, weight: Any, bias: Any | None, bf16: bool) -> Any:
    context.shape, context.bf16 = hidden.shape, bf16
    rows = hidden.reshape([-1, hidden.shape[-1]])
    if bf16:
        rows, weight = onednn.to_bfloat16(rows), onednn.to_bfloat16(weight)
        context.saved = rows, weight
    else:
        save_inputs(context, hidden, weight)
    return onednn.matmul(rows, weight, bias=bias).reshape([*hidden.shape[:-1], weight.shape[1]])


def _backward(context: Any, gradient: Any) -> Any:
    hidden, weight = context.saved
    gradient = gradient.reshape([-1, gradient.shape[-1]])
    rows = hidden.reshape([-1, hidden.shape[-1]])
    arrived = onednn.to_bfloat16(gradient) if context.bf16 else gradient
    gradients = (
        lambda: onednn.matmul(arrived, weight, transpose_y=True).reshape(context.shape),
        lambda: onednn.matmul(rows, arrived, transpose_x=True),
        lambda: tensor_of(array_of(gradient).sum(axis=0)),
    )
    return wanted_gradients(context, *gradients)
