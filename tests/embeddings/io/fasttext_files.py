"""fastText's ``.bin``, written byte by byte after the layout that its own source saves."""

from __future__ import annotations

import struct

import numpy as np


def pack(
    words: list[bytes],
    matrix: np.ndarray,
    *,
    buckets: int = 0,
    shortest: int = 0,
    longest: int = 0,
    labels: tuple[bytes, ...] = (),
    quantized: bool = False,
    pruned: int = -1,
    version: int = 12,
    model: int = 2,
    width: int | None = None,
    rows: int | None = None,
) -> bytes:
    """Return a model; ``width`` and ``rows`` lie."""
    head = struct.pack("<2i", 793712314, version)
    numbers = (matrix.shape[1] if width is None else width, 5, 5, 1, 5, 1, 2, model, buckets, shortest, longest, 100)
    head += struct.pack("<12id", *numbers, 1e-4)
    head += struct.pack("<3i2q", len(words) + len(labels), len(words), len(labels), 1000, pruned)
    for kind, names in enumerate((words, labels)):
        for name in names:
            head += name + b"\0" + struct.pack("<qb", 3, kind)
    head += struct.pack("<?2q", quantized, len(matrix) if rows is None else rows, matrix.shape[1])
    return head + matrix.astype("<f4").tobytes() + struct.pack("<?2q", False, 0, matrix.shape[1])
