"""Drift of each row of an embedding table. Needs numpy only."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["cosine_drift", "norm_drift", "row_norms"]

Table = npt.NDArray[np.float32]


def row_norms(table: Table) -> Table:
    """Return the Euclidean norm of every row.

    Shapes:
        table: (V, D) float32; returns: (V,) float32
    """
    norms: Table = np.sqrt(np.einsum("vd,vd->v", table, table))
    return norms


def cosine_drift(start: Table, now: Table) -> Table:
    """Return one minus the cosine between every row and where it started, 0 to 2; 0 where either row is zero.

    Shapes:
        start, now: (V, D) float32; returns: (V,) float32
    Source:
        ours; the cosine distance of Salton and McGill (1983), row by row
    """
    scale = row_norms(start) * row_norms(now)
    dots = np.einsum("vd,vd->v", start, now)
    cosine = np.divide(dots, scale, out=np.ones_like(scale), where=scale > 0)
    drift: Table = np.clip(1.0 - cosine, 0.0, 2.0)
    return drift


def norm_drift(start: Table, now: Table) -> Table:
    """Return the change of every row's norm relative to where it started; 0 where it started at zero.

    Shapes:
        start, now: (V, D) float32; returns: (V,) float32
    Source:
        ours
    """
    before = row_norms(start)
    change: Table = np.divide(row_norms(now) - before, before, out=np.zeros_like(before), where=before > 0)
    return change
