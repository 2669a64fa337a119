"""Stop when a metric no longer improves, with the best weights brought back."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.errors import RecipeError, legal_names
from paddlenlp_embtune.tuning.callback import EmbtuneCallback

__all__ = ["EarlyStoppingCallback", "StopReason"]


class StopReason(enum.Enum):
    """Why training was stopped before its last epoch."""

    NO_IMPROVEMENT = "no_improvement"
    NOT_FINITE = "not_finite"


class EarlyStoppingCallback(EmbtuneCallback):
    """Watches one evaluation metric; keeps the best weights in memory and puts them back when training ends.

    Args:
        metric: name of an evaluation metric, with or without ``eval_``.
        mode: ``max`` or ``min``.
        min_delta: an improvement counts when it is larger than this.
        patience_evals: stop after this many evaluations without improvement.
        restore_best: put the best weights back into the model at the end.
    Raises:
        RecipeError: an illegal value; or, at the first evaluation, a metric that is not there.
    """

    def __init__(
        self, metric: str, *, mode: str, min_delta: float = 0.0, patience_evals: int = 4, restore_best: bool = True
    ) -> None:
        super().__init__()
        if mode not in ("max", "min"):
            raise RecipeError(f"mode is {mode!r}; {legal_names(mode, ('max', 'min'))}")
        if patience_evals < 1:
            raise RecipeError(f"patience_evals is {patience_evals}; legal: 1 or more")
        if not min_delta >= 0:
            raise RecipeError(f"min_delta is {min_delta}; legal: 0 or more")
        self.metric = metric if metric.startswith("eval_") else f"eval_{metric}"
        self.mode = mode
        self.min_delta = min_delta
        self.patience_evals = patience_evals
        self.restore_best = restore_best
        self.best_value: float | None = None
        self.best_step = 0
        self.best_epoch = 0.0
        self.bad_evals = 0
        self.stop_reason: StopReason | None = None
        self._best: dict[str, npt.NDArray[Any]] = {}

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        """Compare, remember, and stop when patience is over."""
        metrics = kwargs.get("metrics") or {}
        if self.metric not in metrics:
            raise RecipeError(
                f"early stopping watches {self.metric!r}, which this evaluation did not give; "
                f"{legal_names(self.metric, metrics)}"
            )
        value = float(metrics[self.metric])
        if not math.isfinite(value):
            return self._stop(control, StopReason.NOT_FINITE, value)
        improved = self._improves(value)
        if improved:
            self.best_value, self.best_step, self.best_epoch = value, int(state.global_step), float(state.epoch or 0.0)
            self.bad_evals = 0
            if self.restore_best:
                self._best = {name: p.numpy().copy() for name, p in kwargs["model"].state_dict().items()}
        else:
            self.bad_evals += 1
        self.record.write(
            "early_stopping",
            epoch=state.epoch,
            step=state.global_step,
            metric=self.metric,
            value=value,
            improved=improved,
            best=self.best_value,
            bad_evals=self.bad_evals,
        )
        if self.bad_evals >= self.patience_evals:
            return self._stop(control, StopReason.NO_IMPROVEMENT, value)
        return control

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Put the best weights back."""
        if not self._best:
            return
        for name, parameter in kwargs["model"].state_dict().items():
            parameter.set_value(self._best[name])
        self.record.write("restored", step=self.best_step, epoch=self.best_epoch, metric=self.metric, value=self.best_value)

    def _improves(self, value: float) -> bool:
        if self.best_value is None:
            return True
        gain = value - self.best_value if self.mode == "max" else self.best_value - value
        return gain > self.min_delta

    def _stop(self, control: Any, reason: StopReason, value: float) -> Any:
        self.stop_reason = reason
        control.should_training_stop = True
        self.record.write("stopped", reason=reason.value, metric=self.metric, value=value if np.isfinite(value) else None)
        return control

    def state(self) -> Mapping[str, Any]:
        """What was best, and how long ago."""
        return {
            "best_value": self.best_value,
            "best_step": self.best_step,
            "best_epoch": self.best_epoch,
            "bad_evals": self.bad_evals,
            "best": self._best,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on counting where the checkpoint left off."""
        self.best_value = state["best_value"]
        self.best_step = state["best_step"]
        self.best_epoch = state["best_epoch"]
        self.bad_evals = state["bad_evals"]
        self._best = dict(state.get("best") or {})
