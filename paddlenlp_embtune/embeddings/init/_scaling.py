"""The size of rows, and means that keep it."""

from __future__ import annotations

import numpy as np

from paddlenlp_embtune.embeddings.metrics.sampling import Table

__all__ = ["mean_at_norm", "rms_of"]


def rms_of(table: Table) -> float:
    """Return the root mean square of all values, taken in float64."""
    return float(np.sqrt(np.mean(np.square(table, dtype=np.float64))))


def mean_at_norm(rows: Table) -> Table:
    """Return the mean of rows, stretched to the mean of their norms.

    A mean of k unrelated rows is 1 / sqrt(k) as long as they are, and its token would start out fainter than all others. Rows
    that cancel out, whose mean is less than a millionth as long as they are, give zero.

    Shapes:
        rows: (K, D) float32; returns: (D,) float32
    Source:
        ours
    """
    wide = rows.astype(np.float64)
    mean = wide.mean(axis=0)
    norm, size = np.linalg.norm(mean), np.linalg.norm(wide, axis=1).mean()
    stretched: Table = (mean * (size / norm if norm > 1e-6 * size else 0.0)).astype(np.float32)
    return stretched
