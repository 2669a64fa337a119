"""The learning rate of every group at every step, exact, and in the logs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from paddlenlp_embtune import compat
from paddlenlp_embtune.config import PlateauSpec, ScheduleSpec
from paddlenlp_embtune.errors import HostError, RecipeError
from paddlenlp_embtune.training.callbacks._metric_monitor import MetricMonitor, metric_value
from paddlenlp_embtune.training.callbacks.base import EmbtuneCallback
from paddlenlp_embtune.training.parameter_groups import ParameterGroup
from paddlenlp_embtune.utils.schema import to_plain

if TYPE_CHECKING:
    from paddlenlp_embtune.training.context import TrainingContext

__all__ = ["LearningRateCallback", "schedule_factor"]


def schedule_factor(schedule: ScheduleSpec, step: int, max_steps: int) -> float:
    """Return the share of the peak rate that a step uses; a plateau's reductions come on top.

    Args:
        schedule: kind and warm-up.
        step: 0-based number of the step.
        max_steps: steps of the run.
    Source:
        Loshchilov and Hutter 2017, "SGDR", equation 5, for ``cosine``, with one cycle
    """
    warmup = int(schedule.warmup_ratio * max_steps)
    if step < warmup:
        return step / warmup
    if schedule.kind in ("constant", "plateau"):
        return 1.0
    left = max(0, max_steps - step) / max(1, max_steps - warmup)
    return left if schedule.kind == "linear" else 0.5 * (1.0 - math.cos(math.pi * left))


class LearningRateCallback(EmbtuneCallback):
    """Sets the absolute rate of every group before each step, and records the rates whenever the Trainer logs.

    A step at 5e-5 moves weights exactly as a plain optimizer at 5e-5 does: the rate goes in as it is, not as a multiplier of
    the Trainer's base rate, which it replaces for the parameters of these groups.

    Args:
        groups: the groups, resolved on the Trainer's model (:func:`resolve_groups`).
        schedule: how rates move, for groups that state no schedule of their own.
        warmup_steps: by name of a group: steps over which its rate climbs to its schedule again after a release.
        report: called with the rates when the Trainer logs a loss, for example ``trainer.log``; None reports nowhere.
    """

    def __init__(
        self,
        groups: Sequence[ParameterGroup],
        *,
        schedule: ScheduleSpec | None = None,
        warmup_steps: Mapping[str, int] | None = None,
        report: Callable[[dict[str, float]], Any] | None = None,
    ) -> None:
        super().__init__()
        schedule = schedule if schedule is not None else ScheduleSpec(kind="constant", warmup_ratio=0.0)
        self.groups = [group for group in groups if group.parameters]
        self.schedules = {group.spec.name: group.spec.schedule or schedule for group in self.groups}
        self.warmup_steps = dict(warmup_steps or {})
        for name, steps in self.warmup_steps.items():
            if steps < 0:
                raise RecipeError(f"warmup_steps of {name!r} is {steps}; expected 0 or more")
        self.report = report
        self._watches = {
            name: MetricMonitor(each.plateau or PlateauSpec())
            for name, each in self.schedules.items()
            if each.kind == "plateau"
        }
        self._scale = dict.fromkeys(self.schedules, 1.0)
        self._released_at: dict[str, int] = {}
        self._frozen: set[str] = set()
        self._tensors: dict[str, Any] = {}
        self._set: dict[str, float] = {}
        self._multipliers: list[tuple[Any, Any]] = []

    def setup(self, context: TrainingContext) -> None:
        """Report to the Trainer's log, where nothing else was given."""
        super().setup(context)
        self.report = self.report or context.log

    def settings(self) -> Mapping[str, Any]:
        """Rates, decays, members and schedules of the groups."""
        return {
            group.spec.name: {
                "rate": group.spec.rate,
                "weight_decay": group.spec.weight_decay,
                "decayed": sorted(group.decayed),
                "undecayed": sorted(group.undecayed),
                "schedule": to_plain(self.schedules[group.spec.name]),
                "warmup_steps": self.warmup_steps.get(group.spec.name, 0),
            }
            for group in self.groups
        }

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Give every parameter its group's rate.

        Raises:
            HostError: the optimizer does not know the groups, so that their weight decays would not hold.
        """
        # An interrupted training never reached on_train_end.
        self.on_train_end(args, state, control)
        self._watches = {name: MetricMonitor(watch.spec) for name, watch in self._watches.items()}
        self._scale = dict.fromkeys(self.schedules, 1.0)
        self._released_at, self._frozen = {}, set()
        super().on_train_begin(args, state, control, **kwargs)
        decays = args.weight_decay or any(group.spec.weight_decay for group in self.groups)
        if decays and self.groups and not compat.has_parameter_groups(kwargs["optimizer"]):
            raise HostError(
                "the Trainer's optimizer was built without the groups, so their weight decays would not hold; in your own "
                "create_optimizer, give it parameters=self.optimizer_grouped_parameters"
            )
        self._frozen |= {group.spec.name for group in self.groups if _is_frozen(group)}
        self._tensors = {group.spec.name: compat.learning_rate_tensor(0.0) for group in self.groups}
        self._set = dict.fromkeys(self._tensors, 0.0)
        self._multipliers = []
        for group in self.groups:
            for parameter in group.parameters.values():
                self._multipliers.append((parameter, parameter.optimize_attr["learning_rate"]))
                parameter.optimize_attr["learning_rate"] = self._tensors[group.spec.name]

    def on_optimizer_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Set the rates of this step."""
        for group in self.groups:
            name = group.spec.name
            frozen = _is_frozen(group)
            if name in self._frozen and not frozen:
                self._released_at[name] = int(state.global_step)
            (self._frozen.add if frozen else self._frozen.discard)(name)
        for name, rate in self.learning_rates_at(int(state.global_step), int(state.max_steps)).items():
            if rate != self._set[name]:
                self._tensors[name].fill_(rate)
                self._set[name] = rate

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Lower the rates whose metric has stopped improving."""
        if not self._multipliers:
            return
        for name, watch in self._watches.items():
            value = metric_value(kwargs.get("metrics") or {}, watch.spec.metric, what=f"the schedule of group {name!r}")
            if value is None:
                continue
            watch.update(value)
            if watch.stalled and name not in self._frozen:
                watch.restart()
                schedule = self.schedules[name]
                lowered = max(self._scale[name] * schedule.factor, schedule.floor)
                if lowered < self._scale[name]:
                    self.scale(name, lowered / self._scale[name], state)

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Record the rates of the last step, 0 where frozen, and the loss that was logged."""
        logs = kwargs.get("logs") or {}
        if "loss" not in logs or not self.groups:
            return
        rates = {name: 0.0 if name in self._frozen else rate for name, rate in self._set.items()}
        place = {"epoch": state.epoch, "step": state.global_step, "steps": state.max_steps}
        self.record.write("rates", **place, loss=logs["loss"], rates=rates)
        if self.report is not None:
            self.report({f"rate/{name}": rate for name, rate in rates.items()})

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Give the parameters their multipliers of the Trainer's base rate back."""
        for parameter, multiplier in self._multipliers:
            parameter.optimize_attr["learning_rate"] = multiplier
        self._multipliers = []

    def learning_rates_at(self, step: int, max_steps: int) -> dict[str, float]:
        """Return the absolute rate of each group at a 0-based step, as things stand; 0 for groups that are frozen."""
        rates = {}
        for group in self.groups:
            name = group.spec.name
            factor = schedule_factor(self.schedules[name], step, max_steps) * self._scale[name]
            if (steps := self.warmup_steps.get(name, 0)) and name in self._released_at:
                factor *= min(1.0, (step - self._released_at[name] + 1) / steps)
            rates[name] = 0.0 if _is_frozen(group) else group.spec.rate * factor
        return rates

    def scale(self, name: str, factor: float, state: Any) -> None:
        """Multiply a group's rate by a factor from now on, and record it."""
        self._scale[name] *= factor
        self.record.write("rate_scaled", epoch=state.epoch, step=state.global_step, group=name, factor=self._scale[name])

    def state(self) -> Mapping[str, Any]:
        """Reductions so far, the steps of release, and the metrics that plateaus wait for."""
        watches = {name: watch.state() for name, watch in self._watches.items()}
        return {"scale": self._scale, "released_at": self._released_at, "frozen": sorted(self._frozen), "watches": watches}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue with the rates of the checkpoint."""
        self._scale.update(state.get("scale") or {})
        self._released_at = dict(state.get("released_at") or {})
        self._frozen = set(state.get("frozen") or ())
        for name, watch in self._watches.items():
            watch.load_state(state["watches"][name])


def _is_frozen(group: ParameterGroup) -> bool:
    return all(parameter.stop_gradient for parameter in group.parameters.values())
