"""What the next fit of an arm takes, from what its earlier ones took."""

from __future__ import annotations

import dataclasses
import math

__all__ = ["MORE", "Forecast"]

MORE = 1.15
"""How much longer than forecast a fit may take, on a machine that does other things too."""


@dataclasses.dataclass(frozen=True)
class _Fit:
    passes: float
    other_seconds: float
    learning_seconds: float


class Forecast:
    """Seconds of fits by how many rows they read: rows times epochs, for epochs become fewer as rows become more.

    What a fit does beside learning (the export, its proof, the measurement) takes as long with few rows as with many.

    Args:
        start_seconds: from the start of a process until its first fit begins.
    """

    def __init__(self, *, start_seconds: float) -> None:
        self.start_seconds = start_seconds
        self._known: dict[str, _Fit] = {}

    def add(self, arm: str, passes: float, seconds: float, learning_seconds: float) -> None:
        """Note what one fit took; the one that read most counts, and of two that read as much the longer."""
        fit = _Fit(passes, seconds - learning_seconds, learning_seconds)
        known = self._known.get(arm)
        if known is None or (fit.passes, seconds) >= (known.passes, known.other_seconds + known.learning_seconds):
            self._known[arm] = fit

    def fit_seconds(self, arm: str, passes: float) -> float | None:
        """Return the seconds of one fit; None where the arm was not fitted yet."""
        known = self._known.get(arm)
        return None if known is None else known.other_seconds + known.learning_seconds * passes / max(known.passes, 1.0)

    def step_seconds(self, fit: float, fits: int, *, jobs: int) -> float:
        """Return the seconds of so many fits in several processes at once."""
        return MORE * (self.start_seconds + math.ceil(fits / max(1, min(jobs, fits))) * fit)
