"""The size of rows: means that keep it, tables that are brought to it, and rows drawn like others."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.errors import VectorError
from paddlenlp_embtune.vectors import sampling
from paddlenlp_embtune.vectors.sampling import Table

__all__ = ["match_scale", "mean_at_norm", "rms_of"]


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


def match_scale(table: Table, reference: Table, *, reference_rows: npt.ArrayLike | None = None) -> Table:
    """Scale a table by one factor so that its rows are as large as those of another, by root mean square.

    Args:
        table: (V, D) float32; its zero rows, such as padding, do not count and stay zero.
        reference: (R, E) float32, of a width that may differ; the norms are matched, not the single values.
        reference_rows: the ordinary rows of the reference, without those of special tokens; None takes all but zero rows.
    Shapes:
        returns: (V, D) float32
    Raises:
        VectorError: a table is not as above, or has zero rows only.
    Source:
        ours
    """
    sampling.check_table(table)
    sampling.check_table(reference, "reference")
    if reference_rows is not None:
        reference = reference[sampling.check_ids(reference_rows, len(reference), "reference_rows")]
    scaled: Table = (table * np.float64(_norm_rms(reference, "reference") / _norm_rms(table, "table"))).astype(np.float32)
    return scaled


def _norm_rms(table: Table, name: str) -> float:
    rows = table[table.any(axis=1)]
    if not len(rows):
        raise VectorError(f"all {len(table)} rows of {name} are zero and have no scale; legal: one other row or more")
    return rms_of(rows) * float(np.sqrt(table.shape[1]))
