"""Monitor the embedding while it trains: measure it, raise alarms, act on them, and report."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from paddlenlp_embtune import compat
from paddlenlp_embtune.config import AlarmSpec
from paddlenlp_embtune.embeddings.metrics import health_metrics
from paddlenlp_embtune.errors import RecipeError, expected_names
from paddlenlp_embtune.models import embedding_name
from paddlenlp_embtune.training.callbacks._agreement import AgreementTracker
from paddlenlp_embtune.training.callbacks._batch_stats import StepSampler
from paddlenlp_embtune.training.callbacks._embedding_probe import EmbeddingProbe
from paddlenlp_embtune.training.callbacks._visualdl import draw_table
from paddlenlp_embtune.training.callbacks.alarms import AlarmBoard, describe_alarm, resolve_alarms
from paddlenlp_embtune.training.callbacks.base import EmbtuneCallback, cancel_eval_and_save, skip_step_and_stop
from paddlenlp_embtune.training.callbacks.monitored_rows import MonitoredRows
from paddlenlp_embtune.training.callbacks.row_constraints import restore_rows
from paddlenlp_embtune.training.parameter_groups import match_parameters
from paddlenlp_embtune.utils.schema import require

if TYPE_CHECKING:
    from paddlenlp_embtune.training.context import TrainingContext

__all__ = ["EmbeddingHealthCallback"]

logger = logging.getLogger("paddlenlp_embtune")


class EmbeddingHealthCallback(EmbtuneCallback):
    """Compares the embedding with its start at the end of epochs, samples gradients on the way, and acts on alarms.

    Put it after freezing and clipping, so that it sees the gradients that the optimizer sees.

    Args:
        parameter: name of the embedding parameter; None finds it.
        every_epochs: a check at the end of every so many epochs, unless fewer steps than a hundredth of the watched rows have
            passed since the last check.
        geometry_every_steps: least number of steps between two measurements of the table's shape; None takes a tenth of the
            watched rows, 400 at least.
        gradient_every_steps: look at gradients and batches at every so many steps.
        drift_alarm: the threshold of the alarm ``drift``; None takes that of ``alarms``.
        alarms: by name; None takes the built-in ones.
        monitored_rows: what is known about the rows.
        tokens: short for ``monitored_rows=MonitoredRows(tokens=tokens)``.
        measures: further measures by name, called with ``start=`` and ``now=``, both (V, D) float32, of the watched rows; one
            that fails is left out, and recorded once.
        report: called with numbers for the Trainer's log, for example ``trainer.log``; None reports nowhere.
        lower_learning_rate: called with a factor for the action ``lower_rate``; None refuses alarms that ask for it.
    Raises:
        RecipeError: an invalid value, or an action that cannot be taken.
    """

    def __init__(
        self,
        *,
        parameter: str | None = None,
        every_epochs: int = 1,
        geometry_every_steps: int | None = None,
        gradient_every_steps: int = 32,
        drift_alarm: float | None = None,
        alarms: Mapping[str, AlarmSpec] | None = None,
        monitored_rows: MonitoredRows | None = None,
        tokens: Sequence[str] | None = None,
        measures: Mapping[str, Callable[..., float]] | None = None,
        report: Callable[[dict[str, float]], Any] | None = None,
        lower_learning_rate: Callable[[float], Any] | None = None,
    ) -> None:
        super().__init__()
        require(every_epochs >= 1, "every_epochs", every_epochs, "1 or more")
        require(gradient_every_steps >= 1, "gradient_every_steps", gradient_every_steps, "1 or more")
        if geometry_every_steps is not None:
            require(geometry_every_steps >= 1, "geometry_every_steps", geometry_every_steps, "1 or more")
        self.parameter = parameter
        self.every_epochs = every_epochs
        self.geometry_every_steps = geometry_every_steps
        self.report = report
        self.lower_learning_rate = lower_learning_rate
        self.writer: Callable[[], Any] | None = None
        self.checks: list[dict[str, Any]] = []
        self.board = AlarmBoard(resolve_alarms({}, {}, drift=drift_alarm) if alarms is None else alarms)
        self.sampler = StepSampler(every_steps=gradient_every_steps)
        self.probe = EmbeddingProbe(
            monitored_rows or MonitoredRows(tokens=tokens), sampler=self.sampler, measures=measures, report=self._miss
        )
        self._saved: dict[str, Any] = {}
        self._embedding: Any = None
        self._frozen = False
        self._held = False
        self._batch: Any = None
        self._stopped = False
        self._over = False
        self._geometry_step = self._check_step = 0
        self._agreement = AgreementTracker()

    def setup(self, context: TrainingContext) -> None:
        """Take the groups, what is known about the rows, where to report, and how a learning rate is lowered."""
        super().setup(context)
        if self.probe.monitored == MonitoredRows():
            self.probe.monitored = context.monitored_rows
        self.report = self.report or context.log
        self.writer = context.visualdl_writer
        self.sampler.groups = {group.spec.name: group.parameters for group in context.groups if group.parameters}
        owner = context.group_of(self.parameter or embedding_name(context.model))
        self.lower_learning_rate = self.lower_learning_rate or (lambda factor: context.scale_learning_rate(owner, factor))

    def settings(self) -> Mapping[str, Any]:
        """Cadence and alarms, which may act on the run."""
        alarms = {name: dataclasses.asdict(alarm) for name, alarm in self.board.alarms.items()}
        for alarm in alarms.values():
            alarm.pop("advice")
        return {"every_epochs": self.every_epochs, "geometry_every_steps": self.geometry_every_steps, "alarms": alarms}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Remember where the embedding starts."""
        known = {*health_metrics.HEALTH_METRICS, *self.probe.measures}
        for name, alarm in self.board.alarms.items():
            if alarm.measure not in known:
                raise RecipeError(f"the alarm {name!r} watches {alarm.measure!r}; {expected_names(alarm.measure, known)}")
        asking = [name for name, alarm in self.board.alarms.items() if alarm.action == "lower_rate"]
        if asking and self.lower_learning_rate is None:
            raise RecipeError(
                f"the alarm {asking[0]!r} lowers a learning rate, and this callback does not know how; use attach, or "
                "pass lower_learning_rate= to the callback"
            )
        model = kwargs["model"]
        name = self.parameter or embedding_name(model)
        self._embedding = match_parameters(model, [name], what="health")[name]
        self._saved = {}
        self._frozen = self._stopped = self._over = False
        self._geometry_step = self._check_step = 0
        self._agreement = AgreementTracker()
        self.board.active.clear()
        self.sampler.clear()
        super().on_train_begin(args, state, control, **kwargs)
        self.probe.begin(self._embedding, start=self._saved.get("start"), last=self._saved.get("last"))
        self.sampler.begin(model, self._embedding, self.probe.monitored.unknown)
        self._over = self._stopped
        if self._frozen:
            self._hold()

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Look at the table before the first step, when every callback has begun: rates are lowered after they are set."""
        if not state.global_step:
            self._judge(self.probe.first_look(), state, control)

    def on_load_data_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Keep the batch; the host shows those too that it skips on resume."""
        self._batch = kwargs.get("inputs")

    def on_substep_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Count the tokens of a batch whose gradients are accumulated."""
        self.sampler.see_batch(self._batch)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Cancel evaluations and checkpoints of a run that was over when it was resumed."""
        if self._over:
            cancel_eval_and_save(control)

    def on_optimizer_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Count and sample; keep the embedding frozen, or let nothing move, if an alarm asked for it."""
        if self._over:
            skip_step_and_stop(kwargs["model"], control)
            return
        self.sampler.see_batch(self._batch)
        if self._frozen and not self._embedding.stop_gradient:
            self._hold()
            self._embedding.clear_gradient(False)
        self.sampler.see_gradients(int(state.global_step))

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Check, record, raise alarms and act on them."""
        if self._over:
            cancel_eval_and_save(control)
            return
        steps = compat.steps_per_epoch(args, kwargs.get("train_dataloader"))
        epoch = int(state.global_step) // steps if steps else int(state.epoch or 0)
        last = bool(control.should_training_stop) or int(state.global_step) >= int(state.max_steps)
        soon = int(state.global_step) - self._check_step < len(self.probe.start) // 100
        if (epoch % self.every_epochs or soon) and not last:
            return
        wait = self.geometry_every_steps or max(400, len(self.probe.start) // 10)
        self._examine(state, control, geometry=last or int(state.global_step) - self._geometry_step >= wait, last=last)

    def _examine(self, state: Any, control: Any, *, geometry: bool, last: bool) -> None:
        check = {"epoch": state.epoch, "step": int(state.global_step), **self.check(geometry=geometry)}
        self._check_step = int(state.global_step)
        if geometry:
            self._geometry_step = int(state.global_step)
        self.checks.append(check)
        self.record.write("health", **check)
        if self.report is not None:
            plain = {
                key: value for key, value in check.items() if isinstance(value, (int, float)) and key not in ("epoch", "step")
            }
            self.report({f"health/{key}": float(value) for key, value in plain.items()})
        writer = self.writer() if self.writer is not None else None
        if writer is not None and "rows_broken" not in check:
            draw_table(
                writer, self.probe.start, self.probe.now(), int(state.global_step), name_of=self.probe.token if last else None
            )
        self._judge(check, state, control)

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Look at what an evaluation says about the predictions."""
        if not state.global_step or self._over:
            return
        if found := self._agreement.update(kwargs.get("metrics") or {}):
            self.record.write("agreement", epoch=state.epoch, step=int(state.global_step), **found)
            self._judge(found, state, control)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Check once more, if the last check left the geometry out; leave the embedding as trainable as it was found."""
        if (
            self._embedding is not None
            and state.global_step
            and not self._over
            and self._geometry_step != int(state.global_step)
        ):
            self._examine(state, control, geometry=True, last=True)
        if self._held:
            self._embedding.stop_gradient = self._held = False

    def check(self, *, geometry: bool = True) -> dict[str, Any]:
        """Measure now, the watched rows only; see :meth:`EmbeddingProbe.check`."""
        return self.probe.check(geometry=geometry)

    def _miss(self, name: str, why: str) -> None:
        """Record that a measure failed, and say so; the run continues without it."""
        owner = getattr(getattr(self.probe.measures[name], "entry", None), "owner", None)
        self.record.write("measure_failed", measure=name, plugin=owner, why=why)
        whose = f" of the plugin {owner!r}" if owner else ""
        logger.warning("the measure %r%s is left out of this and further checks in which it fails: %s", name, whose, why)

    def _judge(self, found: Mapping[str, Any], state: Any, control: Any) -> None:
        for name, alarm, value in self.board.judge(found, evals=self._agreement.evals):
            message = describe_alarm(name, alarm, value)
            done = self._act(alarm, state, control)
            self.record.write(
                "alarm",
                epoch=state.epoch,
                step=int(state.global_step),
                name=name,
                measure=alarm.measure,
                value=value,
                action=alarm.action,
                done=done,
                message=message,
            )
            logger.warning("%s%s", message, f" ({done})" if done else "")

    def _act(self, alarm: AlarmSpec, state: Any, control: Any) -> str:
        """Do what an alarm asks for; return what was done, as a clause."""
        if alarm.action == "lower_rate" and self.lower_learning_rate is not None:
            self.lower_learning_rate(alarm.factor)
            return f"the learning rate of the embedding was multiplied by {alarm.factor}"
        if alarm.action == "freeze":
            self._frozen = True
            self._hold()
            return "the embedding is frozen from here on"
        if alarm.action == "restore_rows":
            seen = self.probe
            count = restore_rows(self._embedding, seen.start, seen.now(), seen.rows, bound=alarm.row_drift)
            return f"{count} rows were put back to where they started"
        if alarm.action == "stop":
            control.should_training_stop = self._stopped = True
            self.record.write("stopped", reason="alarm", epoch=state.epoch, step=int(state.global_step))
            return "training stops"
        return ""

    def _hold(self) -> None:
        """Freeze the embedding; one that something else has frozen is not ours to release later."""
        self._held = self._held or not self._embedding.stop_gradient
        self._embedding.stop_gradient = True

    def state(self) -> Mapping[str, Any]:
        """Start and last look of the watched rows, alarms that are on, and what was sampled since the last check."""
        return {
            "active": sorted(self.board.active),
            "frozen": self._frozen,
            "stopped": self._stopped,
            "geometry_step": self._geometry_step,
            "check_step": self._check_step,
            **self._agreement.state(),
            **self.sampler.state(),
            **self.probe.state(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Measure from the same start again."""
        self.board.active = set(state["active"])
        self._frozen, self._stopped = state["frozen"], state["stopped"]
        self._geometry_step, self._check_step = state["geometry_step"], state["check_step"]
        self._agreement.load_state(state)
        self._saved = {key: state[key] for key in ("start", "last") if key in state}
        self.sampler.load_state(state)
