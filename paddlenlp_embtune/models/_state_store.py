"""Where the states of frozen layers are kept: in memory, or in a file without a name beyond a size."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["HALF_ERROR", "StateStore"]

HALF_ERROR = 2.0**-10
"""The most that a row may change, as a share of its length, to be kept in half precision: its own rounding is half of this."""

Floats = npt.NDArray[np.float32]


class StateStore:
    """Rows of states that are written once, in order, and read in any order.

    Args:
        rows: N.
        width: H, the values of a row.
        half: keep float16; otherwise float32.
        folder: of the file; None keeps the rows in memory. The file has no name, so that nothing is left behind however the
            process ends; all of its space is taken at once.
    Raises:
        OSError: the disk has no room for the file.
    """

    def __init__(self, rows: int, width: int, *, half: bool, folder: Path | None = None) -> None:
        kind: np.dtype[Any] = np.dtype(np.float16 if half else np.float32)
        self.half = half
        self._filled = 0
        self._states: npt.NDArray[Any]
        if folder is None or not rows:
            self._states = np.empty((rows, width), kind)
            return
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            size = rows * width * kind.itemsize
            if hasattr(os, "posix_fallocate"):
                # A file with holes would fail in the middle of training, by a signal, when the disk is full.
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
            self._states = np.memmap(file, kind, mode="r+", shape=(rows, width))

    @property
    def nbytes(self) -> int:
        """Bytes of all rows."""
        return int(self._states.nbytes)

    @property
    def in_file(self) -> bool:
        """Whether the rows are in a file."""
        return isinstance(self._states, np.memmap)

    def append(self, states: Floats) -> int | None:
        """Write further rows, (M, H) float32; return the number of the first, or None if half precision does not hold them."""
        start = self._filled
        kept = self._states[start : start + len(states)]
        with np.errstate(over="ignore"):
            kept[:] = states
        if self.half and not _is_close(kept.astype(np.float32), states):
            return None
        self._filled += len(states)
        return start

    def read(self, start: int, length: int) -> npt.NDArray[Any]:
        """Return rows as they are kept, (``length``, H)."""
        return self._states[start : start + length]


def _is_close(kept: Floats, states: Floats) -> bool:
    """Whether no row has changed by more than ``HALF_ERROR`` of its length; infinite and unknown values have."""
    with np.errstate(invalid="ignore"):
        errors = np.einsum("ij,ij->i", kept - states, kept - states)
    return bool(np.all(errors <= HALF_ERROR**2 * np.einsum("ij,ij->i", states, states)))
