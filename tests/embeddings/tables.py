"""Invented tables of embeddings."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def gaussian(rows: int = 11, width: int = 8, *, seed: int = 0, mean: float = 0.0) -> npt.NDArray[np.float32]:
    """Draw a table, (rows, width)."""
    return np.random.default_rng(seed).standard_normal((rows, width), dtype=np.float32) + np.float32(mean)
