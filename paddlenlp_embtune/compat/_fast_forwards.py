"""What layers of an encoder do in training steps and evaluations on a CPU once they are sped up; else, what they did before."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

from paddlenlp_embtune.compat import functional
from paddlenlp_embtune.compat.paddle import require_paddle

__all__ = ["BF16", "MARK", "fast_activation", "fast_forwards", "has_gelu"]

MARK, BF16 = "_embtune_fast", "_embtune_bf16"
"""What a layer that was sped up carries: the ``forward`` it had of its own, and whether it multiplies in bfloat16."""


@functools.cache
def fast_forwards() -> dict[type, Callable[..., Any]]:
    """Return what takes the place of ``forward``, by the type of the layer."""
    nn = require_paddle().nn
    return {
        nn.Linear: _linear,
        nn.LayerNorm: _layer_norm,
        nn.Dropout: _dropout,
        nn.GELU: _gelu,
        nn.MultiHeadAttention: _attention,
        nn.TransformerEncoderLayer: _encoder_layer,
    }


def has_gelu(layer: Any) -> bool:
    """Whether a layer of an encoder takes the exact GELU for its activation."""
    nn = require_paddle().nn
    return type(layer) is nn.TransformerEncoderLayer and layer.activation is nn.functional.gelu


# Parameters are named as in paddle.nn, for calls by name.
def _linear(layer: Any, input: Any) -> Any:  # noqa: A002
    if not _active(layer) or not _fits(input, layer.weight, layer.bias):
        return _before(layer)(input)
    return functional.linear(input, layer.weight, layer.bias, bf16=vars(layer)[BF16] and layer.training)


def _layer_norm(layer: Any, input: Any) -> Any:  # noqa: A002
    scale, shift = layer.weight, layer.bias
    plain = scale is None or shift is None or len(layer._normalized_shape) != 1
    if not _active(layer) or plain or not _fits(input, scale, shift):
        return _before(layer)(input)
    return functional.layer_norm(input, scale, shift, layer._epsilon)


def _dropout(layer: Any, input: Any) -> Any:  # noqa: A002
    if not (_active(layer) and layer.training) or not _drops_usually(layer) or not _fits(input):
        return _before(layer)(input)
    return functional.dropout(input, layer.p)


def _gelu(layer: Any, x: Any) -> Any:
    if not _active(layer) or layer._approximate or not _fits(x):
        return _before(layer)(x)
    return functional.gelu(x)


def fast_activation(layer: Any, x: Any) -> Any:
    """Stand in for ``gelu`` as the activation of a layer."""
    return functional.gelu(x) if _in_its_mode(layer) and _fits(x) else require_paddle().nn.functional.gelu(x)


def _attention(layer: Any, query: Any, key: Any = None, value: Any = None, attn_mask: Any = None, cache: Any = None) -> Any:
    drops = bool(layer.dropout) and layer.training
    usual = cache is None and not layer.need_weights and (not drops or _can_drop(layer.dropout))
    fixed = attn_mask is None or attn_mask.stop_gradient
    if not _active(layer) or not usual or not fixed or not _fits(query, key, value, attn_mask):
        return _before(layer)(query, key, value, attn_mask, cache)
    key = query if key is None else key
    value = query if value is None else value
    out = functional.attention(
        layer.q_proj(query),
        layer.k_proj(key),
        layer.v_proj(value),
        attn_mask,
        heads=layer.num_heads,
        probability=float(layer.dropout) if drops else 0.0,
    )
    return layer.out_proj(out)


# PaddleNLP wants to see its own additional argument here.
def _encoder_layer(layer: Any, src: Any, src_mask: Any = None, cache: Any = None, output_attentions: bool = False) -> Any:
    mask, parts = src_mask, _parts(layer)
    weights = [tensor for part in parts for tensor in (part.weight, part.bias)]
    usual = cache is None and not output_attentions and _active(layer) and _is_plain(layer, parts)
    fixed = mask is None or mask.stop_gradient
    if not usual or not fixed or any(tensor is None for tensor in weights) or not _fits(src, mask, *weights):
        return _before(layer)(src, src_mask, cache, **({"output_attentions": True} if output_attentions else {}))
    return functional.encoder_layer(src, mask, _settings(layer), weights)


def _settings(layer: Any) -> functional.EncoderLayerSettings:
    """Say how a layer computes in its mode: an evaluation drops nothing, and is in float32."""
    drops = (layer.self_attn.dropout or 0, layer.dropout1.p, layer.dropout.p, layer.dropout2.p)
    attention, first, inner, second = (float(share) if layer.training else 0.0 for share in drops)
    return functional.EncoderLayerSettings(
        heads=layer.self_attn.num_heads,
        attention_dropout=attention,
        first_dropout=first,
        inner_dropout=inner,
        second_dropout=second,
        first_epsilon=layer.norm1._epsilon,
        second_epsilon=layer.norm2._epsilon,
        bf16=vars(layer)[BF16] and layer.training,
    )


def _parts(layer: Any) -> list[Any]:
    """Return the parts of an encoder's layer that have weights, in the order of ``functional.ENCODER_LAYER_PARTS``."""
    attention = layer.self_attn
    heads = [attention.q_proj, attention.k_proj, attention.v_proj, attention.out_proj]
    return [*heads, layer.norm1, layer.linear1, layer.linear2, layer.norm2]


