"""Paddle's tensors as arrays of numpy and back, without a copy."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.compat.paddle import require_paddle

__all__ = ["Array", "array_of", "tensor_of"]

Array = npt.NDArray[np.float32]


def array_of(tensor: Any) -> Array:
    """Look at a tensor's values in place; the array must not be written to."""
    return cast("Array", np.from_dlpack(tensor.detach()))


def tensor_of(array: Array) -> Any:
    """Hand an array over to Paddle without a copy."""
    return require_paddle().utils.dlpack.from_dlpack(array)
