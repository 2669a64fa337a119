"""When a training loss has diverged for good: a limit from the loss of guessing and from where the run began."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from paddlenlp_embtune.config import DistillSpec

__all__ = ["LEAST_CHANCE", "LossMonitor", "chance_loss"]

LEAST_CHANCE = math.log(2)
"""The cross-entropy of a guess between two classes: no classifier's is lower."""

_FIRST, _FIRST_STEPS = 3, 10
"""The run's beginning: so many logs, and so many steps."""
_LAST, _SUSTAINED = 5, 3
_EARLY = 5.0
"""How many times higher the limit is as long as it is not yet known where the run began."""


def chance_loss(model: Any, distill: DistillSpec | None = None) -> float:
    """Return the loss of a model that gives all classes the same probability.

    It is ln C for labels, with and without smoothing, and for soft targets.

    Args:
        model: with its number of classes in ``num_labels``, ``num_classes``, or what ``config`` gives; else two are taken.
        distill: how a student's loss is put together; None for one that learns from labels alone.
    """
    even = max(LEAST_CHANCE, math.log(_classes_of(model)))
    if distill is None:
        return even
    scale = distill.alpha * distill.temperature**2 + 1 - distill.alpha
    return max(LEAST_CHANCE, even * scale + distill.hidden)


def _classes_of(model: Any) -> int:
    config = getattr(model, "config", None)
    try:
        config = config() if callable(config) else config
    except TypeError:  # an unrelated method that happens to have this name
        config = None
    named = config if isinstance(config, Mapping) else vars(config) if hasattr(config, "__dict__") else {}
    stated = (getattr(model, "num_labels", None), getattr(model, "num_classes", None), named.get("num_labels"))
    return max((number for number in stated if isinstance(number, int)), default=2) or 2


class LossMonitor:
    """Tells a diverged loss from a single high batch, and from a low loss at the start.

    The limit is the ratio times the larger of the chance level and the median of the run's first three losses. It is crossed
    when the median of the last five logged losses (at first, of three or four) is above it, and the newest is too. Until three
    losses and ten steps are known, the limit is five times as high, so that a run that starts badly, such as a trained model
    on labels that it does not expect, has time to recover.

    Args:
        ratio: above 1; None lets everything pass that is finite.
        chance: the loss of a guess.
    """

    def __init__(self, ratio: float | None, *, chance: float = LEAST_CHANCE) -> None:
        self.ratio = ratio
        self.chance = chance
        self._first: list[float] = []
        self._last: list[float] = []
        self._complete = False

    @property
    def reference(self) -> float:
        """What a loss is measured against."""
        return max(self.chance, float(np.median(self._first)) if self._first else 0.0)

    @property
    def limit(self) -> float:
        """The loss above which a run has diverged, if it stays there."""
        return math.inf if self.ratio is None else self.ratio * self.reference * (1.0 if self._complete else _EARLY)

    @property
    def smoothed(self) -> float:
        """The median of the last losses."""
        return float(np.median(self._last)) if self._last else math.nan

    def update(self, loss: float, *, step: int) -> bool:
        """Take the next logged loss, finite, at a 1-based step; return whether the run has diverged."""
        self._last = [*self._last[1 - _LAST :], loss]
        if not self._complete:
            self._first = [*self._first, loss][:_FIRST]
            self._complete = len(self._first) >= _FIRST and step >= _FIRST_STEPS
        return len(self._last) >= _SUSTAINED and min(loss, self.smoothed) > self.limit

    def state(self) -> dict[str, Any]:
        """Return what must survive a restart, as JSON."""
        return {"first_losses": self._first, "last_losses": self._last, "complete": self._complete}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what :meth:`state` returned."""
        self._first, self._last = list(state["first_losses"]), list(state["last_losses"])
        self._complete = bool(state["complete"])
