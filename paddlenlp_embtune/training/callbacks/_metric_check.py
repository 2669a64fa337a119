"""What can be found out before the first step: whether the metrics that a recipe watches exist."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from paddlenlp_embtune.compat import TrainerCallback
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.training.callbacks._metric_monitor import metric_value

__all__ = ["MetricCheckCallback"]

logger = logging.getLogger("paddlenlp_embtune")


class MetricCheckCallback(TrainerCallback):  # type: ignore[misc]
    """Evaluates a single batch before the first step, to see the names of the metrics.

    Args:
        watched: metrics by who watches them.
        evaluate: returns the metrics of a short evaluation. If it fails, names are checked at the first real one.
    """

    def __init__(self, watched: Mapping[str, str], *, evaluate: Callable[[], Mapping[str, float]]) -> None:
        self.watched = dict(watched)
        self.evaluate = evaluate

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Evaluate one batch and compare the names.

        Raises:
            RecipeError: a metric is watched that evaluations do not give; the message lists those they give.
        """
        try:
            metrics = self.evaluate()
        except Exception as error:
            # A metric may need more rows than one batch has, both classes for example.
            logger.debug("metrics were not looked at before training: %s: %s", type(error).__name__, error)
            return
        for what, metric in self.watched.items():
            if metric_value(metrics, metric, what=what) is None:
                raise RecipeError(f"{what} watches {metric!r}, which evaluations do not give; expected {', '.join(metrics)}")
