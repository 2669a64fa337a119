"""Whether the nearest neighbours of a term belong to its group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from paddlenlp_embtune.embeddings.metrics.sampling import Table, unit_rows

__all__ = ["group_agreement"]


def group_agreement(table: Table, groups: Mapping[str, Sequence[int]]) -> dict[str, tuple[float, float]]:
    """Return for each group how many of the nearest neighbours of its terms are of the group, and what chance would give.

    Of a term in a group of n, the n - 1 nearest of all other terms are looked at, so 1 means that the group lies apart.

    Args:
        table: (T, D) float32, the terms of all groups.
        groups: by name, the rows of the terms, two or more; a term may belong to several.
    Returns:
        By group, shares from 0 to 1
    Source:
        R-precision: Manning, Raghavan and Schütze 2008, "Introduction to Information Retrieval", section 8.4
    """
    cosines = (unit := unit_rows(table)) @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    found = {}
    for name, rows in groups.items():
        others = len(rows) - 1
        nearest = np.argsort(-cosines[list(rows)], axis=1, kind="stable")[:, :others]
        found[name] = (float(np.isin(nearest, list(rows)).mean()), others / (len(table) - 1))
    return found
