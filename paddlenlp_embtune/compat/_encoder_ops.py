"""Operators of an encoder, forward and backward, for training on a CPU: the same results as Paddle's own in less time.

Paddle 3.3 on a CPU multiplies matrices well and wastes the time beside it: sums over rows (the gradient of every bias) and the
gradient of layer norms run at a tenth of the memory's speed, heads are copied one value at a time, adding a mask that is
broadcast takes longer than the product of queries and keys, and dropout draws 32 bits for every value. Here Paddle or
oneDNN multiplies (see :mod:`paddlenlp_embtune.compat.onednn`), and the rest is done by oneDNN, or by numpy
on the same memory.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.compat import onednn
from paddlenlp_embtune.compat.paddle import require_paddle
from paddlenlp_embtune.errors import HostError

__all__ = ["attention", "dropout", "dropout_steps", "gelu", "layer_norm", "linear"]

_STEPS = 2**16  # the resolution of a dropout probability

Array = npt.NDArray[np.float32]
DropoutMask = tuple[npt.NDArray[np.bool_], np.float32]


def linear(hidden: Any, weight: Any, bias: Any | None) -> Any:
    """Multiply by a weight and add a bias.

    Shapes:
        hidden: (..., I); weight: (I, O); bias: (O,) or None; returns: (..., O)
    """
    return _operators()["linear"].apply(hidden, weight, bias)


def layer_norm(hidden: Any, scale: Any, shift: Any, epsilon: float) -> Any:
    """Normalise over the last axis, then scale and shift; right also for a frozen scale (see :func:`fix_layer_norm_gradients`).

    Shapes:
        hidden: (..., D); scale, shift: (D,); returns: (..., D)
    """
    return _operators()["layer_norm"].apply(hidden, scale, shift, epsilon)


def gelu(hidden: Any) -> Any:
    """Return the exact Gaussian error linear unit of every value."""
    return _operators()["gelu"].apply(hidden)


def dropout(hidden: Any, probability: float) -> Any:
    """Zero every value with a probability, independently, and scale the others so that the mean stays.

    The probability is rounded to a multiple of 2**-16, and the scale follows it. A draw from Paddle's generator seeds the bits.
    """
    return _operators()["dropout"].apply(hidden, probability)


def attention(query: Any, key: Any, value: Any, mask: Any | None, *, heads: int, probability: float) -> Any:
    """Attend by scaled dot products, dropping attention weights with a probability (0 for none).

    Shapes:
        query: (B, Lq, D); key, value: (B, Lk, D); mask: added to scores, broadcast to (B, heads, Lq, Lk), or None;
        returns: (B, Lq, D)
    """
    return _operators()["attention"].apply(query, key, value, mask, heads, probability)


def dropout_steps(probability: float) -> int:
    """Return a dropout probability in steps of 2**-16; 0 and 65,536 are no dropout and nothing left."""
    return round(probability * _STEPS)


@functools.cache
def _operators() -> dict[str, Any]:
    """Make the classes that Paddle's autograd needs, once Paddle is there."""
    layer = require_paddle().autograd.PyLayer
    pairs: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
        "linear": (_linear_forward, _linear_backward),
        "layer_norm": (_norm_forward, _norm_backward),
        "gelu": (_gelu_forward, _gelu_backward),
        "dropout": (_dropout_forward, _dropout_backward),
        "attention": (_attention_forward, _attention_backward),
    }
    return {name: _operator(layer, name, forward, backward) for name, (forward, backward) in pairs.items()}


def _operator(layer: Any, name: str, forward: Callable[..., Any], backward: Callable[..., Any]) -> Any:
    """Derive a ``PyLayer`` that notes which gradients are wanted and refuses what its backward pass cannot do."""
    paddle = require_paddle()

    def check_and_run(context: Any, gradient: Any) -> Any:
        if paddle.is_grad_enabled():
            raise HostError(
                f"the faster {name} has no second derivative, and create_graph asks for one; undo speed_up_encoder first"
            )
        for tensor, version in context.versions:
            if tensor.inplace_version != version:
                raise HostError(
                    f"an input of the faster {name} was changed in place after its forward pass, so its gradient cannot be "
                    "computed; change a copy, or undo speed_up_encoder"
                )
        with np.errstate(all="ignore"):  # as Paddle, which lets infinities and NaN pass
            return backward(context, gradient)

    def record_and_run(context: Any, *inputs: Any) -> Any:
        context.wanted = [not value.stop_gradient for value in inputs if isinstance(value, paddle.Tensor)]
        context.versions = []
        with np.errstate(all="ignore"):
            return forward(context, *inputs)

    return type(f"Fast_{name}", (layer,), {"forward": staticmethod(record_and_run), "backward": staticmethod(check_and_run)})


