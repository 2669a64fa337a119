"""Attention of several heads, from projected queries, keys and values to what their heads return."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from paddlenlp_embtune.compat import onednn
from paddlenlp_embtune.compat.functional._arrays import Array, array_of, empty_tensor, fresh_array, tensor_of
from paddlenlp_embtune.compat.functional._autograd import make_operator, wanted_gradients
from paddlenlp_embtune.compat.functional._dropout import draw_mask

__all__ = ["attend", "attention", "backward", "forward"]

_ONE = np.float32(1)
_SMALL_SUM = 2.0**-100
"""Below it, the exponentials of a row may have lost precision, being near the smallest numbers."""


def attention(query: Any, key: Any, value: Any, mask: Any | None, *, heads: int, probability: float) -> Any:
    """Attend by scaled dot products, dropping attention weights with a probability (0 for none).

    Shapes:
        query: (B, Lq, D); key, value: (B, Lk, D); mask: added to scores, broadcast to (B, heads, Lq, Lk), or None;
        returns: (B, Lq, D)
    """
    return _operator().apply(query, key, value, mask, heads, probability)


@functools.cache
def _operator() -> Any:
    return make_operator("attention", forward, backward)


def _by_heads(values: Array, heads: int) -> Array:
    """Look at (B, L, D) as (B, heads, L, D / heads)."""
    batch, length, width = values.shape
    seen: Array = values.reshape(batch, length, heads, width // heads).transpose(0, 2, 1, 3)
    return seen


def _split_heads(values: Array, heads: int, scale: np.float32 | None = None) -> Any:
    """Copy (B, L, D) into a tensor (B, heads, L, D / heads)."""
    split = _by_heads(values, heads)
    made = empty_tensor(split.shape)
    if scale is None:
        np.copyto(fresh_array(made), split)
    else:
        np.multiply(split, scale, out=fresh_array(made))
    return made


def _join_heads(tensor: Any, shape: Sequence[int], scale: np.float32 = _ONE) -> Any:
    """Copy (B, heads, L, D / heads) into a tensor (B, L, D), which may be seen as another shape."""
    batch, heads, length, width = tensor.shape
    made = empty_tensor(shape)
    joined = fresh_array(made).reshape(batch, length, heads * width)
    if scale is _ONE:
        np.copyto(_by_heads(joined, heads), array_of(tensor))
    else:
        np.multiply(array_of(tensor), scale, out=_by_heads(joined, heads))
    return made


def _softmax(scores: Array, mask: Array | None) -> None:
    """Turn scores into the softmax, over the last axis, of what they are with the mask added."""
    # One shift for all rows is enough for nearly all, and a maximum by rows takes longer than all the rest.
    shift = scores.max() + (0 if mask is None else mask.max())
    exponentials = np.exp(np.add(scores, -shift if mask is None else mask - shift))
    sums = np.einsum("bhij->bhi", exponentials)[..., None]
    if not (sums.min() > _SMALL_SUM):  # or NaN
        exponentials = scores if mask is None else scores + mask
        exponentials -= exponentials.max(axis=-1, keepdims=True)
        np.exp(exponentials, out=exponentials)
        sums = np.einsum("bhij->bhi", exponentials)[..., None]
    np.divide(exponentials, sums, out=scores)


def forward(context: Any, query: Any, key: Any, value: Any, mask: Any | None, heads: int, probability: float) -> Any:
    """Attend as :func:`attention` says, and keep weights, factors and heads for the backward pass."""
    arrays = array_of(query), array_of(key), array_of(value)
    return attend(context, arrays, mask, heads, probability, shape=query.shape)


def attend(
    context: Any, arrays: tuple[Array, Array, Array], mask: Any | None, heads: int, probability: float, *, shape: Sequence[int]
) -> Any:
    """Do what :func:`attention` does, and keep what the backward pass needs; return the result in a shape."""
    query, key, value = arrays
    scale = np.float32((query.shape[-1] // heads) ** -0.5)
    split = _split_heads(query, heads, scale), _split_heads(key, heads), _split_heads(value, heads)
    weights = fresh_array(onednn.matmul(split[0], split[1], transpose_y=True))
    _softmax(weights, None if mask is None else array_of(mask))
    factors = draw_mask(weights.shape, probability) if probability else None
    used = _times(weights, factors)
    context.kept = split, weights, factors, used, scale, shape
    return _join_heads(onednn.matmul(used, split[2]), shape)


def _times(weights: Array, factors: Array | None) -> Any:
    if factors is None:
        return tensor_of(weights)
    made = empty_tensor(weights.shape)
    np.multiply(weights, factors, out=fresh_array(made))
    return made


def backward(context: Any, gradient: Any) -> Any:
    """Return the gradients of query, key and value, as far as they want one."""
    (queries, keys, values), weights, factors, used, scale, shape = context.kept
    batch, heads, length, width = queries.shape
    split = _split_heads(array_of(gradient).reshape(batch, length, heads * width), heads)
    scores = onednn.matmul(split, values, transpose_y=True)
    slopes = fresh_array(scores)
    if factors is not None:
        slopes *= factors
    # Through softmax: weights * (their gradients - sum of weights * their gradients)
    slopes -= np.einsum("bhij,bhij->bhi", weights, slopes)[..., None]
    slopes *= weights
    read = [*shape[:-2], keys.shape[2], shape[-1]] if len(shape) == 3 else shape
    gradients = (
        lambda: _join_heads(onednn.matmul(scores, keys), shape, scale),
        lambda: _join_heads(onednn.matmul(scores, queries, transpose_x=True), read),
        lambda: _join_heads(onednn.matmul(used, split, transpose_x=True), read),
        lambda: None,
    )
    return wanted_gradients(context, *gradients)
