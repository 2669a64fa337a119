"""Averages of the weights along a run, evaluated beside the last weights and kept where they are better."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.config import AverageSpec, PlateauSpec
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.training.callbacks._metric_monitor import MetricMonitor, metric_name, metric_value
from paddlenlp_embtune.training.callbacks.base import EmbtuneCallback
from paddlenlp_embtune.utils.schema import to_plain

if TYPE_CHECKING:
    from paddlenlp_embtune.training.context import TrainingContext

paddle = compat.require_paddle()

__all__ = ["WeightAveragingCallback"]

Weights = dict[str, npt.NDArray[np.float32]]
_BLOCK = 1 << 20


class WeightAveragingCallback(EmbtuneCallback):
    """Averages floating-point parameters; put it after early stopping, so that its choice is the last.

    With ``evaluate``, every evaluation is followed by one of the average, and at the end the best average replaces the weights
    that stand in the model if it is better. Without it, the average replaces them in any case.

    Args:
        spec: kind, decay and what is better.
        evaluate: returns the metrics, named ``eval_…``, of the model as it stands, and tells no callback.
        project: called whenever the average has been put into the model, to keep a bound that the weights are under.
        stopped: tells whether the decision to stop was taken; steps that begin after it are not averaged. None means never.
        best_restored: whether a callback before this one puts the best weights back at the end, so that the average must
            beat those; otherwise it must beat the last ones.
    Source:
        Polyak and Juditsky 1992, "Acceleration of Stochastic Approximation by Averaging", for ``ema`` with a window; Izmailov
        and others 2018, "Averaging Weights Leads to Wider Optima and Better Generalization", algorithm 1, for ``swa``
    """

    def __init__(
        self,
        spec: AverageSpec,
        *,
        evaluate: Callable[[], Mapping[str, float]] | None = None,
        project: Callable[[], object] | None = None,
        stopped: Callable[[], bool] | None = None,
        best_restored: bool = False,
    ) -> None:
        super().__init__()
        self.spec = spec.resolved(None)
        self._metric = metric_name(self.spec.metric or "")
        self.evaluate = evaluate
        self.project = project
        self.stopped = stopped
        self.best_restored = best_restored
        watched = PlateauSpec(metric=self._metric, mode=self.spec.mode or "max")
        self._last, self._mean = MetricMonitor(watched), MetricMonitor(watched)
        self._average: Weights = {}
        self._best: Weights = {}
        self._updates = 0
        self._start_step = 0
        self._epoch_steps = 0
        self._parameters: dict[str, Any] = {}
        self._last_value: float | None = None
        self._idle = False

    def setup(self, context: TrainingContext) -> None:
        """Evaluate by the Trainer, where it has evaluation rows and no other way was given."""
        super().setup(context)
        if self.evaluate is None and context.trainer.eval_dataset is not None:
            self.evaluate = context.evaluate

    def settings(self) -> Mapping[str, Any]:
        """Kind, decay and what is better."""
        plain: dict[str, Any] = to_plain(self.spec)
        return plain

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Find what is averaged, and when it begins."""
        self._parameters = {n: p for n, p in kwargs["model"].named_parameters() if "float" in str(p.dtype)}
        self._last, self._mean = MetricMonitor(self._last.spec), MetricMonitor(self._mean.spec)
        self._average, self._best, self._updates = {}, {}, 0
        self._last_value, self._idle = None, False
        super().on_train_begin(args, state, control, **kwargs)
        steps = compat.steps_per_epoch(args, kwargs.get("train_dataloader")) or int(state.max_steps)
        epochs = max(1, -(-int(state.max_steps) // steps))
        first = self.spec.start_epoch
        if first is None:
            first = 0 if self.spec.kind == "ema" else epochs - max(1, epochs // 4)
        self._start_step = first * steps
        if first >= epochs:
            raise RecipeError(f"average.start_epoch is {first}, but the run has {epochs} epochs; expected below {epochs}")
        if self.spec.kind == "ema" and self._start_step + self.spec.every_steps > int(state.max_steps):
            raise RecipeError(
                f"average.every_steps is {self.spec.every_steps}, but only {int(state.max_steps) - self._start_step} steps are "
                "averaged, so nothing would be; expected as many steps or fewer"
            )

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """See whether this step still counts."""
        self._idle = self.stopped is not None and self.stopped()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take the weights of this step into the moving average."""
        if self._idle:
            return
        if self.spec.kind == "ema" and state.global_step > self._start_step and state.global_step % self.spec.every_steps == 0:
            # A short history must not be dominated by where it began.
            decay = min(self.spec.decay**self.spec.every_steps, (1 + self._updates) / (10 + self._updates))
            self._update(1.0 - decay)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take the weights of this epoch's end into the plain mean."""
        if self.spec.kind == "swa" and not self._idle and state.global_step > self._start_step:
            self._update(1.0 / (self._updates + 1))

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Evaluate the average beside the weights."""
        metrics = kwargs.get("metrics") or {}
        if self.evaluate is None or not state.global_step or not self._parameters or self._idle:
            return
        value = metric_value(metrics, self._metric, what="the average of the weights")
        if value is None:
            return
        self._last.update(value)
        self._last_value = value
        if not self._updates:
            return
        last = {name: parameter.clone() for name, parameter in self._parameters.items()}
        self._install(self._average)
        try:
            of_average = self.evaluate()[self._mean.spec.metric]
        finally:
            for name, parameter in self._parameters.items():
                parameter.set_value(last[name])
        if self._mean.update(of_average):
            self._best = {name: array.copy() for name, array in self._average.items()}
        self.record.write(
            "average",
            epoch=state.epoch,
            step=state.global_step,
            metric=self._mean.spec.metric,
            last=value,
            average=of_average,
            updates=self._updates,
        )

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Leave the better of the two in the model."""
        if not self._updates:
            return
        best, last = self._mean.best, self._last.best if self.best_restored else self._last_value
        better = best is None or last is None or (best > last if self.spec.mode == "max" else best < last)
        if better:
            self._install(self._best or self._average)
        self._parameters = {}
        kept = "average" if better else "weights"
        self.record.write("averaged", kept=kept, metric=self._metric, average=best, last=last, updates=self._updates)

    def _update(self, share: float) -> None:
        for name, parameter in self._parameters.items():
            if self._updates:
                _mix(self._average[name], _values(parameter), share)
            else:
                self._average[name] = np.array(_values(parameter), copy=True)
        self._updates += 1

    def _install(self, weights: Weights) -> None:
        for name, parameter in self._parameters.items():
            parameter.set_value(paddle.to_tensor(weights[name]).astype(parameter.dtype))
        if self.project is not None:
            self.project()

    def state(self) -> Mapping[str, Any]:
        """The average, the best one so far, and what they were compared by."""
        return {
            "updates": self._updates,
            "last": self._last.state(),
            "last_value": self._last_value,
            "mean": self._mean.state(),
            "average": self._average,
            "best": self._best,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue averaging where the checkpoint left off."""
        self._updates = state["updates"]
        self._last.load_state(state["last"])
        self._last_value = state["last_value"]
        self._mean.load_state(state["mean"])
        self._average = {name: np.array(value) for name, value in (state.get("average") or {}).items()}
        self._best = dict(state.get("best") or {})


def _values(parameter: Any) -> npt.NDArray[np.float32]:
    values: npt.NDArray[np.float32] = compat.read_only_view(parameter)
    return values


def _mix(average: npt.NDArray[np.float32], now: npt.NDArray[np.float32], share: float) -> None:
    """Move an average towards the weights in place, in blocks that stay in the cache."""
    flat, target = average.reshape(-1), now.reshape(-1)
    for begin in range(0, flat.size, _BLOCK):
        part = flat[begin : begin + _BLOCK]
        part += (target[begin : begin + _BLOCK] - part) * np.asarray(share, dtype=part.dtype)
