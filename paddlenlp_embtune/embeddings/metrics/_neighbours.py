"""Nearest neighbours in a table, and how many of them changed during tuning.

Tables are (V, D) float32. Nearness is the cosine, 0 wherever a zero row (shorter than 1e-30) takes part, so that nothing is
NaN; among equals the lower row number comes first, to within rounding. Time grows with chosen rows times V, memory does not.
VectorError is raised for tables of another kind or with values that are not finite, and for arguments outside their range.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.embeddings.metrics import sampling
from paddlenlp_embtune.embeddings.metrics.drift import cosine_drift, row_norms
from paddlenlp_embtune.embeddings.metrics.sampling import Estimate, Floats, Ids, Table
from paddlenlp_embtune.errors import VectorError

__all__ = ["Changed", "Neighbours", "kept_share", "most_changed", "nearest", "neighbourhood_overlap"]

_PAIRS = 2**22
_MIN_ROWS = 32
_STEP = 2_048
_QUERIES = 128


@dataclasses.dataclass(frozen=True)
class Neighbours:
    """The nearest neighbours of some rows, nearest first.

    Args:
        ids: (Q, k) int64 row numbers.
        cosines: (Q, k) float32, -1 to 1.
    """

    ids: Ids
    cosines: Table


@dataclasses.dataclass(frozen=True)
class Changed:
    """Rows whose neighbours have changed, most changed first.

    Args:
        rows: (Q,) int64 row numbers.
        kept: (Q,) fraction of the k initial neighbours that remain, 0 to 1.
        before: their neighbours at the start.
        after: their neighbours now.
    """

    rows: Ids
    kept: Floats
    before: Neighbours
    after: Neighbours


def nearest(table: Table, rows: npt.ArrayLike, *, k: int = 10) -> Neighbours:
    """Find the k rows of the table with the highest cosine to each of the chosen rows, which are not their own neighbours.

    Args:
        table: (V, D) float32.
        rows: (Q,) row numbers.
        k: 1 to V - 1.
    Source:
        ours; exhaustive, block by block
    """
    sampling.check_table(table)
    return _nearest(table, _check(rows, k, len(table)), k)


def _check(rows: npt.ArrayLike, k: int, count: int) -> Ids:
    chosen = sampling.check_ids(rows, count)
    if chosen.ndim != 1:
        raise VectorError(f"rows have the shape {chosen.shape}; expected one dimension")
    if not 1 <= k < count:
        raise VectorError(f"k is {k}; expected 1 to {count - 1}, one less than the table has rows")
    return chosen


def _nearest(table: Table, rows: Ids, k: int) -> Neighbours:
    norms = row_norms(table)
    odd = np.flatnonzero((norms < 1e-15) | (norms > 1e15))
    if odd.size:  # their squares exceed the range of float32
        norms[odd] = np.concatenate([np.sqrt(np.einsum("vd,vd->v", wide, wide)) for wide in sampling.blocks(table, odd)])
    scale = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 1e-30)
    found = [_search(table, scale, rows[at : at + _QUERIES], k) for at in range(0, len(rows), _QUERIES)]
    return Neighbours(np.concatenate([ids for ids, _ in found]), np.concatenate([cosines for _, cosines in found]))


def _search(table: Table, scale: Table, rows: Ids, k: int) -> tuple[Ids, Table]:
    """Scan the table once, keeping the best k of each query; only rows that beat the worst of them are sorted."""
    unit = np.ascontiguousarray(sampling.unit_rows(table[rows]).T.astype(np.float32))
    count = len(rows)
    ids = np.full((count, k), len(table), dtype=np.int64)
    best = np.full((count, k), -np.inf, dtype=np.float32)
    for at in range(0, len(table), _STEP):
        part = slice(at, at + _STEP)
        cosine = table[part] @ unit
        cosine *= scale[part, None]
        own = np.flatnonzero((rows >= at) & (rows < at + len(cosine)))
        cosine[rows[own] - at, own] = -np.inf
        bar = best[:, -1] if at or len(cosine) <= k else np.nextafter(np.partition(cosine, -k, axis=0)[-k], np.float32(-2))
        hits = np.flatnonzero(cosine > bar)
        if not hits.size:
            continue
        place, query = np.divmod(hits, count)
        all_queries = np.concatenate([np.repeat(np.arange(count), k), query])
        all_ids = np.concatenate([ids.ravel(), place + at])
        all_cosines = np.concatenate([best.ravel(), cosine[place, query]])
        order = np.lexsort((all_ids, -all_cosines, all_queries))
        ends = np.searchsorted(all_queries[order], np.arange(count))
        take = order[ends[:, None] + np.arange(k)]
        ids, best = all_ids[take], all_cosines[take]
    return ids, best.clip(-1.0, 1.0)


def kept_share(before: Neighbours, after: Neighbours) -> Floats:
    """Return for each row the fraction of its k neighbours that remain, 0 to 1.

    Both sides have k, so this is recall and precision in one; the Jaccard index is kept / (2 - kept).

    Shapes:
        returns: (Q,) float64
    Source:
        Wendlandt, Kummerfeld and Mihalcea (2018), "stability"
    """
    if before.ids.shape != after.ids.shape:
        raise VectorError(f"neighbours of shapes {before.ids.shape} and {after.ids.shape}; expected the same rows and k")
    number = np.arange(len(before.ids))[:, None] * (1 + max(before.ids.max(), after.ids.max()))
    kept: Floats = np.isin(before.ids + number, after.ids + number).mean(axis=1)
    return kept


def neighbourhood_overlap(
    start: Table, now: Table, *, rows: npt.ArrayLike | None = None, k: int = 10, max_rows: int | None = None, seed: int = 0
) -> Estimate:
    """Return the mean fraction of the k nearest neighbours that rows have kept since the start, 0 to 1.

    Of few rows, nearly all alike, the interval is too narrow: with 32 it held 87% of the time where 0.79 were kept.

    Args:
        start: (V, D) float32.
        now: (V, D) float32.
        rows: whose neighbourhoods; None for all rows.
        k: 1 to V - 1.
        max_rows: of more rows a sample is read; None is 4,194,304 / V, at least 32.
        seed: seeds the sample.
    Source:
        as ``kept_share``
    """
    sampling.check_pair(start, now)
    chosen = _check(np.arange(len(start)) if rows is None else rows, k, len(start))
    drawn = sampling.draw_sample(len(chosen), max_rows=_budget(len(start), max_rows), seed=seed)
    read = chosen if drawn is None else chosen[drawn]
    kept = kept_share(_nearest(start, read, k), _nearest(now, read, k))
    return sampling.estimate_mean(kept, population=len(chosen))


def _budget(count: int, max_rows: int | None) -> int:
    return max(_MIN_ROWS, _PAIRS // count) if max_rows is None else max_rows


def most_changed(
    start: Table, now: Table, *, rows: npt.ArrayLike | None = None, k: int = 10, count: int = 10, max_rows: int | None = None
) -> Changed:
    """Find the rows that have kept the fewest of their k nearest neighbours; among equals the one that turned further.

    Args:
        start: (V, D) float32.
        now: (V, D) float32.
        rows: among which; None for all rows.
        k: 1 to V - 1.
        count: how many to return; fewer where there are fewer.
        max_rows: of more rows, those that turned furthest are read; None is 4,194,304 / V, at least 32.
    Source:
        ours
    """
    sampling.check_pair(start, now)
    limit = _budget(len(start), max_rows)
    if count < 1 or limit < 1:
        raise VectorError(f"count is {count} and max_rows {max_rows}; expected 1 or more")
    chosen = _check(np.arange(len(start)) if rows is None else np.unique(rows), k, len(start))
    parts = np.array_split(chosen, -(-len(chosen) // _STEP))
    drift = np.concatenate([cosine_drift(start[part], now[part]) for part in parts])
    furthest = np.argpartition(-drift, min(limit, len(drift)) - 1)[:limit]
    read = chosen[furthest[np.lexsort((furthest, -drift[furthest]))]]
    before, after = _nearest(start, read, k), _nearest(now, read, k)
    kept = kept_share(before, after)
    order = np.argsort(kept, kind="stable")[:count]
    sides = [Neighbours(side.ids[order], side.cosines[order]) for side in (before, after)]
    return Changed(read[order], kept[order], *sides)
