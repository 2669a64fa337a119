"""Products of Paddle's tensors by either kernel, outside of autograd."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from paddlenlp_embtune.compat.onednn import _primitives, _tasks
from paddlenlp_embtune.compat.paddle import require_paddle
from paddlenlp_embtune.errors import HostError

__all__ = ["onednn_matmul", "paddle_matmul"]

_ROUNDINGS = 4  # of each of the two results, for every term of the sum


def paddle_matmul(left: Any, right: Any, *, transpose_x: bool, transpose_y: bool, bias: Any | None) -> Any:
    """Multiply by Paddle's own kernels."""
    paddle = require_paddle()
    if bias is None:
        return paddle.matmul(left, right, transpose_x=transpose_x, transpose_y=transpose_y)
    left, right = left.t() if transpose_x else left, right.t() if transpose_y else right
    return paddle.addmm(bias.unsqueeze(0), left, right)


def onednn_matmul(left: Any, right: Any, *, transpose_x: bool, transpose_y: bool, bias: Any | None) -> Any | None:
    """Multiply by oneDNN; None where it cannot.

    The first product of every shape and layout is compared with Paddle's; where they differ, that shape stays Paddle's.
    """
    paddle = require_paddle()
    given = (left, right) if bias is None else (left, right, bias)
    if not all(_takes(paddle, tensor) for tensor in given):
        return None
    left, right = _with_unit_stride(left), _with_unit_stride(right)
    product = _tasks.Product(_layout(left, transpose_x), _layout(right, transpose_y), bias is not None)
    if not _fits(product, bias):
        return None
    try:
        primitive = _primitives.primitive_for(product)
    except HostError:
        return None
    if primitive is None or primitive.proven is False:
        return None
    bias = None if bias is None else bias.contiguous()
    out = paddle.empty(product.shape, dtype="float32") if primitive.proven else paddle.full(product.shape, math.nan, "float32")
    addresses = (left.data_ptr(), right.data_ptr(), out.data_ptr())
    if not primitive.run(*addresses, *(() if bias is None else (bias.data_ptr(),))):
        return None
    if not primitive.proven:
        other = paddle_matmul(left, right, transpose_x=transpose_x, transpose_y=transpose_y, bias=bias)
        primitive.proven = _agree(out, other, left, right)
    return out if primitive.proven else None


def _agree(found: Any, other: Any, left: Any, right: Any) -> bool | None:
    """Whether a product differs from another library's by no more than rounding; None where what is not finite hides it."""
    ours, theirs, *factors = (
        np.asarray(np.from_dlpack(tensor.detach()), dtype=np.float32) for tensor in (found, other, left, right)
    )
    with np.errstate(all="ignore"):
        # A sum of products is at most the product of the lengths of a row and a column.
        lengths = [np.sqrt(np.square(values, dtype=np.float64).sum(axis=axis).max()) for values in factors for axis in (-1, -2)]
        largest = max(lengths[:2]) * max(lengths[2:]) + np.abs(theirs).max()
        if not np.isfinite(largest):
            return None
        return bool(np.abs(ours - theirs).max() <= _ROUNDINGS * max(left.shape) * 2.0**-24 * largest)


def _takes(paddle: Any, tensor: Any) -> bool:
    return (
        tensor.dtype == paddle.float32
        and tensor.place.is_cpu_place()
        and tensor.is_dense()
        and (tensor.stop_gradient or not paddle.is_grad_enabled())
    )


def _with_unit_stride(tensor: Any) -> Any:
    """Return a tensor whose rows or columns lie side by side, which is the same one nearly always."""
    if tensor.is_contiguous() or (tensor.ndim == 2 and _is_matrix(*tensor.shape, *tensor.strides)):
        return tensor
    return tensor.contiguous()


def _is_matrix(rows: int, columns: int, down: int, along: int) -> bool:
    """Whether the values of a matrix lie by rows or by columns, perhaps with gaps between these, and none is read twice."""
    return min(rows, columns) > 1 and ((along == 1 and down >= columns) or (down == 1 and along >= rows))


def _layout(tensor: Any, transposed: bool) -> _primitives.Layout:
    shape, strides = tuple(tensor.shape), tuple(tensor.strides)
    if transposed and len(shape) > 1:
        shape, strides = (*shape[:-2], shape[-1], shape[-2]), (*strides[:-2], strides[-1], strides[-2])
    if 1 in shape[-2:]:
        strides = (*strides[:-2], shape[-1], 1)
    return _primitives.Layout(shape, strides)


def _fits(product: _tasks.Product, bias: Any | None) -> bool:
    """Whether the shapes go together and no axis is empty; Paddle's kernels name what is wrong with others."""
    left, right = product.left.shape, product.right.shape
    return (
        2 <= len(left) == len(right) <= 4
        and left[:-2] == right[:-2]
        and left[-1] == right[-2]
        and all(left)
        and all(right)
        and (bias is None or (len(left) == 2 and tuple(bias.shape) == right[-1:]))
    )