def _save_inputs(context: Any, *tensors: Any) -> None:
    """Keep inputs for the backward pass, with their versions, which show whether somebody has changed them until then."""
    context.saved = tensors
    context.versions = [(tensor, tensor.inplace_version) for tensor in tensors]


def _array(tensor: Any) -> Array:
    """Look at a tensor's values in place; the array must not be written to."""
    return cast("Array", np.from_dlpack(tensor.detach()))


def _tensor(array: Array) -> Any:
    """Hand an array over to Paddle without a copy."""
    return require_paddle().utils.dlpack.from_dlpack(array)


def _linear_forward(context: Any, hidden: Any, weight: Any, bias: Any | None) -> Any:
    _save_inputs(context, hidden, weight)
    out = onednn.matmul(hidden.reshape([-1, hidden.shape[-1]]), weight, bias=bias)
    return out.reshape([*hidden.shape[:-1], weight.shape[1]])


def _linear_backward(context: Any, gradient: Any) -> Any:
    paddle = require_paddle()
    hidden, weight = context.saved
    gradient = gradient.reshape([-1, gradient.shape[-1]])
    rows = hidden.reshape([-1, hidden.shape[-1]])
    gradients = (
        lambda: onednn.matmul(gradient, weight, transpose_y=True).reshape(hidden.shape),
        lambda: onednn.matmul(rows, gradient, transpose_x=True),
        lambda: paddle.matmul(paddle.ones([1, gradient.shape[0]]), gradient).reshape([-1]),
    )
    return _wanted_gradients(context, *gradients)


def _wanted_gradients(context: Any, *gradients: Callable[[], Any]) -> Any:
    """Compute the gradients that are wanted, given a function for each tensor among the operator's inputs, in their order."""
    made = tuple(compute() if wanted else None for compute, wanted in zip(gradients, context.wanted, strict=False))
    return made if len(made) > 1 else made[0]


def _norm_forward(context: Any, hidden: Any, scale: Any, shift: Any, epsilon: float) -> Any:
    values = _array(hidden)
    rows = values.reshape(-1, values.shape[-1])
    arrays = rows, _array(scale), _array(shift)
    context.epsilon, context.moments = epsilon, None
    context.normal = functools.cache(lambda: _normal(rows, epsilon))
    found = onednn.layer_norm(*arrays, epsilon, lambda: _norm(context.normal()[0], *arrays[1:]))
    if found is not None:
        out, *context.moments = found
        context.normal = functools.cache(lambda: _normal(rows, epsilon))  # what proved the first result is not kept
        _save_inputs(context, scale, hidden)
    else:
        out = _norm(context.normal()[0], *arrays[1:])
        _save_inputs(context, scale)
    return _tensor(out.reshape(values.shape))


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


def _norm_backward(context: Any, gradient: Any) -> Any:
    scale = _array(context.saved[0])
    arrived = _array(gradient).reshape(-1, scale.size)

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
        rows = _array(context.saved[1]).reshape(arrived.shape)
        found = onednn.layer_norm_gradients(
            rows, scale, context.moments, context.epsilon, arrived, lambda: [compute() for compute in gradients]
        )
        if found is not None:
            gradients = tuple(functools.partial(np.asarray, values) for values in found)
    first, *others = gradients
    shaped = (
        lambda: _tensor(first().reshape(gradient.shape)),
        *(lambda compute=compute: _tensor(compute()) for compute in others),
    )
    return _wanted_gradients(context, *shaped)


def _gelu_forward(context: Any, hidden: Any) -> Any:
    _save_inputs(context, hidden)
    context.share = functools.cache(lambda: _share(hidden.detach()))
    values = _array(hidden)
    out = onednn.gelu(values, lambda: np.multiply(values, context.share()))
    if out is None:
        out = np.multiply(values, context.share())
    else:
        context.share = functools.cache(lambda: _share(hidden.detach()))  # what proved the first result is not kept
    return _tensor(out)


def _share(hidden: Any) -> Array:
    """Return the normal distribution's probability of being below each value."""
    paddle = require_paddle()
    # Paddle's error function; numpy has none.
    share = paddle.erf(paddle.scale(hidden, math.sqrt(0.5)))
    return _array(paddle.scale(share, 0.5, 0.5))


