"""A product with an embedding table, whose rows are the outputs, and a bias."""

from __future__ import annotations

import functools
from typing import Any

from paddlenlp_embtune.compat import onednn
from paddlenlp_embtune.compat.functional._autograd import make_operator, wanted_gradients
from paddlenlp_embtune.compat.functional._linear import sum_of_rows

__all__ = ["tied_linear"]


def tied_linear(hidden: Any, table: Any, bias: Any) -> Any:
    """Score every row of a table for each hidden state, in bfloat16, forward and backward, with sums in float32.

    Shapes:
        hidden: (N, D) float32; table: (V, D) float32; bias: (V,) float32; returns: (N, V) float32
    """
    return _operator().apply(hidden, table, bias)


@functools.cache
def _operator() -> Any:
    return make_operator("tied linear", _forward, _backward)


def _forward(context: Any, hidden: Any, table: Any, bias: Any) -> Any:
    context.saved = onednn.to_bfloat16(hidden), onednn.to_bfloat16(table)
    return onednn.matmul(*context.saved, transpose_y=True, bias=bias)


def _backward(context: Any, gradient: Any) -> Any:
    hidden, table = context.saved
    arrived = onednn.to_bfloat16(gradient)
    gradients = (
        lambda: onednn.matmul(arrived, table),
        lambda: onednn.matmul(arrived, hidden, transpose_x=True),
        lambda: sum_of_rows(gradient),
    )
    return wanted_gradients(context, *gradients)
