"""When a metric has stopped improving: one counter for freezing, schedules and early stopping."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from paddlenlp_embtune.config import PlateauSpec
from paddlenlp_embtune.errors import RecipeError, expected_names

__all__ = ["MetricMonitor", "metric_name", "metric_value"]


def metric_name(metric: str) -> str:
    """Return the name that an evaluation gives a metric."""
    return metric if metric.startswith("eval_") else f"eval_{metric}"


def metric_value(metrics: Mapping[str, Any], metric: str, *, what: str) -> float | None:
    """Return a metric of an evaluation, or None if this is the evaluation of another set of rows.

    Args:
        metrics: what the Trainer's evaluation gave; all its names begin with ``eval``, ``eval_SET`` or what the caller chose.
        metric: named with or without ``eval_``.
        what: who watches it, for messages.
    Raises:
        RecipeError: it is not there; the message lists those that are.
    """
    name = metric_name(metric)
    if name in metrics:
        return float(metrics[name])
    prefix = next((key.removesuffix("_runtime") for key in metrics if key.endswith("_runtime")), "eval")
    asked = f"{prefix}_{name.removeprefix('eval_')}"
    if not name.startswith(f"{prefix}_") and asked not in metrics:
        return None
    if not prefix.startswith("eval"):
        return None
    raise RecipeError(f"{what} watches {name!r}, which this evaluation did not give; {expected_names(name, metrics)}")


class MetricMonitor:
    """Remembers the best value of a metric and how many evaluations ago it was.

    Args:
        spec: metric, mode, the least improvement that counts, and patience.
    """

    def __init__(self, spec: PlateauSpec) -> None:
        self.spec = spec
        self.best: float | None = None
        self.bad_evals = 0

    def update(self, value: float) -> bool:
        """Take the next value; return whether it is an improvement. Values that are not finite never are."""
        improved = math.isfinite(value) and (self.best is None or self._gain(value, self.best) > self.spec.min_delta)
        if improved:
            self.best, self.bad_evals = value, 0
        else:
            self.bad_evals += 1
        return improved

    def _gain(self, value: float, best: float) -> float:
        return value - best if self.spec.mode == "max" else best - value

    @property
    def stalled(self) -> bool:
        """Whether patience is over."""
        return self.bad_evals >= self.spec.patience_evals

    def restart(self) -> None:
        """Count from zero again; the best value stays."""
        self.bad_evals = 0

    def state(self) -> dict[str, Any]:
        """Return what must survive a restart, as JSON."""
        return {"best": self.best, "bad_evals": self.bad_evals}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what :meth:`state` returned."""
        self.best, self.bad_evals = state["best"], state["bad_evals"]
