"""Attention of several heads, from projected queries, keys and values to what their heads return."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from paddlenlp_embtune.compat import onednn
from paddlenlp_embtune.compat.functional._arrays import Array, array_of, tensor_of
from paddlenlp_embtune.compat.functional._autograd import make_operator, wanted_gradients
from paddlenlp_embtune.compat.functional._dropout import apply_mask, draw_mask

__all__ = ["attention"]


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
    """Copy (B, L, D) into (B, heads, L, D / heads)."""
    batch, length, width = values.shape
    return np.ascontiguousarray(values.reshape(batch, length, heads, width // heads).transpose(0, 2, 1, 3))


def _join_heads(tensor: Any) -> Array:
    batch, heads, length, width = tensor.shape
    return np.ascontiguousarray(array_of(tensor).transpose(0, 2, 1, 3)).reshape(batch, length, heads * width)


def _softmax(scores: Array, mask: Any | None) -> Array:
    """Return the softmax of masked scores over the last axis, in memory of its own."""
    weights: Array = np.array(scores) if mask is None else scores + array_of(mask)
    weights -= weights.max(axis=-1, keepdims=True)
    np.exp(weights, out=weights)
    weights /= np.einsum("bhij->bhi", weights)[..., None]
    return weights


def _forward(context: Any, query: Any, key: Any, value: Any, mask: Any | None, heads: int, probability: float) -> Any:
    queries = _split_heads(array_of(query), heads)
    queries = queries * np.float32(queries.shape[-1] ** -0.5)
    split = [tensor_of(queries), tensor_of(_split_heads(array_of(key), heads)), tensor_of(_split_heads(array_of(value), heads))]
    weights = _softmax(array_of(onednn.matmul(split[0], split[1], transpose_y=True)), mask)
    kept = draw_mask(weights.shape, probability) if probability else None
    used = weights if kept is None else apply_mask(weights, kept)
    out = _join_heads(onednn.matmul(tensor_of(used), split[2]))
    context.kept = split, weights, kept, out
    return tensor_of(out.copy())


def _backward(context: Any, gradient: Any) -> Any:
    (queries, keys, values), weights, kept, out = context.kept
    heads = queries.shape[1]
    by_head = (*out.shape[:2], heads, out.shape[2] // heads)
    arrived = array_of(gradient)
    split = tensor_of(_split_heads(arrived, heads))
    # Through softmax: weights * (their gradients - sum of weights * their gradients); that sum equals the one of outputs times
    # theirs, dropout included (Dao et al. 2022, "FlashAttention", appendix B.2).
    balance = np.einsum("blhd,blhd->bhl", arrived.reshape(by_head), out.reshape(by_head))[..., None]
    slopes = np.array(array_of(onednn.matmul(split, values, transpose_y=True)))
    used = weights
    if kept is not None:
        slopes *= kept[0]
        slopes *= kept[1]
        used = apply_mask(weights, kept)
    slopes -= balance
    slopes *= weights
    scores = tensor_of(slopes)
    scale = np.float32(by_head[-1] ** -0.5)
    gradients = (
        lambda: tensor_of(_join_heads(onednn.matmul(scores, keys)) * scale),
        lambda: tensor_of(_join_heads(onednn.matmul(scores, queries, transpose_x=True))),
        lambda: tensor_of(_join_heads(onednn.matmul(tensor_of(used), split, transpose_x=True))),
        lambda: None,
    )
    return wanted_gradients(context, *gradients)
