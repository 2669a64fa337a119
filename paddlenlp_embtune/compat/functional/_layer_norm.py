"""Layer norms over the last axis."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from paddlenlp_embtune.compat import onednn
from paddlenlp_embtune.compat.functional._arrays import Array, array_of, tensor_of
from paddlenlp_embtune.compat.functional._autograd import make_operator, save_inputs, wanted_gradients

__all__ = ["backward", "forward", "layer_norm"]


def layer_norm(hidden: Any, scale: Any, shift: Any, epsilon: float) -> Any:
    """Normalise over the last axis, then scale and shift; right also for a frozen scale (see :func:`fix_layer_norm_gradients`).

    Shapes:
        hidden: (..., D); scale, shift: (D,); returns: (..., D)
    """
    return _operator().apply(hidden, scale, shift, epsilon)


@functools.cache
def _operator() -> Any:
    return make_operator("layer_norm", forward, backward)


def forward(context: Any, hidden: Any, scale: Any, shift: Any, epsilon: float) -> Any:
    """Normalize rows of the last axis; the normalized rows are computed when the backward pass asks."""
    values = array_of(hidden)
    rows = values.reshape(-1, values.shape[-1])
    arrays = rows, array_of(scale), array_of(shift)
    context.epsilon, context.moments = epsilon, None
    context.normal = functools.cache(lambda: _normal(rows, epsilon))
    found = onednn.layer_norm(*arrays, epsilon, lambda: _norm(context.normal()[0], *arrays[1:]))
    if found is not None:
        out, *context.moments = found
        context.normal = functools.cache(lambda: _normal(rows, epsilon))  # what proved the first result is not kept
        save_inputs(context, scale, hidden)
    else:
        out = _norm(context.normal()[0], *arrays[1:])
        save_inputs(context, scale)
    return tensor_of(out.reshape(values.shape))


def _normal(rows: Array, epsilon: float) -> tuple[Array, Array]:
    """Return rows of mean 0 and variance 1, and the inverse of the deviations they had."""
    width = np.float32(rows.shape[-1])
    normal = rows - (np.einsum("ij->i", rows) / width)[:, None]
    variance = np.einsum("ij,ij->i", normal, normal) / width
    inverse = (1 / np.sqrt(variance + np.float32(epsilon)))[:, None]
    normal *= inverse
    return normal, inverse


def _norm(normal: Array, scale: Array, shift: Array) -> Array:
    out: Array = normal * scale
    out += shift
    return out


def backward(context: Any, gradient: Any) -> Any:
    """Return the gradients of hidden, scale and shift, as far as they want one."""
    scale = array_of(context.saved[0])
    arrived = array_of(gradient).reshape(-1, scale.size)

    def of_hidden() -> Array:
        # (g - mean(g) - n mean(g n)) / deviation, with g = gradient * scale and n = the normalised row
        normal, inverse = context.normal()
        width = np.float32(normal.shape[1])
        own: Array = arrived * scale
        along = (np.einsum("ij,ij->i", own, normal) / width)[:, None]
        own -= (np.einsum("ij->i", own) / width)[:, None]
        own -= normal * along
        own *= inverse
        return own

    gradients: tuple[Callable[[], Array], ...] = (
        of_hidden,
        lambda: np.einsum("ij,ij->j", arrived, context.normal()[0]),
        lambda: arrived.sum(axis=0),
    )
    if context.moments is not None:
        rows = array_of(context.saved[1]).reshape(arrived.shape)
        found = onednn.layer_norm_gradients(
            rows, scale, context.moments, context.epsilon, arrived, lambda: [compute() for compute in gradients]
        )
        if found is not None:
            gradients = tuple(functools.partial(np.asarray, values) for values in found)
    first, *others = gradients
    shaped = (
        lambda: tensor_of(first().reshape(gradient.shape)),
        *(lambda compute=compute: tensor_of(compute()) for compute in others),
    )
    return wanted_gradients(context, *shaped)
