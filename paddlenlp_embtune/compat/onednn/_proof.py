"""Whether a first result of oneDNN is right, found in less time than another library would take for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["is_product", "is_rounded"]

_UNIT = 2.0**-24  # half the distance of float32 values at 1
_ROUNDINGS = 4  # of the result, for every term of the sum
_SMALLEST = 2.0**-126  # below it a value may be taken for zero
_BF16_UNIT, _BF16_LARGEST = 2.0**-8, (2 - 2.0**-7) * 2.0**127


def is_product(out: Any, left: Any, right: Any, *, transpose_x: bool, transpose_y: bool, bias: Any | None) -> bool | None:
    """Whether a product of tensors differs from the exact one by no more than rounding; None where infinities or NaN hide it.

    Both are multiplied by a random vector and compared, in double precision.

    Source:
        Freivalds 1977, "Probabilistic Machines Can Use Less Running Time"
    """
    found, *factors = (_wide(tensor) for tensor in (out, left, right))
    if transpose_x:
        factors[0] = factors[0].swapaxes(-1, -2)
    if transpose_y:
        factors[1] = factors[1].swapaxes(-1, -2)
    added = np.zeros(found.shape[-1]) if bias is None else _wide(bias)
    vector = np.random.default_rng(0).uniform(1, 2, (found.shape[-1], 1))
    with np.errstate(all="ignore"):
        expected = factors[0] @ (factors[1] @ vector) + added @ vector
        # A value of the product is at most the length of a row times the length of a column (Cauchy and Schwarz).
        rows, columns = (np.sqrt(np.square(each).sum(axis=axis).max()) for each, axis in zip(factors, (-1, -2), strict=True))
        largest = rows * columns + np.abs(added).max()
        lost = _SMALLEST * (1 + max(np.abs(each).max() for each in factors))
        if not np.isfinite(largest):
            return None
        tolerance = factors[0].shape[-1] * (_ROUNDINGS * _UNIT * largest + lost) * np.linalg.norm(vector)
        return bool((np.abs(found @ vector - expected) <= tolerance).all())


def is_rounded(out: Any, tensor: Any) -> bool | None:
    """Whether bfloat16 values are as near to float32 ones as they can be; None where infinities or NaN hide it."""
    found, values = _wide(out), _wide(tensor)
    if not np.abs(values).max() <= _BF16_LARGEST:
        return None
    return bool((np.abs(found - values) <= _BF16_UNIT * np.abs(values) + _SMALLEST).all())


def _wide(tensor: Any) -> npt.NDArray[np.float64]:
    array: npt.NDArray[np.float64] = tensor.detach().astype("float64").numpy()
    return array
