"""Paddle's tensors as arrays of numpy and back, without a copy."""

from __future__ import annotations

import functools
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.compat.paddle import require_paddle

__all__ = ["Array", "array_of", "fresh_array", "tensor_of"]

Array = npt.NDArray[np.float32]


def array_of(tensor: Any) -> Array:
    """Look at a tensor's values in place; the array must not be written to."""
    return cast("Array", np.from_dlpack(tensor.detach()))


class _Memory:
    """A tensor's memory, to be written to; an array of it keeps the tensor."""

    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor
        self.__array_interface__ = {
            "version": 3,
            "typestr": "<f4",
            "shape": tuple(tensor.shape),
            "data": (tensor.data_ptr(), False),
        }


def fresh_array(tensor: Any) -> Array:
    """Take a float32 result that nobody else holds, to change it in place."""
    if not tensor.is_contiguous() or not tensor.size:
        return np.array(array_of(tensor))
    return np.asarray(_Memory(tensor))


def tensor_of(array: Array) -> Any:
    """Hand an array over to Paddle without a copy."""
    paddle = require_paddle()
    # What paddle.from_dlpack does, which tries twice and looks for other devices.
    return paddle.Tensor(paddle.base.core.from_dlpack(array.__dlpack__()), place=_cpu())


@functools.cache
def _cpu() -> Any:
    return require_paddle().CPUPlace()
