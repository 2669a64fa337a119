"""Drift of each row of an embedding table. Needs numpy only."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

__all__ = ["RowChanges", "compare_rows", "cosine_drift", "norm_drift", "row_norms"]

_STEP = 2_048
"""Rows at a time, which stay in a processor's caches."""

Table = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True, eq=False)
class RowChanges:
    """What has become of every row of a table, measured in one pass over memory.

    Args:
        touched: (V,) bool, whether any value differs.
        norms_before: (V,) float32, Euclidean norms at the start.
        norms: (V,) float32, norms now.
        cosine: (V,) float32, as :func:`cosine_drift`.
        norm: (V,) float32, as :func:`norm_drift`.
        update_ratio: the length of the whole change over the length of the start; 0 where the start is zero.
    """

    touched: npt.NDArray[np.bool_]
    norms_before: Table
    norms: Table
    cosine: Table
    norm: Table
    update_ratio: float


def compare_rows(start: Table, now: Table) -> RowChanges:
    """Compare every row with where it started.

    Shapes:
        start, now: (V, D) float32
    """
    touched = np.empty(len(start), dtype=np.bool_)
    sums = np.empty((4, len(start)), dtype=np.float32)
    for at in range(0, len(start), _STEP):
        part = slice(at, at + _STEP)
        before, after = start[part], now[part]
        touched[part] = (before != after).any(axis=1)
        change = after - before
        pairs = ((before, before), (after, after), (before, after), (change, change))
        for row, (left, right) in zip(sums, pairs, strict=True):
            np.einsum("vd,vd->v", left, right, out=row[part])
    whole, changed = sums[0].sum(dtype=np.float64), sums[3].sum(dtype=np.float64)
    norms_before, norms = np.sqrt(sums[0]), np.sqrt(sums[1])
    return RowChanges(
        touched=touched,
        norms_before=norms_before,
        norms=norms,
        cosine=_cosine_drift(sums[2], norms_before * norms),
        norm=_norm_drift(norms_before, norms),
        update_ratio=float(np.sqrt(changed / whole)) if whole else 0.0,
    )


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
    return _cosine_drift(np.einsum("vd,vd->v", start, now), row_norms(start) * row_norms(now))


def _cosine_drift(dots: Table, scale: Table) -> Table:
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
    return _norm_drift(row_norms(start), row_norms(now))


def _norm_drift(before: Table, now: Table) -> Table:
    change: Table = np.divide(now - before, before, out=np.zeros_like(before), where=before > 0)
    return change