def _is_plain(layer: Any, parts: list[Any]) -> bool:
    """Whether nothing but a layer's own parts, sped up and without hooks, has a say in what it computes."""
    drops = [layer.dropout, layer.dropout1, layer.dropout2]
    attention = layer.self_attn
    inside = [*parts, *drops, attention]
    return (
        not layer.normalize_before
        and not attention.need_weights
        and getattr(layer.activation, "__func__", None) is fast_activation
        and {id(part) for part in inside} == {id(part) for part in layer.sublayers()}
        and all(part.training == layer.training and _is_ours(part) for part in inside)
        and all(len(norm._normalized_shape) == 1 for norm in (layer.norm1, layer.norm2))
        and all(not drop.p or _drops_usually(drop) for drop in drops)
        and (not attention.dropout or _can_drop(attention.dropout))
    )


def _is_ours(layer: Any) -> bool:
    forward = getattr(vars(layer).get("forward"), "__func__", None)
    hooked = layer._forward_pre_hooks or layer._forward_post_hooks
    ours: bool = MARK in vars(layer) and forward is fast_forwards().get(type(layer)) and not hooked
    return ours


def _active(layer: Any) -> bool:
    return MARK in vars(layer) and _in_its_mode(layer)


def _in_its_mode(layer: Any) -> bool:
    """Whether a layer trains with gradients, or is evaluated without; whoever mixes the two wants what Paddle does."""
    return bool(layer.training) == bool(require_paddle().is_grad_enabled())


def _before(layer: Any) -> Callable[..., Any]:
    """Return what a layer did before, which is what its class does unless its norm was fixed."""
    before: Callable[..., Any] | None = vars(layer).get(MARK)
    return before if before is not None else types.MethodType(type(layer).forward, layer)


def _fits(*tensors: Any) -> bool:
    """Whether the faster operators can take these: float32 on a CPU, outside of traces."""
    paddle = require_paddle()
    return (
        paddle.in_dynamic_mode()
        and not _casts(paddle)
        and all(tensor.dtype == paddle.float32 and tensor.place.is_cpu_place() for tensor in tensors if tensor is not None)
    )


def _casts(paddle: Any) -> bool:
    """Whether automatic mixed precision is on."""
    return not str(paddle.base.framework._dygraph_tracer()._amp_level).endswith("O0")


def _drops_usually(layer: Any) -> bool:
    return layer.axis is None and layer.mode == "upscale_in_train" and _can_drop(layer.p)


def _can_drop(probability: Any) -> bool:
    return isinstance(probability, (int, float)) and 0 < functional.dropout_steps(probability) < 2**16
