"""Learning curves: how many labelled rows an arm needs to reach what another does."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["labels_needed", "reach"]

Curve = Sequence[tuple[int, float]]
"""Labelled rows and the metric, by ascending rows."""


def labels_needed(curve: Curve, value: float) -> int | None:
    """Return the labelled rows at which a curve first reaches a value; between two sizes, in proportion to their logarithm.

    None where it does not within the sizes that were measured; the smallest size where it is there already.
    """
    before: tuple[int, float] | None = None
    for rows, reached in curve:
        if reached >= value:
            if before is None:
                return rows
            share = (value - before[1]) / (reached - before[1])
            return round(math.exp(math.log(before[0]) + share * (math.log(rows) - math.log(before[0]))))
        before = (rows, reached)
    return None


def reach(curves: Mapping[str, Curve]) -> list[dict[str, Any]]:
    """Say for each pair of arms how many labelled rows the one needs for what the other reaches with all of its own.

    Returns:
        ``arm``, ``other``, the ``value`` that the other reaches at ``other_rows``, and the ``rows`` that the arm needs; None
        where it does not reach the value with ``most``, the largest size that was measured.
    """
    found = []
    for arm, curve in curves.items():
        for other, reference in curves.items():
            if arm != other and curve and reference:
                rows, value = reference[-1]
                needed = labels_needed(curve, value)
                found.append(
                    {"arm": arm, "other": other, "value": value, "other_rows": rows, "rows": needed, "most": curve[-1][0]}
                )
    return found
