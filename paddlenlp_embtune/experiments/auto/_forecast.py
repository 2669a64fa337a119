"""What the next fit of an arm takes, from what its earlier ones took."""

from __future__ import annotations

import math

__all__ = ["MORE", "Forecast"]

MORE = 1.15
"""How much longer than forecast a fit may take, on a machine that does other things too."""


class Forecast:
    """Seconds of fits by their rows.

    Args:
        start_seconds: from the start of a process until its first fit begins.
    """

    def __init__(self, *, start_seconds: float) -> None:
        self.start_seconds = start_seconds
        self._known: dict[str, dict[int, list[float]]] = {}

    def add(self, arm: str, rows: int, seconds: float) -> None:
        """Note what one fit on so many rows took."""
        self._known.setdefault(arm, {}).setdefault(rows, []).append(seconds)

    def fit_seconds(self, arm: str, rows: int) -> float | None:
        """Return the seconds of one fit; None where the arm was not fitted yet.

        Fewer rows than were measured take no longer than these. For more, time grows in proportion to them where one number
        was measured, and along a line through the last two where several were.
        """
        points = sorted((count, sum(each) / len(each)) for count, each in self._known.get(arm, {}).items())
        if not points:
            return None
        if enough := [seconds for count, seconds in points if count >= rows]:
            return enough[0]
        last_rows, last = points[-1]
        in_proportion = last * rows / last_rows
        if len(points) == 1:
            return in_proportion
        before_rows, before = points[-2]
        slope = max(0.0, (last - before) / (last_rows - before_rows))
        return min(in_proportion, last + slope * (rows - last_rows))

    def step_seconds(self, fit: float, fits: int, *, jobs: int) -> float:
        """Return the seconds of so many fits in several processes at once."""
        return MORE * (self.start_seconds + math.ceil(fits / max(1, min(jobs, fits))) * fit)
