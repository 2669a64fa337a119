"""Drift of rows by token frequency."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.embeddings.metrics import sampling
from paddlenlp_embtune.embeddings.metrics.drift import cosine_drift
from paddlenlp_embtune.embeddings.metrics.sampling import Table
from paddlenlp_embtune.errors import VectorError

__all__ = ["FrequencyBucket", "by_frequency", "drift_by_frequency"]

_STEP = 2_048


@dataclasses.dataclass(frozen=True)
class FrequencyBucket:
    """Drift of the rows in one range of token counts; statistics cover only touched rows, and are 0 if there are none.

    Args:
        name: for reports, such as ``never seen``, ``1-9`` or ``100+``.
        least: the smallest count in the bucket.
        below: the smallest count above the bucket; None if unbounded.
        rows: number of rows in the bucket.
        rows_touched: number of rows that differ from their start in any value.
        mean: mean drift.
        p50: median drift.
        p95: 95th percentile of the drift.
        max: largest drift.
    """

    name: str
    least: int
    below: int | None
    rows: int
    rows_touched: int
    mean: float
    p50: float
    p95: float
    max: float


def drift_by_frequency(
    start: Table,
    now: Table,
    counts: npt.ArrayLike,
    *,
    edges: Sequence[int] = (1, 10, 100),
    drift: Callable[[Table, Table], Table] = cosine_drift,
) -> tuple[FrequencyBucket, ...]:
    """Group the rows by token frequency and describe the drift of the touched rows of each bucket.

    Args:
        start: (V, D) float32.
        now: (V, D) float32.
        counts: (V,) integers, how often the token of each row was seen in training.
        edges: the first count of each further bucket: whole numbers from 1, ascending; the first bucket begins at 0.
        drift: ``cosine_drift`` or ``norm_drift``, or another function from two tables to a finite number per row; for zero rows
            these two return 0.
    Shapes:
        returns: one more than there are edges, from rare to frequent
    Raises:
        VectorError: tables, counts or edges are invalid, or a drift is not finite.
    Source:
        ours; percentiles interpolate linearly
    """
    sampling.check_pair(start, now)
    touched = np.empty(len(start), dtype=np.bool_)
    values = np.empty(len(start), dtype=np.float32)
    for at in range(0, len(start), _STEP):
        part = slice(at, at + _STEP)
        touched[part] = (start[part] != now[part]).any(axis=1)
        values[part] = drift(start[part], now[part])
    return by_frequency(touched, values, counts, edges=edges)


def by_frequency(
    touched: npt.NDArray[np.bool_], values: Table, counts: npt.ArrayLike, *, edges: Sequence[int] = (1, 10, 100)
) -> tuple[FrequencyBucket, ...]:
    """Group rows whose drift is known by token frequency; see :func:`drift_by_frequency`.

    Shapes:
        touched: (V,) bool, whether a row differs from its start; values: (V,) float32, its drift
    Raises:
        VectorError: counts or edges are invalid, or a drift is not finite.
    """
    seen = _check_counts(counts, len(values))
    steps = np.array(list(edges))
    if steps.dtype.kind not in "iu" or not steps.size or steps[0] < 1 or (np.diff(steps) <= 0).any():
        raise VectorError(f"edges are {list(edges)}; expected whole numbers from 1, one or more, ascending")
    broken = np.flatnonzero(~np.isfinite(values))
    if broken.size:
        raise VectorError(
            f"the drift of row {broken[0]} is {values[broken[0]]}; expected finite; look at that row in both tables"
        )
    bucket_of = np.searchsorted(steps, seen, side="right").astype(np.int16)
    bounds = [0, *steps.tolist(), None]
    return tuple(
        _describe(least, below, bucket_of == number, touched, values)
        for number, (least, below) in enumerate(itertools.pairwise(bounds))
    )


def _check_counts(counts: npt.ArrayLike, rows: int) -> npt.NDArray[np.integer[Any]]:
    seen = np.asarray(counts)
    if seen.shape != (rows,) or seen.dtype.kind not in "iu":
        raise VectorError(
            f"counts are {seen.dtype} of shape {seen.shape}; expected whole numbers of shape ({rows},), one a row"
        )
    if seen.min() < 0:
        raise VectorError(f"row {seen.argmin()} has the count {seen.min()}; expected 0 or more")
    return seen


def _describe(
    least: int, below: int | None, inside: npt.NDArray[np.bool_], touched: npt.NDArray[np.bool_], values: Table
) -> FrequencyBucket:
    moved = values[inside & touched]
    middle, high = np.percentile(moved, [50, 95]) if moved.size else (0.0, 0.0)
    return FrequencyBucket(
        name=_name(least, below),
        least=least,
        below=below,
        rows=int(np.count_nonzero(inside)),
        rows_touched=len(moved),
        mean=float(moved.mean(dtype=np.float64)) if moved.size else 0.0,
        p50=float(middle),
        p95=float(high),
        max=float(moved.max()) if moved.size else 0.0,
    )


def _name(least: int, below: int | None) -> str:
    if below is None:
        return f"{least}+"
    if below == 1:
        return "never seen"
    return f"{least}-{below - 1}" if below - least > 1 else str(least)
