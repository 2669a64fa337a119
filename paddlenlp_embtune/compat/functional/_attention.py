"""Attention of several heads, from projected queries, keys and values to what their heads return."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from paddlenlp_embtune.compat import onednn
from paddlenlp_embtune.compat.functional._arrays import Array, array_of, fresh_array, tensor_of
from paddlenlp_embtune.compat.functional._autograd import make_operator, wanted_gradients
from paddlenlp_embtune.compat.functional._dropout import draw_mask

__all__ = ["attention"]

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
    return make_operator("attention", _forward, _backward)


def _split_heads(values: Array, heads: int) -> Array:
    """Look at (B, L, D) as (B, heads, L, D / heads)."""
    batch, length, width = values.shape
    return values.reshape(batch, length, heads, width // heads).transpose(0, 2, 1, 3)


def _join_heads(tensor: Any) -> Array:
    batch, heads, length, width = tensor.shape
    return np.ascontiguousarray(array_of(tensor).transpose(0, 2, 1, 3)).reshape(batch, length, heads * width)


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


def _forward(context: Any, query: Any, key: Any, value: Any, mask: Any | None, heads: int, probability: float) -> Any:
    queries, keys, values = (_split_heads(array_of(tensor), heads) for tensor in (query, key, value))
    queries = np.multiply(queries, np.float32(queries.shape[-1] ** -0.5), order="C")
    split = tensor_of(queries), *(tensor_of(np.ascontiguousarray(each)) for each in (keys, values))
    weights = fresh_array(onednn.matmul(split[0], split[1], transpose_y=True))
    _softmax(weights, None if mask is None else array_of(mask))
    factors = draw_mask(weights.shape, probability) if probability else None
    context.kept = split, weights, factors
    used = weights if factors is None else weights * factors
    return tensor_of(_join_heads(onednn.matmul(tensor_of(used), split[2])))


def _backward(context: Any, gradient: Any) -> Any:
    (queries, keys, values), weights, factors = context.kept
    heads, width = queries.shape[1], queries.shape[3]
    split = tensor_of(np.ascontiguousarray(_split_heads(array_of(gradient), heads)))
    slopes = fresh_array(onednn.matmul(split, values, transpose_y=True))
    used = weights
    if factors is not None:
        slopes *= factors
        used = weights * factors
    # Through softmax: weights * (their gradients - sum of weights * their gradients)
    slopes -= np.einsum("bhij,bhij->bhi", weights, slopes)[..., None]
    slopes *= weights
    scores = tensor_of(slopes)
    gradients = (
        lambda: tensor_of(_join_heads(onednn.matmul(scores, keys)) * np.float32(width**-0.5)),
        lambda: tensor_of(_join_heads(onednn.matmul(scores, queries, transpose_x=True))),
        lambda: tensor_of(_join_heads(onednn.matmul(tensor_of(used), split, transpose_x=True))),
        lambda: None,
    )
    return wanted_gradients(context, *gradients)
