"""Root mean square of a table, and means of rows that preserve their norm."""

from __future__ import annotations

import numpy as np

from paddlenlp_embtune.embeddings.metrics.sampling import Table

__all__ = ["mean_at_norm", "rms_of"]


def rms_of(table: Table) -> float:
    """Return the root mean square of all values, taken in float64."""
    return float(np.sqrt(np.mean(np.square(table, dtype=np.float64))))


def mean_at_norm(rows: Table) -> Table:
    """Return the mean of rows, rescaled to their mean norm.

    The mean of k unrelated rows has 1 / sqrt(k) of their norm, so its token would start out weaker than all others. Rows that
    cancel out, with a mean below a millionth of their norm, give zero.

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
