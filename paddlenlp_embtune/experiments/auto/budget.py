"""The time of a choice: how it is written, and the clock that continues where a killed process stopped."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.utils.json_yaml import shorten

__all__ = ["Clock", "in_words", "parse_duration"]

_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(sec|s|min|m|h)", re.ASCII | re.IGNORECASE)
_SECONDS = {"s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_MOST_SECONDS = 30 * 24 * 3600.0


def parse_duration(stated: str, *, name: str = "budget") -> float:
    """Return the seconds that a duration such as ``90s``, ``20m``, ``1h`` or ``1h30m`` has.

    Raises:
        RecipeError: it is none, or not above 0, or above 30 days.
    """
    expected = "a time with its unit, such as 90s, 20m, 1h or 1h30m"
    text = stated.strip()
    parts = _PART.findall(text)
    if not parts or _PART.sub("", text).strip():
        unit = " (is it 20 seconds, minutes or hours?)".replace("20", text) if text.isascii() and text.isdigit() else ""
        raise RecipeError(f"{name} is {shorten(stated)}{unit}; expected {expected}")
    seconds = sum(float(number) * _SECONDS[unit.lower()] for number, unit in parts)
    if not 0 < seconds <= _MOST_SECONDS:
        raise RecipeError(f"{name} is {shorten(stated)}; expected {expected}, above 0 and at most 720h")
    return seconds


def in_words(seconds: float) -> str:
    """Return a duration as people read it: ``45 s``, ``3 min 20 s``, ``1 h 5 min``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min" + (f" {rest} s" if rest else "")
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h" + (f" {minutes} min" if minutes else "")


class Clock:
    """How much of a budget is used up.

    Work that stands in the folder from an earlier command counts with the time at which it ended there: :meth:`advance_to`
    moves the clock on, so that decisions are made at the same times as in one command that was never stopped.

    Args:
        budget_seconds: of all commands together.
        began: seconds of this command that passed before the clock was made.
        now: the time in seconds, for tests.
    """

    def __init__(self, budget_seconds: float, *, began: float = 0.0, now: Callable[[], float] = time.monotonic) -> None:
        self.budget_seconds = budget_seconds
        self._now = now
        self._start = now() - began

    @property
    def elapsed(self) -> float:
        """Seconds that are used up."""
        return self._now() - self._start

    @property
    def left(self) -> float:
        """Seconds that are left, below 0 where the budget is used up."""
        return self.budget_seconds - self.elapsed

    def advance_to(self, elapsed: float) -> None:
        """Count the time at which earlier work ended; a clock that is further stays."""
        self._start -= max(0.0, elapsed - self.elapsed)
