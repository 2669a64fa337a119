"""Speeding up the training of an encoder on a CPU, without changing what it computes."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

from paddlenlp_embtune.compat import functional
from paddlenlp_embtune.compat.paddle import require_paddle

__all__ = ["speed_up_encoder", "speed_up_linear"]

_MARK, _BF16 = "_embtune_fast", "_embtune_bf16"


def speed_up_encoder(model: Any, *, bf16: bool = False) -> Callable[[], None]:
    """Let a PaddleNLP encoder take its training steps on a CPU by faster operators, in place.

    Changed are ``paddle.nn``'s own ``Linear``, ``LayerNorm``, ``Dropout``, ``GELU``, ``MultiHeadAttention`` and the exact gelu
    of ``TransformerEncoderLayer``; subclasses, and layers with a ``forward`` of their own, stay as they are. Outputs and
    gradients are the same within rounding. Dropout draws other values, from a seed that Paddle's generator gives, so that a
    resumed run still repeats itself. Out of training mode and wherever gradients are off, in traces and exports, on other
    devices, in other precisions, under automatic mixed precision and with a cache or weights asked for, layers do what they did
    before.

    Activations must not be recomputed: the first pass of that has no gradients and draws Paddle's dropout, the second ours.

    In training mode gradients come by ``backward()``: ``paddle.grad`` for some of a step's parameters or inputs fails inside
    Paddle, which takes no operator of Python's whose other inputs want a gradient as well.

    Args:
        model: any layer that holds an encoder.
        bf16: multiply by the weights of linear layers in bfloat16, forward and backward, with sums, biases and all else in
            float32; see :func:`paddlenlp_embtune.compat.onednn.require_bf16`. Weights stay float32 and are rounded in every
            forward pass.
    Returns:
        What undoes it, in whatever order others change and restore the same layers; a second call does nothing.
    """
    return _speed_up(model, _forwards(), gelu=True, bf16=bf16)


def speed_up_linear(model: Any) -> Callable[[], None]:
    """Let ``paddle.nn``'s own ``Linear`` layers take their training steps by the selected kernel, in place.

    What holds for :func:`speed_up_encoder` holds for this.

    Args:
        model: any layer that holds some.
    Returns:
        What undoes it.
    """
    linear = require_paddle().nn.Linear
    return _speed_up(model, {linear: _forwards()[linear]}, gelu=False, bf16=False)


def _speed_up(model: Any, forwards: dict[type, Callable[..., Any]], *, gelu: bool, bf16: bool) -> Callable[[], None]:
    changed: list[Any] = []
    for layer in model.sublayers(include_self=True):
        forward = forwards.get(type(layer))
        own = vars(layer).get("forward")
        # A fixed norm may be replaced: the faster one is right for a frozen scale as well.
        if forward is not None and (own is None or "_embtune_before" in vars(layer)) and _MARK not in vars(layer):
            # A bound method, so that a copy of the model calls its own layers.
            layer.forward = types.MethodType(forward, layer)
            vars(layer)[_MARK] = own
            vars(layer)[_BF16] = bf16
            changed.append(layer)
        if gelu and _has_gelu(layer):
            layer.activation = types.MethodType(_activation, layer)
            changed.append(layer)

    def undo() -> None:
        while changed:
            _restore(changed.pop())

    return undo


def _restore(layer: Any) -> None:
    paddle = require_paddle()
    if getattr(vars(layer).get("activation"), "__func__", None) is _activation:
        layer.activation = paddle.nn.functional.gelu
    if _MARK not in vars(layer):
        return
    before = vars(layer).pop(_MARK)
    del vars(layer)[_BF16]
    forward = vars(layer).get("forward")
    if getattr(forward, "__func__", None) is _forwards()[type(layer)]:
        del layer.forward
        if before is not None:
            layer.forward = before
    # Otherwise somebody has put theirs above ours, which without the mark does what the layer's class does.


def _forwards() -> dict[type, Callable[..., Any]]:
    nn = require_paddle().nn
    return {
        nn.Linear: _linear,
        nn.LayerNorm: _layer_norm,
        nn.Dropout: _dropout,
        nn.GELU: _gelu,
        nn.MultiHeadAttention: _attention,
    }


def _has_gelu(layer: Any) -> bool:
    nn = require_paddle().nn
    return type(layer) is nn.TransformerEncoderLayer and layer.activation is nn.functional.gelu


def _fits(*tensors: Any) -> bool:
    """Whether the faster operators can take these: float32 on a CPU, where gradients will be wanted."""
    paddle = require_paddle()
    return (
        paddle.in_dynamic_mode()
        and paddle.is_grad_enabled()
        and not _casts(paddle)
        and all(tensor.dtype == paddle.float32 and tensor.place.is_cpu_place() for tensor in tensors if tensor is not None)
    )


def _casts(paddle: Any) -> bool:
    """Whether automatic mixed precision is on."""
    return not str(paddle.base.framework._dygraph_tracer()._amp_level).endswith("O0")


def _active(layer: Any) -> bool:
    return layer.training and _MARK in vars(layer)


def _before(layer: Any) -> Callable[..., Any]:
    """Return what a layer did before, which is what its class does unless its norm was fixed."""
    before: Callable[..., Any] | None = vars(layer).get(_MARK)
    return before if before is not None else types.MethodType(type(layer).forward, layer)


# Parameters are named as in paddle.nn, for calls by name.
def _linear(layer: Any, input: Any) -> Any:  # noqa: A002
    if not _active(layer) or not _fits(input, layer.weight, layer.bias):
        return _before(layer)(input)
    return functional.linear(input, layer.weight, layer.bias, bf16=vars(layer)[_BF16])


def _layer_norm(layer: Any, input: Any) -> Any:  # noqa: A002
    scale, shift = layer.weight, layer.bias
    plain = scale is None or shift is None or len(layer._normalized_shape) != 1
    if not _active(layer) or plain or not _fits(input, scale, shift):
        return _before(layer)(input)
    return functional.layer_norm(input, scale, shift, layer._epsilon)


def _dropout(layer: Any, input: Any) -> Any:  # noqa: A002
    usual = layer.axis is None and layer.mode == "upscale_in_train" and _can_drop(layer.p)
    if not _active(layer) or not usual or not _fits(input):
        return _before(layer)(input)
    return functional.dropout(input, layer.p)


def _can_drop(probability: Any) -> bool:
    return isinstance(probability, (int, float)) and 0 < functional.dropout_steps(probability) < 2**16


def _gelu(layer: Any, x: Any) -> Any:
    if not _active(layer) or layer._approximate or not _fits(x):
        return _before(layer)(x)
    return functional.gelu(x)


def _activation(layer: Any, x: Any) -> Any:
    return functional.gelu(x) if layer.training and _fits(x) else require_paddle().nn.functional.gelu(x)


def _attention(layer: Any, query: Any, key: Any = None, value: Any = None, attn_mask: Any = None, cache: Any = None) -> Any:
    drops = bool(layer.dropout)
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
