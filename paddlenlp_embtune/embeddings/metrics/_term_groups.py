"""Cohesion and separation of term groups, such as rise and fall.

The vector of a term is the mean of the rows of its characters or pieces. A term whose vector is zero has no direction and is
left out, so that nothing is NaN. VectorError is raised for tables that are not finite float32 and for groups that are empty.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from paddlenlp_embtune.embeddings.metrics import sampling
from paddlenlp_embtune.embeddings.metrics.sampling import Floats, Table
from paddlenlp_embtune.errors import VectorError

__all__ = ["GroupGeometry", "GroupShift", "compare_groups", "group_geometry", "term_vectors"]

RowsOf = Callable[[Any], Sequence[int]]


@dataclasses.dataclass(frozen=True)
class GroupGeometry:
    """How groups of terms lie in a table.

    Args:
        cohesion: by group, the mean cosine of all pairs of two of its terms, -1 to 1; 0 where fewer than two have a direction.
        separation: by pair of groups, in the order given, 1 minus the cosine of their centroids, 0 to 2; 1 where a centroid
            is zero. A centroid is the mean of unit vectors.
        silhouette: by group, the mean silhouette of its terms under the distance 1 - cosine, -1 to 1: above 0 where a term
            is nearer to its own group than to the nearest other; 0 where there is one group only.
    """

    cohesion: Mapping[str, float]
    separation: Mapping[tuple[str, str], float]
    silhouette: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class GroupShift:
    """The same groups in two tables.

    Args:
        start: in the table before tuning.
        now: in the table after.
    """

    start: GroupGeometry
    now: GroupGeometry


def term_vectors(table: Table, terms: Sequence[Any], *, rows_of: RowsOf | None = None) -> Table:
    """Return the mean of the rows of each term.

    Args:
        table: (V, D) float32.
        terms: T terms, one or more; row numbers each, one or more, unless ``rows_of`` is given.
        rows_of: maps a term to its row numbers, such as ``encode`` of a tokenizer; repeated rows count repeatedly.
    Shapes:
        returns: (T, D) float32
    Raises:
        VectorError: a term has no rows, or a row outside the table.
    Source:
        Shen et al. (2018), "SWEM-aver"
    """
    sampling.check_table(table)
    return _vectors(table, terms, rows_of)


def _vectors(table: Table, terms: Sequence[Any], rows_of: RowsOf | None) -> Table:
    rows = [sampling.check_ids(rows_of(term) if rows_of else term, len(table), f"term {term!r}") for term in terms]
    if not rows:
        raise VectorError("there are no terms; expected one or more")
    sizes = np.array([row.size for row in rows])
    sums = np.add.reduceat(table[np.concatenate(rows)], np.cumsum(sizes) - sizes, axis=0, dtype=np.float64)
    means: Table = (sums / sizes[:, None]).astype(np.float32)
    return means


def group_geometry(table: Table, groups: Mapping[str, Sequence[Any]], *, rows_of: RowsOf | None = None) -> GroupGeometry:
    """Measure cohesion, separation and silhouette of groups of terms; time and memory grow with terms, not with their pairs.

    Args:
        table: (V, D) float32.
        groups: by name, two or more terms each, as in ``term_vectors``.
        rows_of: as in ``term_vectors``.
    Raises:
        VectorError: there are no groups, a group has fewer than two terms, or a term has no rows in the table.
    Source:
        Rousseeuw (1987), section 2, for the silhouette; cohesion and separation as Tan, Steinbach and Kumar (2005),
        section 8.5.2, with the cosine for proximity
    """
    sampling.check_table(table)
    small = next((f"group {name!r} has {len(terms)} terms" for name, terms in groups.items() if len(terms) < 2), None)
    if small or not groups:
        raise VectorError(f"{small or 'there are no groups'}; expected one group or more, of two terms or more")
    units = []
    for terms in groups.values():
        unit = sampling.unit_rows(_vectors(table, terms, rows_of))
        units.append(unit[unit.any(axis=1)])
    sums = np.array([unit.sum(axis=0) for unit in units])
    sizes = np.array([len(unit) for unit in units])
    centroids = sampling.unit_rows(sums)
    apart = (1.0 - centroids @ centroids.T).clip(0.0, 2.0)
    pairs = itertools.combinations(enumerate(groups), 2)
    return GroupGeometry(
        cohesion={
            name: float((sums[own] @ sums[own] - size) / (size * (size - 1))) if size > 1 else 0.0
            for own, (name, size) in enumerate(zip(groups, sizes.tolist(), strict=True))
        },
        separation={(one, other): float(apart[first, second]) for (first, one), (second, other) in pairs},
        silhouette={name: _silhouette(units[own], own, sums, sizes) for own, name in enumerate(groups)},
    )


def _silhouette(unit: Floats, own: int, sums: Floats, sizes: Any) -> float:
    """Return the mean silhouette of one group; a sum of unit vectors holds the mean distance to all of a group at once."""
    others = np.flatnonzero(sizes > 0)
    others = others[others != own]
    if len(unit) < 2 or not others.size:
        return 0.0
    within = (1.0 - (unit @ sums[own] - 1.0) / (len(unit) - 1)).clip(min=0.0)
    nearest = (1.0 - unit @ (sums[others] / sizes[others, None]).T).min(axis=1).clip(min=0.0)
    larger = np.maximum(within, nearest)
    return float(np.divide(nearest - within, larger, out=np.zeros_like(larger), where=larger > 1e-12).mean())


def compare_groups(
    start: Table, now: Table, groups: Mapping[str, Sequence[Any]], *, rows_of: RowsOf | None = None
) -> GroupShift:
    """Measure the same groups in two tables; the arguments are those of ``group_geometry``."""
    sampling.check_pair(start, now)
    return GroupShift(group_geometry(start, groups, rows_of=rows_of), group_geometry(now, groups, rows_of=rows_of))
