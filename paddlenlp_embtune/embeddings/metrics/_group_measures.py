"""All measures of groups of terms in one table: geometry, neighbours, outliers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from paddlenlp_embtune.embeddings.metrics._group_neighbours import group_agreement
from paddlenlp_embtune.embeddings.metrics._isotropy import alignment
from paddlenlp_embtune.embeddings.metrics._outliers import OutlierScore, detect_outliers
from paddlenlp_embtune.embeddings.metrics._term_groups import GroupGeometry, group_geometry
from paddlenlp_embtune.embeddings.metrics.sampling import Table

__all__ = ["GroupMeasures", "measure_groups"]


@dataclasses.dataclass(frozen=True)
class GroupMeasures:
    """How groups of terms lie in a table.

    Args:
        geometry: cohesion, separation and silhouette.
        alignment: mean squared distance of two terms of a group on the unit sphere, 0 to 4.
        agreement: by group, share of the nearest neighbours of its terms that are of the group.
        by_chance: by group, the share that chance would give.
        outliers: by group, how well its terms stand out from those of other groups; None where there are none.
    """

    geometry: GroupGeometry
    alignment: float
    agreement: Mapping[str, float]
    by_chance: Mapping[str, float]
    outliers: Mapping[str, OutlierScore | None]

    def group(self, name: str) -> dict[str, float | None]:
        """Return the figures of one group by name."""
        outlier = self.outliers[name]
        return {
            "cohesion": self.geometry.cohesion[name],
            "silhouette": self.geometry.silhouette[name],
            "agreement": self.agreement[name],
            "outlier_accuracy": None if outlier is None else outlier.accuracy,
            "outlier_position": None if outlier is None else outlier.position,
        }

    def overall(self, sizes: Mapping[str, int]) -> dict[str, Any]:
        """Return the figures of all groups: over terms, whose number each group has, and over the outliers that were tried."""
        terms, tried = sum(sizes.values()), [each for each in self.outliers.values() if each is not None]
        tests = sum(each.tests for each in tried)

        def over_tests(value: Callable[[OutlierScore], float]) -> float | None:
            return sum(value(each) * each.tests for each in tried) / tests if tests else None

        return {
            "alignment": self.alignment,
            "agreement": sum(self.agreement[name] * size for name, size in sizes.items()) / terms,
            "agreement_by_chance": sum(self.by_chance[name] * size for name, size in sizes.items()) / terms,
            "outlier_accuracy": over_tests(lambda each: each.accuracy),
            "outlier_position": over_tests(lambda each: each.position),
            "outlier_tests": tests,
        }


def measure_groups(table: Table, groups: Mapping[str, Sequence[int]]) -> GroupMeasures:
    """Measure groups of terms in one table.

    Args:
        table: (T, D) float32, the terms of all groups.
        groups: by name, the rows of the terms, two or more; one group or more.
    Raises:
        VectorError: the table or a group is of another kind.
    """
    agreement = group_agreement(table, groups)
    return GroupMeasures(
        geometry=group_geometry(table, {name: [[row] for row in rows] for name, rows in groups.items()}),
        alignment=alignment(table, [pair for rows in groups.values() for pair in combinations(rows, 2)]).value,
        agreement={name: found for name, (found, _) in agreement.items()},
        by_chance={name: chance for name, (_, chance) in agreement.items()},
        outliers={name: _outliers(table, rows) for name, rows in groups.items()},
    )


def _outliers(table: Table, rows: Sequence[int]) -> OutlierScore | None:
    """Try all terms of other groups as outliers of one."""
    others = np.setdiff1d(np.arange(len(table)), rows)
    return detect_outliers(table[list(rows)], table[others]) if others.size else None