def _gelu_backward(context: Any, gradient: Any) -> Any:
    values, arrived = _array(context.saved[0]), _array(gradient)

    def slope() -> Array:
        # Phi(x) + x phi(x), with the normal distribution's probability and density
        found: Array = values * values
        found *= np.float32(-0.5)
        np.exp(found, out=found)
        found *= np.float32(1 / math.sqrt(2 * math.pi))
        found *= values
        found += context.share()
        found *= arrived
        return found

    found = onednn.gelu_gradient(values, arrived, slope)
    return _tensor(slope() if found is None else found)


def _draw_mask(shape: tuple[int, ...], probability: float) -> DropoutMask:
    """Draw which values dropout keeps; return that and their scale."""
    # From Paddle's generator, so that a seed and a resumed random state decide it.
    seed = require_paddle().randint(0, 2**31 - 1, [4], dtype="int32").numpy()
    count, steps = math.prod(shape), dropout_steps(probability)
    bits = np.random.SFC64(seed).random_raw(-(-count // 4)).view(np.uint16)[:count]
    return (bits >= steps).reshape(shape), np.float32(_STEPS / (_STEPS - steps))


def _apply_mask(values: Array, kept: DropoutMask) -> Array:
    """Return the values that are kept, scaled, and zeros."""
    out = values * kept[0]
    out *= kept[1]
    return out


def _dropout_forward(context: Any, hidden: Any, probability: float) -> Any:
    values = _array(hidden)
    context.kept = _draw_mask(values.shape, probability)
    return _tensor(_apply_mask(values, context.kept))


def _dropout_backward(context: Any, gradient: Any) -> Any:
    return _tensor(_apply_mask(_array(gradient), context.kept))


def _split_heads(values: Array, heads: int) -> Array:
    """Copy (B, L, D) into (B, heads, L, D / heads)."""
    batch, length, width = values.shape
    return np.ascontiguousarray(values.reshape(batch, length, heads, width // heads).transpose(0, 2, 1, 3))


def _join_heads(tensor: Any) -> Array:
    batch, heads, length, width = tensor.shape
    return np.ascontiguousarray(_array(tensor).transpose(0, 2, 1, 3)).reshape(batch, length, heads * width)


def _softmax(scores: Array, mask: Any | None) -> Array:
    """Return the softmax of masked scores over the last axis, in memory of its own."""
    weights: Array = np.array(scores) if mask is None else scores + _array(mask)
    weights -= weights.max(axis=-1, keepdims=True)
    np.exp(weights, out=weights)
    weights /= np.einsum("bhij->bhi", weights)[..., None]
    return weights


def _attention_forward(context: Any, query: Any, key: Any, value: Any, mask: Any | None, heads: int, probability: float) -> Any:
    queries = _split_heads(_array(query), heads)
    queries = queries * np.float32(queries.shape[-1] ** -0.5)
    split = [_tensor(queries), _tensor(_split_heads(_array(key), heads)), _tensor(_split_heads(_array(value), heads))]
    weights = _softmax(_array(onednn.matmul(split[0], split[1], transpose_y=True)), mask)
    kept = _draw_mask(weights.shape, probability) if probability else None
    used = weights if kept is None else _apply_mask(weights, kept)
    out = _join_heads(onednn.matmul(_tensor(used), split[2]))
    context.kept = split, weights, kept, out
    return _tensor(out.copy())


def _attention_backward(context: Any, gradient: Any) -> Any:
    (queries, keys, values), weights, kept, out = context.kept
    heads = queries.shape[1]
    by_head = (*out.shape[:2], heads, out.shape[2] // heads)
    arrived = _array(gradient)
    split = _tensor(_split_heads(arrived, heads))
    # Through softmax: weights * (their gradients - sum of weights * their gradients); that sum equals the one of outputs times
    # theirs, dropout included (Dao et al. 2022, "FlashAttention", appendix B.2).
    balance = np.einsum("blhd,blhd->bhl", arrived.reshape(by_head), out.reshape(by_head))[..., None]
    slopes = np.array(_array(onednn.matmul(split, values, transpose_y=True)))
    used = weights
    if kept is not None:
        slopes *= kept[0]
        slopes *= kept[1]
        used = _apply_mask(weights, kept)
    slopes -= balance
    slopes *= weights
    scores = _tensor(slopes)
    scale = np.float32(by_head[-1] ** -0.5)
    gradients = (
        lambda: _tensor(_join_heads(onednn.matmul(scores, keys)) * scale),
        lambda: _tensor(_join_heads(onednn.matmul(scores, queries, transpose_x=True))),
        lambda: _tensor(_join_heads(onednn.matmul(_tensor(used), split, transpose_x=True))),
        lambda: None,
    )
    return _wanted_gradients(context, *gradients)
