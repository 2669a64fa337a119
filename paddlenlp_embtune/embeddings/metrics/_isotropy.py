"""Isotropy and related measures of an embedding table, alone or compared with its start.

Tables are (V, D) float32. A zero row, such as padding, has no direction: measures of directions skip it, so results are never
NaN. Functions that sample at most ``max_rows`` rows, drawn with ``seed``, return an error estimate. VectorError is raised for
invalid tables, non-finite values, and arguments out of range.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.embeddings.metrics import sampling
from paddlenlp_embtune.embeddings.metrics.sampling import EXACT_ROWS, Estimate, Floats, Table
from paddlenlp_embtune.errors import VectorError

__all__ = [
    "alignment",
    "effective_rank",
    "first_direction_share",
    "mean_cosine",
    "partition_ratio",
    "uniformity",
    "untouched_share",
    "update_ratio",
]

_STEP = 2_048


def mean_cosine(table: Table) -> float:
    """Return the mean cosine of all pairs of rows: 0 if directions are uniform, 1 if all are equal.

    Exact without computing pairs: the squared norm of the sum of n unit vectors is n plus twice the sum of cosines. Returns 0
    if fewer than two rows have a direction.

    Source:
        Ethayarajh (2019), "anisotropy", there over random pairs
    """
    sampling.check_table(table)
    total, count = np.zeros(table.shape[1]), 0
    for block in sampling.blocks(table):
        norms = np.sqrt(np.einsum("vd,vd->v", block, block))
        total += np.divide(1.0, norms, out=np.zeros_like(norms), where=norms != 0) @ block
        count += np.count_nonzero(norms)
    return float((total @ total - count) / (count * (count - 1))) if count > 1 else 0.0


def partition_ratio(table: Table, *, seed: int = 0) -> float:
    """Return the smallest partition function divided by the largest, 0 to 1; 1 for an isotropic table.

    The partition function of a direction c is the sum of exp(c . row) over all rows, zero rows included; the directions are
    the eigenvectors of the Gram matrix and their opposites. Short rows bring it near 1: compare tables of one scale. Above
    65,536 rows the directions are those of so many sampled rows, and only the 8 that are lowest and the 8 that are highest
    among a quarter of them are summed over all rows: for these the ratio is exact.

    Source:
        Mu and Viswanath (2018), I(W); both signs are ours, for an eigenvector has none of its own
    """
    sampling.check_table(table)
    drawn = sampling.draw_sample(len(table), max_rows=EXACT_ROWS, seed=seed)
    gram = np.sum([block.T @ block for block in sampling.blocks(table, drawn)], axis=0)
    if np.trace(gram) > 1e70:
        raise VectorError(f"rows are up to {math.sqrt(np.trace(gram)):.0e} long, too long for exp; expected up to 1e35 in all")
    directions = np.linalg.eigh(gram)[1].astype(np.float32)
    if drawn is not None:
        logs = _log_partitions(table[drawn[: EXACT_ROWS // 4]], directions)
        directions = directions[:, np.unique([*logs.min(axis=0).argsort()[:8], *logs.max(axis=0).argsort()[-8:]])]
    logs = _log_partitions(table, directions)
    return math.exp(logs.min() - logs.max())


def _log_partitions(table: Table, directions: Table) -> Floats:
    """Return the logs of the partition functions, (2, K): of K directions and of their opposites."""
    top = np.full((2, directions.shape[1]), -np.inf, dtype=np.float32)
    total = np.zeros(top.shape)
    for at in range(0, len(table), _STEP):
        score = np.ascontiguousarray((table[at : at + _STEP] @ directions).T)
        higher = np.maximum(top, [score.max(axis=1), -score.min(axis=1)])
        total *= np.exp(top - higher)
        total[0] += np.exp(score - higher[0, :, None]).sum(axis=1, dtype=np.float64)
        total[1] += np.exp(-higher[1, :, None] - score).sum(axis=1, dtype=np.float64)
        top = higher
    return np.asarray(top + np.log(total))


def effective_rank(table: Table, *, max_rows: int = EXACT_ROWS, seed: int = 0) -> Estimate:
    """Return the effective rank, 1 to D: how many directions are in use, by the entropy of the singular values.

    The rows are not centred; 0 if all are zero. A sample may find a little more than D.

    Source:
        Roy and Vetterli (2007), definition 1
    """

    def statistic(sums: Floats) -> float:
        sizes = np.sqrt(np.linalg.eigvalsh(sums[:-1, :-1]).clip(0.0))
        share = sizes[sizes > 0] / max(sizes.sum(), 1e-300)
        return math.exp(-float(share @ np.log(share))) if share.size else 0.0

    sampling.check_table(table)
    return sampling.estimate_moments(table, statistic, max_rows=max_rows, seed=seed)


def first_direction_share(table: Table, *, max_rows: int = EXACT_ROWS, seed: int = 0) -> Estimate:
    """Return the share of the variance about the mean row along its main direction: 1 where all rows lie on one line.

    0 where all rows are equal; that they huddle around one point shows in ``mean_cosine``, not here. Where no direction
    leads, a sample of n rows finds up to about 2 * sqrt(D / n) of the share too much, and its error does not show it.

    Source:
        Jolliffe (2002), Principal Component Analysis, section 6.1.1
    """

    def statistic(sums: Floats) -> float:
        mean = sums[-1, :-1] / sums[-1, -1]
        variances = np.linalg.eigvalsh(sums[:-1, :-1] / sums[-1, -1] - np.outer(mean, mean)).clip(0.0)
        return float(variances[-1] / max(variances.sum(), 1e-300))

    sampling.check_table(table)
    return sampling.estimate_moments(table, statistic, about_row=-1, max_rows=max_rows, seed=seed)


def alignment(
    table: Table, pairs: npt.ArrayLike, *, alpha: float = 2.0, max_pairs: int = EXACT_ROWS, seed: int = 0
) -> Estimate:
    """Return the mean distance, to the power alpha, of partners on the unit sphere: 0 where they coincide.

    ``pairs`` are (P, 2) row numbers; of more than ``max_pairs`` a sample is read. Pairs with a zero row are left out; 0 where
    all are. Over all pairs within a group of rows, alpha 2 gives 2 * (1 - the mean cosine within the group).

    Source:
        Wang and Isola (2020), section 4.1
    """
    sampling.check_table(table)
    if not 0 < alpha < math.inf or np.shape(pairs)[1:] != (2,):
        raise VectorError(f"alpha is {alpha} and pairs have the shape {np.shape(pairs)}; expected above 0, and (pairs, 2)")
    chosen = sampling.check_ids(pairs, len(table), "pairs")
    drawn = sampling.draw_sample(len(chosen), max_rows=max_pairs, seed=seed)
    distances = []
    for some in np.array_split(chosen if drawn is None else chosen[drawn], -(-len(chosen) // _STEP)):
        left, right = sampling.unit_rows(table[some[:, 0]]), sampling.unit_rows(table[some[:, 1]])
        distances.append(np.linalg.norm(left - right, axis=1)[left.any(axis=1) & right.any(axis=1)] ** alpha)
    values = np.concatenate(distances)
    if len(values) < 2:
        return Estimate(float(values.sum()), 0.0, len(values), len(values), 1)
    return sampling.estimate_mean(values, population=len(values) if drawn is None else len(chosen))


def uniformity(table: Table, *, t: float = 2.0, max_rows: int = 1_024, seed: int = 0) -> Estimate:
    """Return the log of the mean of exp(-t * squared distance) over all pairs on the unit sphere, 0 in one point.

    All pairs among up to ``max_rows`` rows are compared. 0 where fewer than two rows have a direction.

    Source:
        Wang and Isola (2020), section 4.1; the error is the jackknife of a U-statistic, Arvesen (1969)
    """
    sampling.check_table(table)
    if not 0 < t < math.inf:
        raise VectorError(f"t is {t}; expected above 0")
    drawn = sampling.draw_sample(len(table), max_rows=max_rows, seed=seed)
    unit = sampling.unit_rows(table if drawn is None else table[drawn])
    unit = unit[unit.any(axis=1)].astype(np.float32)
    if (count := len(unit)) < 2:
        return Estimate(0.0, 0.0, count, count, 1)
    logs = np.empty(count)
    for at in range(0, count, 256):
        cosine = unit[at : at + 256] @ unit.T
        cosine[np.arange(len(cosine)), np.arange(at, at + len(cosine))] = -np.inf
        best = cosine.max(axis=1, keepdims=True).clip(max=1.0)
        near = np.exp(2 * t * (cosine - best)).sum(axis=1, dtype=np.float64)
        logs[at : at + 256] = 2 * t * (best[:, 0] - 1) + np.log(near / (count - 1))
    top = float(logs.max())
    mean = sampling.estimate_mean(np.exp(logs - top), population=count if drawn is None else len(table))
    return dataclasses.replace(mean, value=top + math.log(mean.value), standard_error=2 * mean.standard_error / mean.value)


def update_ratio(start: Table, now: Table) -> float:
    """Return the length of the whole change over the length of the start, 0 or more; 0 where the start is zero."""
    sampling.check_pair(start, now)
    before = change = 0.0
    for at in range(0, len(start), _STEP):
        rows = start[at : at + _STEP].astype(np.float64)
        before += float(np.vdot(rows, rows))
        np.subtract(now[at : at + _STEP], rows, out=rows)
        change += float(np.vdot(rows, rows))
    return math.sqrt(change / before) if before else 0.0


def untouched_share(start: Table, now: Table) -> float:
    """Return the share of rows that equal their start in every value, 0 to 1."""
    sampling.check_pair(start, now)
    steps = (slice(at, at + _STEP) for at in range(0, len(start), _STEP))
    return sum(np.count_nonzero((now[step] == start[step]).all(axis=1)) for step in steps) / len(start)
