"""Speeding up training steps and evaluations of an encoder on a CPU, without changing what it computes."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

from paddlenlp_embtune.compat._fast_forwards import BF16, MARK, fast_activation, fast_forwards, has_gelu
from paddlenlp_embtune.compat.paddle import require_paddle

__all__ = ["speed_up_encoder", "speed_up_linear"]


def speed_up_encoder(model: Any, *, bf16: bool = False) -> Callable[[], None]:
    """Let a PaddleNLP encoder take training steps and evaluations on a CPU by faster operators, in place.

    Changed are ``paddle.nn``'s own ``Linear``, ``LayerNorm``, ``Dropout``, ``GELU``, ``MultiHeadAttention`` and
    ``TransformerEncoderLayer``, which is one operator where it normalises after its sums by exact gelu, and nothing else was
    put into it; subclasses, and layers with a ``forward`` of their own, stay as they are. Outputs and
    gradients are the same within rounding. Dropout draws other values, from a seed that Paddle's generator gives, so that a
    resumed run still repeats itself. Evaluations are passes in evaluation mode with gradients off; they drop nothing and are
    computed in float32. In evaluation mode with gradients, in training mode without, in traces and exports, on other devices,
    in other precisions, under automatic mixed precision and with a cache or weights asked for, layers do what they did before.

    Activations must not be recomputed: the first pass of that has no gradients and draws Paddle's dropout, the second ours.

    In training mode gradients come by ``backward()``: ``paddle.grad`` for some of a step's parameters or inputs fails inside
    Paddle, which takes no operator of Python's whose other inputs want a gradient as well.

    Args:
        model: any layer that holds an encoder.
        bf16: multiply by the weights of linear layers in bfloat16, forward and backward, with sums, biases and all else
            in float32, in training mode; see :func:`paddlenlp_embtune.compat.onednn.require_bf16`. Weights stay float32 and are
            rounded in every forward pass.
    Returns:
        What undoes it, in whatever order others change and restore the same layers; a second call does nothing.
    """
    return _speed_up(model, fast_forwards(), gelu=True, bf16=bf16)


def speed_up_linear(model: Any) -> Callable[[], None]:
    """Let ``paddle.nn``'s own ``Linear`` layers take their training steps by the selected kernel, in place.

    What holds for :func:`speed_up_encoder` holds for this.

    Args:
        model: any layer that holds some.
    Returns:
        What undoes it.
    """
    linear = require_paddle().nn.Linear
    return _speed_up(model, {linear: fast_forwards()[linear]}, gelu=False, bf16=False)


def _speed_up(model: Any, forwards: dict[type, Callable[..., Any]], *, gelu: bool, bf16: bool) -> Callable[[], None]:
    changed: list[Any] = []
    for layer in model.sublayers(include_self=True):
        forward = forwards.get(type(layer))
        own = vars(layer).get("forward")
        # A fixed norm may be replaced: the faster one is right for a frozen scale as well.
        if forward is not None and (own is None or "_embtune_before" in vars(layer)) and MARK not in vars(layer):
            # A bound method, so that a copy of the model calls its own layers.
            layer.forward = types.MethodType(forward, layer)
            vars(layer)[MARK] = own
            vars(layer)[BF16] = bf16
            changed.append(layer)
        if gelu and has_gelu(layer):
            layer.activation = types.MethodType(fast_activation, layer)
            changed.append(layer)

    def undo() -> None:
        while changed:
            _restore(changed.pop())

    return undo


def _restore(layer: Any) -> None:
    paddle = require_paddle()
    if getattr(vars(layer).get("activation"), "__func__", None) is fast_activation:
        layer.activation = paddle.nn.functional.gelu
    if MARK not in vars(layer):
        return
    before = vars(layer).pop(MARK)
    del vars(layer)[BF16]
    forward = vars(layer).get("forward")
    if getattr(forward, "__func__", None) is fast_forwards()[type(layer)]:
        del layer.forward
        if before is not None:
            layer.forward = before
    # Otherwise somebody has put theirs above ours, which without the mark does what the layer's class does.
