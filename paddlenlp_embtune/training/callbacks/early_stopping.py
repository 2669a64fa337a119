"""Stop when a metric no longer improves or the loss diverges, and restore the best weights."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from paddlenlp_embtune import compat
from paddlenlp_embtune.config import EarlyStoppingSpec, PlateauSpec
from paddlenlp_embtune.training.callbacks._metric_monitor import MetricMonitor, metric_name, metric_value
from paddlenlp_embtune.training.callbacks.base import EmbtuneCallback, cancel_eval_and_save, skip_step_and_stop
from paddlenlp_embtune.training.divergence import LEAST_CHANCE, LossMonitor
from paddlenlp_embtune.utils.schema import to_plain

if TYPE_CHECKING:
    from paddlenlp_embtune.training.context import TrainingContext

paddle = compat.require_paddle()

__all__ = ["EarlyStoppingCallback", "StopReason"]


class StopReason(enum.Enum):
    """Why training was stopped before its last epoch."""

    NO_IMPROVEMENT = "no_improvement"
    NOT_FINITE = "not_finite"
    DIVERGED = "diverged"


class EarlyStoppingCallback(EmbtuneCallback):
    """Watches one evaluation metric and the training loss; keeps the best weights and puts them back when training ends.

    With ``standard_errors``, the best weights are the last ones that are as good as the best, as far as the rows can tell.

    Args:
        metric: name of an evaluation metric, with or without ``eval_``.
        mode: ``max`` or ``min``.
        min_delta: an improvement counts when it is larger than this.
        patience_evals: stop after this many evaluations without improvement.
        standard_errors: by how many of them an evaluation may be behind the best, and still be as good; 0 for metrics below 0
            or above 1, and without a Trainer that has development rows.
        start_delay_evals: the first so many evaluations never count against patience.
        waiting: tells whether groups still wait for their release; evaluations until then count neither against patience nor
            for the delay. None means never.
        divergence_ratio: stop when the training loss stays above this many times what it was in the first steps, or what a
            guess has if that is more; None never does.
        restore_best: put the best weights back into the model at the end.
        chance: the training loss of a guess, such as the logarithm of the number of classes.
    Raises:
        RecipeError: an invalid value; or, at the first evaluation, a metric that is not there.
    """

    def __init__(
        self,
        metric: str,
        *,
        mode: str,
        min_delta: float = 0.0,
        patience_evals: int = 4,
        standard_errors: float = 0.0,
        start_delay_evals: int = 0,
        waiting: Callable[[], bool] | None = None,
        divergence_ratio: float | None = 5.0,
        restore_best: bool = True,
        chance: float = LEAST_CHANCE,
    ) -> None:
        super().__init__()
        # The rules for the values are the recipe's.
        spec = EarlyStoppingSpec(
            metric=metric_name(metric),
            mode=mode,
            min_delta=min_delta,
            patience_evals=patience_evals,
            standard_errors=standard_errors,
            start_delay_evals=start_delay_evals,
            divergence_ratio=divergence_ratio,
            restore_best=restore_best,
        )
        self.spec = spec
        self.metric = spec.metric
        self.waiting = waiting
        self.best_step = 0
        self.best_epoch = 0.0
        self.stop_reason: StopReason | None = None
        self._watch = MetricMonitor(
            PlateauSpec(metric=spec.metric, mode=mode, min_delta=min_delta, patience_evals=patience_evals)
        )
        self._delay_left = start_delay_evals
        self._loss = LossMonitor(divergence_ratio, chance=chance)
        self._rows = 0
        self._kept_value: float | None = None
        self._best: dict[str, Any] = {}
        self._finished = False
        self._held = False
        self._over = False

    @classmethod
    def from_spec(
        cls,
        spec: EarlyStoppingSpec,
        *,
        patience_evals: int,
        standard_errors: float = 0.0,
        waiting: Callable[[], bool] | None = None,
        chance: float = LEAST_CHANCE,
    ) -> EarlyStoppingCallback:
        """Build the callback that a recipe asks for, with the patience and the errors that follow from its model and epochs."""
        names = ("mode", "min_delta", "start_delay_evals", "divergence_ratio", "restore_best")
        fields = {name: getattr(spec, name) for name in names}
        fields |= {"patience_evals": patience_evals, "standard_errors": standard_errors}
        return cls(spec.metric, waiting=waiting, chance=chance, **fields)

    @property
    def best_value(self) -> float | None:
        """The best value of the metric so far."""
        return self._watch.best

    @property
    def bad_evals(self) -> int:
        """Evaluations without improvement that count against patience."""
        return self._watch.bad_evals

    def setup(self, context: TrainingContext) -> None:
        """Have the Trainer ask about a loss that is not finite, where it would raise or take it into the weights."""
        super().setup(context)
        dataset = context.trainer.eval_dataset
        self._rows = 0 if dataset is None else len(getattr(dataset, "truth", dataset))
        compat.catch_invalid_loss(context.trainer, lambda loss: self.take_invalid_loss(loss, context.state))

    def settings(self) -> Mapping[str, Any]:
        """Metric, mode and limits."""
        plain: dict[str, Any] = to_plain(self.spec)
        return plain

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start counting, or continue where the checkpoint left off."""
        self._watch = MetricMonitor(self._watch.spec)
        self._loss = LossMonitor(self._loss.ratio, chance=self._loss.chance)
        self._delay_left, self.stop_reason = self.spec.start_delay_evals, None
        self.best_step, self.best_epoch, self._kept_value, self._best = 0, 0.0, None, {}
        super().on_train_begin(args, state, control, **kwargs)
        self._finished = False
        self._over = self.stop_reason is not None

    def on_optimizer_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Let nothing move once the decision to stop has been taken: at a loss that is not finite, or before a resume."""
        if self.stop_reason is not None:
            skip_step_and_stop(kwargs["model"], control)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """See whether groups wait, before an evaluation may release them; ask for nothing more in a run that was over."""
        self._held = self.waiting is not None and self.waiting()
        if self._over:
            cancel_eval_and_save(control)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Cancel evaluations and checkpoints of a run that was over when it was resumed."""
        if self._over:
            cancel_eval_and_save(control)

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Check whether the training loss has diverged or is not finite."""
        loss = (kwargs.get("logs") or {}).get("loss")
        if loss is None or self._finished or self.stop_reason is not None:
            return
        if not math.isfinite(loss):
            self._stop(control, StopReason.NOT_FINITE, state, loss=str(float(loss)))
        elif self._loss.update(float(loss), step=int(state.global_step)):
            figures = {"smoothed_loss": self._loss.smoothed, "limit": self._loss.limit, "first_loss": self._loss.reference}
            self._stop(control, StopReason.DIVERGED, state, loss=float(loss), **figures)

    def take_invalid_loss(self, loss: float, state: Any) -> bool:
        """Decide to stop at a loss that is not finite, before it reaches a weight; the host asks this instead of raising."""
        if self._finished:
            return False
        self._decide(StopReason.NOT_FINITE, state, loss=str(loss))
        return True

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        """Compare, remember, and stop when patience is over."""
        if self._finished or self._over or not state.global_step:
            return control
        value = metric_value(kwargs.get("metrics") or {}, self.metric, what="early stopping")
        if value is None:
            return control
        if not math.isfinite(value):
            return self._stop(control, StopReason.NOT_FINITE, state, metric=self.metric, value=str(value))
        broken = next((n for n, p in kwargs["model"].named_parameters() if not bool(paddle.isfinite(p).all())), None)
        if broken is not None:
            return self._stop(control, StopReason.NOT_FINITE, state, parameter=broken)
        improved = self._watch.update(value)
        if improved or self._is_as_good(value):
            self.best_step, self.best_epoch, self._kept_value = int(state.global_step), float(state.epoch or 0.0), value
            if self.spec.restore_best:
                self._best = {name: tensor.clone() for name, tensor in kwargs["model"].state_dict().items()}
        counts = not self._held and self._delay_left == 0
        if not counts:
            self._watch.restart()
            self._delay_left -= 0 if self._held else 1
        self.record.write(
            "early_stopping",
            epoch=state.epoch,
            step=state.global_step,
            metric=self.metric,
            value=value,
            improved=improved,
            best=self.best_value,
            bad_evals=self.bad_evals,
            counts=counts,
        )
        if self._watch.stalled:
            return self._stop(control, StopReason.NO_IMPROVEMENT, state, metric=self.metric, value=value)
        return control

    def _is_as_good(self, value: float) -> bool:
        """Whether a value is behind the best by no more than what the development rows leave open."""
        best = self.best_value
        if best is None or not self.spec.standard_errors or not self._rows or self.metric == "eval_loss" or not 0 <= best <= 1:
            return False
        return abs(best - value) <= self.spec.standard_errors * math.sqrt(best * (1 - best) / self._rows)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Put the best weights back."""
        self._finished = True
        if not self._best:
            return
        for name, tensor in kwargs["model"].state_dict().items():
            tensor.set_value(self._best[name])
        self.record.write("restored", step=self.best_step, epoch=self.best_epoch, metric=self.metric, value=self._kept_value)

    def _stop(self, control: Any, reason: StopReason, state: Any, **evidence: Any) -> Any:
        control.should_training_stop = True
        self._decide(reason, state, **evidence)
        return control

    def _decide(self, reason: StopReason, state: Any, **evidence: Any) -> None:
        """Record the reason, once: the first one stands."""
        if self.stop_reason is None:
            self.stop_reason = reason
            self.record.write("stopped", reason=reason.value, epoch=state.epoch, step=state.global_step, **evidence)

    def state(self) -> Mapping[str, Any]:
        """What was best, how long ago, and whether the decision to stop was taken."""
        return {
            **self._watch.state(),
            "best_step": self.best_step,
            "best_epoch": self.best_epoch,
            "kept_value": self._kept_value,
            "delay_left": self._delay_left,
            "loss": self._loss.state(),
            "stop_reason": self.stop_reason.value if self.stop_reason is not None else None,
            "best_weights": {name: w if isinstance(w, np.ndarray) else w.numpy() for name, w in self._best.items()},
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue counting where the checkpoint left off."""
        self._watch.load_state(state)
        self.best_step, self.best_epoch = state["best_step"], state["best_epoch"]
        self._kept_value = state.get("kept_value", self._watch.best)
        self._delay_left = state["delay_left"]
        if "loss" in state:  # not in a checkpoint of a version that went by the first loss alone
            self._loss.load_state(state["loss"])
        self.stop_reason = StopReason(state["stop_reason"]) if state["stop_reason"] else None
        self._best = dict(state.get("best_weights") or {})
