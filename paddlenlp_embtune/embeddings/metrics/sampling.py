"""Checks of tables, sampling of rows, and error estimates for sampled measures."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.errors import VectorError

__all__ = [
    "EXACT_ROWS",
    "Estimate",
    "blocks",
    "check_ids",
    "check_pair",
    "check_table",
    "draw_sample",
    "estimate_mean",
    "estimate_moments",
    "pair_rows",
    "unit_rows",
]

EXACT_ROWS = 65_536
"""Tables of up to this many rows are measured exactly; of larger ones, this many rows are sampled."""
_BLOCK_ROWS = 2_048
_PARTS = 16

Table = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A measure with its sampling error.

    Args:
        value: the measure.
        standard_error: of the value, in its unit, corrected for the size of the population; 0 where all of it was read.
        sampled: rows or pairs that were read.
        population: rows or pairs that there are.
        degrees: degrees of freedom of the standard error, for Student's t.
    """

    value: float
    standard_error: float
    sampled: int
    population: int
    degrees: int

    @property
    def exact(self) -> bool:
        """Whether the whole population was read."""
        return self.sampled == self.population

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% confidence interval, by Student's t; both ends are the value where it is exact.

        Source:
            Abramowitz and Stegun (1964), 26.7.5, for the quantile of t; 0.005 short at 8 degrees of freedom, less above
        """
        z, n = 1.959963984540054, self.degrees
        half = self.standard_error * (z + (z**3 + z) / (4 * n) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2))
        return self.value - half, self.value + half


def draw_sample(population: int, *, max_rows: int, seed: int) -> Ids | None:
    """Draw rows without replacement; in random order, so that each stretch of the sample is a sample too.

    Args:
        population: number of rows.
        max_rows: sample size, 32 or more; a population of up to this size is read whole.
        seed: seed for the generator; 0 or more.
    Returns:
        row numbers, int64; None to read all rows
    """
    if max_rows < 2 * _PARTS:
        raise VectorError(f"the sample is to have at most {max_rows} rows; expected {2 * _PARTS} or more")
    if seed < 0:
        raise VectorError(f"seed is {seed}; expected 0 or more")
    if population <= max_rows:
        return None
    return np.random.default_rng(seed).choice(population, max_rows, replace=False).astype(np.int64)


def estimate_mean(values: npt.ArrayLike, *, population: int) -> Estimate:
    """Estimate the mean of a population from values drawn without replacement; exact where all were drawn.

    Raises:
        VectorError: there are no values, or only one of several, or more than the population has.
    Source:
        Cochran (1977), Sampling Techniques, chapter 2: s / sqrt(n) * sqrt(1 - n / N)
    """
    drawn = np.asarray(values, dtype=np.float64)
    n = len(drawn)
    if not min(2, population) <= n <= population or not n:
        raise VectorError(f"{n} values stand for a population of {population}; expected 2 to {population}, or 1 of 1")
    error = float(drawn.std(ddof=1)) * math.sqrt((1 - n / population) / n) if n < population else 0.0
    return Estimate(float(drawn.mean()), error, n, population, max(n - 1, 1))


def estimate_moments(
    table: Table, statistic: Callable[[Floats], float], *, about_row: int | None = None, max_rows: int, seed: int
) -> Estimate:
    """Estimate a statistic of second moments, with its bias taken out; exact where the table is read whole.

    Args:
        table: (V, D) float32.
        statistic: from moments (D + 1, D + 1) to a number: sums of products, and in the last row the sums and the count of
            rows; it must not change when all moments grow by one factor.
        about_row: the row that moments are about, against cancellation; None for the origin.
        max_rows: as in ``draw_sample``; 16 parts of the sample are left out, one after another.
        seed: seeds the sample.
    Source:
        Tukey (1958); Wolter (2007), Introduction to Variance Estimation, chapter 4; bias and variance times 1 - n / N
    """
    rows = draw_sample(len(table), max_rows=max_rows, seed=seed)
    parts = []
    for part in [None] if rows is None else np.array_split(rows, _PARTS):
        sums = np.zeros((table.shape[1] + 1, table.shape[1] + 1))
        for block in blocks(table, part):
            np.subtract(block, 0.0 if about_row is None else table[about_row], out=block)
            sums[:-1, :-1] += block.T @ block
            sums[-1] += [*block.sum(axis=0), len(block)]
        parts.append(sums)
    total = np.sum(parts, axis=0)
    value = statistic(total)
    if rows is None:
        return Estimate(value, 0.0, len(table), len(table), 1)
    left = np.array([statistic(total - part) for part in parts])
    free = 1 - len(rows) / len(table)
    error = math.sqrt(free * (_PARTS - 1) * float(left.var()))
    return Estimate(value - free * (_PARTS - 1) * float(left.mean() - value), error, len(rows), len(table), _PARTS - 1)


def blocks(table: Table, rows: Ids | None = None) -> Iterator[Floats]:
    """Yield the rows, or those chosen, as float64, 2,048 at a time; each block overwrites the one before.

    Shapes:
        table: (V, D) float32; yields: (2048 or fewer, D) float64
    """
    count = len(table) if rows is None else len(rows)
    buffer = np.empty((min(count, _BLOCK_ROWS), table.shape[1]))
    for at in range(0, count, _BLOCK_ROWS):
        block = buffer[: min(_BLOCK_ROWS, count - at)]
        np.copyto(block, table[at : at + _BLOCK_ROWS] if rows is None else table[rows[at : at + _BLOCK_ROWS]])
        yield block


def pair_rows(rows: Mapping[str, int], others: Mapping[str, int]) -> tuple[Ids, Ids]:
    """Pair the rows of the tokens that two tables share, in the order of the first.

    Shapes:
        returns: (N,) int64 rows of the first table, and (N,) int64 rows of the second
    """
    pairs = sorted((row, others[token]) for token, row in rows.items() if token in others)
    both = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return np.ascontiguousarray(both[:, 0]), np.ascontiguousarray(both[:, 1])


def unit_rows(rows: npt.NDArray[np.float32] | Floats) -> Floats:
    """Scale every row to length one; a zero row stays zero.

    Shapes:
        rows: (N, D) floating; returns: (N, D) float64
    """
    wide = rows.astype(np.float64)
    norms = np.sqrt(np.einsum("vd,vd->v", wide, wide))[:, None]
    np.divide(wide, norms, out=wide, where=norms > 0)
    return wide


def check_table(table: Table, name: str = "table") -> None:
    """Raise VectorError unless the table is (V, D) float32, not empty, and finite throughout."""
    if not isinstance(table, np.ndarray) or table.dtype != np.float32 or table.ndim != 2 or not table.size:
        kind = f"{getattr(table, 'dtype', type(table).__name__)} of shape {np.shape(table)}"
        raise VectorError(f"{name} is {kind}; expected a numpy array, float32 of (rows, width), not empty")
    for at in range(0, len(table), _BLOCK_ROWS):
        finite = np.isfinite(table[at : at + _BLOCK_ROWS])
        if not finite.all():
            row = at + int(finite.all(axis=1).argmin())
            raise VectorError(f"row {row} of {name} holds NaN or infinite values; expected finite; find out what wrote them")


def check_pair(start: Table, now: Table) -> None:
    """Raise VectorError unless both are tables of one shape."""
    check_table(start, "start")
    check_table(now, "now")
    if start.shape != now.shape:
        raise VectorError(f"start has the shape {start.shape} and now {now.shape}; expected one shape, with rows in one order")


def check_ids(ids: npt.ArrayLike, count: int, name: str = "rows") -> Ids:
    """Return row numbers as int64, in the shape they came in; raise VectorError unless all are 0 to count - 1."""
    found = np.asarray(ids)
    if not found.size or found.dtype.kind not in "iu":
        raise VectorError(f"{name} is {found.dtype} of shape {found.shape}; expected whole numbers, one or more")
    outside = found[(found < 0) | (found >= count)]
    if outside.size:
        raise VectorError(f"{name} holds {outside[0]}; expected 0 to {count - 1}, for the table has {count} rows")
    return found.astype(np.int64)
