"""Paddle's tensors as arrays of numpy and back, without a copy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.compat.paddle import cpu_place, empty_on_cpu, require_paddle

__all__ = ["Array", "array_of", "as_rows", "empty_tensor", "fresh_array", "tensor_of"]

Array = npt.NDArray[np.float32]


class _Memory:
    """The memory of a float32 tensor without gaps; an array of it keeps the tensor."""

    def __init__(self, tensor: Any, *, read_only: bool) -> None:
        self.tensor = tensor
        shape = tuple(tensor.shape)
        self.__array_interface__ = {"version": 3, "typestr": "<f4", "shape": shape, "data": (tensor.data_ptr(), read_only)}


def array_of(tensor: Any) -> Array:
    """Look at a tensor's values in place; the array must not be written to."""
    if tensor.dtype == require_paddle().float32 and tensor.is_contiguous() and tensor.size:
        return np.asarray(_Memory(tensor, read_only=True))  # a quarter of the time that DLPack takes
    return cast("Array", np.from_dlpack(tensor.detach()))


def fresh_array(tensor: Any) -> Array:
    """Take a float32 result that nobody else holds and that lies without gaps, to change it in place."""
    return np.asarray(_Memory(tensor, read_only=False)) if tensor.size else np.empty(tensor.shape, np.float32)


def empty_tensor(shape: Sequence[int]) -> Any:
    """Make a float32 tensor on the CPU whose values are to be written; for :func:`fresh_array`."""
    return empty_on_cpu(shape, require_paddle().float32)


def tensor_of(array: Array) -> Any:
    """Hand an array over to Paddle without a copy."""
    paddle = require_paddle()
    # What paddle.from_dlpack does, which tries twice and looks for other devices.
    return paddle.Tensor(paddle.base.core.from_dlpack(array.__dlpack__()), place=cpu_place())


def as_rows(tensor: Any) -> Any:
    """Look at (..., D) as (N, D)."""
    shape = tensor.shape
    return tensor if len(shape) == 2 else require_paddle()._C_ops.reshape(tensor, [-1, shape[-1]])
