"""Products of Paddle's tensors by either kernel, in float32 or of bfloat16 factors, outside of autograd."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from paddlenlp_embtune.compat.onednn import _primitives, _tasks
from paddlenlp_embtune.compat.onednn._proof import is_product, is_rounded
from paddlenlp_embtune.compat.paddle import empty_on_cpu, require_paddle
from paddlenlp_embtune.errors import HostError

__all__ = ["onednn_matmul", "onednn_rounding", "paddle_matmul"]


def paddle_matmul(left: Any, right: Any, *, transpose_x: bool, transpose_y: bool, bias: Any | None) -> Any:
    """Multiply by Paddle's own kernels, bfloat16 factors in float32, as Paddle has no kernel for them on a CPU."""
    paddle = require_paddle()
    left, right = (each.astype("float32") if each.dtype == paddle.bfloat16 else each for each in (left, right))
    if bias is None:
        return paddle.matmul(left, right, transpose_x=transpose_x, transpose_y=transpose_y)
    left, right = left.t() if transpose_x else left, right.t() if transpose_y else right
    return paddle.addmm(bias.unsqueeze(0), left, right)


def onednn_matmul(left: Any, right: Any, *, transpose_x: bool, transpose_y: bool, bias: Any | None) -> Any | None:
    """Multiply by oneDNN; None where it cannot.

    The first product of every shape and layout is checked; where it is wrong, that shape stays Paddle's.
    """
    paddle = require_paddle()
    given = (left, right) if bias is None else (left, right, bias)
    if left.dtype != right.dtype or not all(_takes(paddle, tensor) for tensor in given):
        return None
    left, right = _with_unit_stride(left), _with_unit_stride(right)
    product = _tasks.Product(_layout(left, transpose_x), _layout(right, transpose_y), bias is not None)
    if not _fits(product, bias):
        return None
    primitive = _primitive(product)
    if primitive is None:
        return None
    bias = None if bias is None else bias.contiguous()
    out = _new(product.shape, paddle.float32, proven=primitive.proven)
    addresses = (left.data_ptr(), right.data_ptr(), out.data_ptr())
    if not primitive.run(*addresses, *(() if bias is None else (bias.data_ptr(),))):
        return None
    if not primitive.proven:
        primitive.proven = is_product(out, left, right, transpose_x=transpose_x, transpose_y=transpose_y, bias=bias)
    return out if primitive.proven else None


def onednn_rounding(tensor: Any) -> Any | None:
    """Round float32 values to bfloat16 by oneDNN; None where it cannot.

    The first rounding of every size is checked.
    """
    paddle = require_paddle()
    size = math.prod(tensor.shape)
    if tensor.dtype != paddle.float32 or not size or not _takes(paddle, tensor):
        return None
    primitive = _primitive(_tasks.Rounding(size))
    if primitive is None:
        return None
    tensor = tensor.contiguous()
    out = _new(tensor.shape, paddle.bfloat16, proven=primitive.proven)
    if not primitive.run(tensor.data_ptr(), out.data_ptr()):
        return None
    if not primitive.proven:
        primitive.proven = is_rounded(out, tensor)
    return out if primitive.proven else None


def _primitive(task: _primitives.Task) -> _primitives.Primitive | None:
    """Return what does a task, as long as nobody found a wrong result of it."""
    try:
        primitive = _primitives.primitive_for(task)
    except HostError:
        return None
    return None if primitive is None or primitive.proven is False else primitive


def _new(shape: Sequence[int], dtype: Any, *, proven: bool | None) -> Any:
    """Make a tensor whose values will be written; where it is not known that they are, they are NaN first."""
    return empty_on_cpu(shape, dtype) if proven else require_paddle().full(shape, math.nan, dtype)


def _takes(paddle: Any, tensor: Any) -> bool:
    return (
        tensor.dtype in (paddle.float32, paddle.bfloat16)
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
    return _primitives.Layout(shape, strides, bf16=tensor.dtype == require_paddle().bfloat16)


def _fits(product: _tasks.Product, bias: Any | None) -> bool:
    """Whether the shapes go together and no axis is empty; Paddle's kernels name what is wrong with others."""
    left, right = product.left.shape, product.right.shape
    if bias is not None and (len(left) != 2 or tuple(bias.shape) != right[-1:] or bias.dtype != require_paddle().float32):
        return False
    return 2 <= len(left) == len(right) <= 4 and left[:-2] == right[:-2] and left[-1] == right[-2] and all(left) and all(right)
