"""How long the parts of a run take."""

from __future__ import annotations

import time

__all__ = ["Stages"]


class Stages:
    """Wall time of the parts of a run; each ends where the next begins."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._name: str | None = None
        self._began = 0.0

    def begin(self, name: str) -> None:
        """End the part before, and begin another, or go on with one that was there."""
        now = time.perf_counter()
        if self._name is not None:
            self._seconds[self._name] = self._seconds.get(self._name, 0.0) + now - self._began
        self._name, self._began = name, now

    def seconds(self) -> dict[str, float]:
        """Return the seconds of the parts so far, by name in the order in which they began."""
        if self._name is not None:
            self.begin(self._name)
        return {name: round(value, 2) for name, value in self._seconds.items()}
