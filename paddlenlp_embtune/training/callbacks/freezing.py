"""Freeze parameters first, release them later, all at once or one unit after the other."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from paddlenlp_embtune import compat
from paddlenlp_embtune.config import FreezeSpec, PlateauSpec
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.training.callbacks._metric_monitor import MetricMonitor, metric_value
from paddlenlp_embtune.training.callbacks.base import EmbtuneCallback
from paddlenlp_embtune.training.parameter_groups import match_parameters
from paddlenlp_embtune.utils.schema import to_plain

__all__ = ["FreezingCallback"]

logger = logging.getLogger("paddlenlp_embtune")

Patterns = Sequence[str]


class FreezingCallback(EmbtuneCallback):
    """Keeps parameters bit-equal until their release: no gradient is computed for them, no decay applied, no state made.

    Freezing happens when training begins, after the Trainer has wrapped the model for several processes: parameters that are
    frozen earlier are never synchronised between replicas.

    Args:
        parameters: patterns of parameter names, each a unit of release; or patterns by the name of a unit.
        unfreeze_at_epoch: the 0-based epoch at whose start the units are released, 1 or more.
        unfreeze_at_step: the number of steps for which they stay frozen, 1 or more.
        unfreeze_on_plateau: release when a metric stops improving; an epoch or a step beside it is the latest time.
        permanent: never release them.
        gradual: release one unit at a time in the order given, the first as stated above, the next ``every_epochs``,
            ``every_steps`` or one plateau later.
        every_epochs, every_steps: distance between two releases.
        refreeze_at_epoch, refreeze_at_step: freeze all units again.
    Raises:
        RecipeError: nothing, or too much, is stated about the release; on_train_begin, the run is too short to release
            anything, or all that should be released was frozen before training began.
        PatternError: on_train_begin, a pattern matched nothing.
    """

    def __init__(
        self,
        parameters: Patterns | Mapping[str, Patterns],
        *,
        unfreeze_at_epoch: int | None = None,
        unfreeze_at_step: int | None = None,
        unfreeze_on_plateau: PlateauSpec | None = None,
        permanent: bool = False,
        gradual: bool = False,
        every_epochs: int | None = None,
        every_steps: int | None = None,
        refreeze_at_epoch: int | None = None,
        refreeze_at_step: int | None = None,
    ) -> None:
        super().__init__()
        compat.expect_unused_parameters()
        stated = (unfreeze_at_epoch, unfreeze_at_step, unfreeze_on_plateau)
        if not permanent and all(value is None for value in stated):
            raise RecipeError(
                "this freeze would never release anything; state unfreeze_at_epoch, unfreeze_at_step or unfreeze_on_plateau, "
                "or permanent=True"
            )
        if isinstance(parameters, str):
            parameters = (parameters,)
        self.units = (
            {name: (patterns,) if isinstance(patterns, str) else tuple(patterns) for name, patterns in parameters.items()}
            if isinstance(parameters, Mapping)
            else {pattern: (pattern,) for pattern in parameters}
        )
        # The rules for the values are the recipe's.
        self.spec = FreezeSpec(
            groups=tuple(self.units),
            unfreeze_at_epoch=unfreeze_at_epoch,
            unfreeze_at_step=unfreeze_at_step,
            unfreeze_on_plateau=unfreeze_on_plateau,
            permanent=permanent,
            gradual=gradual,
            every_epochs=every_epochs,
            every_steps=every_steps,
            refreeze_at_epoch=refreeze_at_epoch,
            refreeze_at_step=refreeze_at_step,
        )
        self._watch = MetricMonitor(unfreeze_on_plateau) if unfreeze_on_plateau is not None else None
        self._members: dict[str, dict[str, Any]] = {}
        self._model: Any = None
        self._released: list[str] = []
        self._refrozen = False
        self._epoch = 0
        self._next_epoch = 0

    @classmethod
    def from_spec(cls, spec: FreezeSpec, units: Mapping[str, Patterns]) -> FreezingCallback:
        """Build the callback that a recipe asks for; units are parameter names by the name of a group."""
        plain = {field.name: getattr(spec, field.name) for field in dataclasses.fields(spec)}
        return cls(units, **{name: value for name, value in plain.items() if name not in ("groups", "warmup_steps", "cached")})

    @property
    def waiting(self) -> bool:
        """Whether a unit is still to be released."""
        return not self.spec.permanent and len(self._released) < len(self.units)

    def settings(self) -> Mapping[str, Any]:
        """The units in order, and when each is released or frozen again."""
        return {"units": {name: list(patterns) for name, patterns in self.units.items()}, **to_plain(self.spec)}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Freeze what is not released yet."""
        self._model = model = kwargs["model"]
        # An interrupted training never reached on_train_end.
        self._set(list(self._members), frozen=False)
        self._released, self._refrozen = [], False
        self._watch = MetricMonitor(self._watch.spec) if self._watch is not None else None
        super().on_train_begin(args, state, control, **kwargs)
        steps = compat.steps_per_epoch(args, kwargs.get("train_dataloader"))
        self._epoch = self._next_epoch = int(state.global_step) // steps if steps else int(state.epoch or 0)
        self._check_length(state, steps)
        self._check_order(steps)
        self._members = {}
        taken: set[str] = set()
        for unit, patterns in self.units.items():
            matched = match_parameters(model, patterns, what="freeze")
            # What was frozen before us is not ours to release, and a parameter belongs to the first unit that names it.
            self._members[unit] = {n: p for n, p in matched.items() if not p.stop_gradient and n not in taken}
            taken.update(matched)
        self._check_members()
        held = [unit for unit in self.units if self._refrozen or unit not in self._released]
        if held:
            self._set(held, frozen=True)
            self._write("frozen", held, state)
        if all(parameter.stop_gradient for parameter in model.parameters()):
            self._set(held, frozen=False)
            raise RecipeError(
                f"nothing is left to train while {', '.join(held)} are frozen; leave at least one parameter out of freeze"
            )
        compat.restore_layer_norms(model)  # an interrupted training has left them
        compat.fix_layer_norm_gradients(model)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Release, or freeze again, what this epoch asks for."""
        self._epoch, self._next_epoch = self._next_epoch, self._next_epoch + 1
        due = self._due(self.spec.unfreeze_at_epoch, self.spec.every_epochs or 1, self._epoch)
        self._release(due, state)
        if self.spec.refreeze_at_epoch is not None and self._epoch >= self.spec.refreeze_at_epoch:
            self._refreeze(state)

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Release, or freeze again, what this step asks for."""
        at = self.spec.unfreeze_at_step
        if at is not None and self.waiting:
            self._release(self._due(at, self.spec.every_steps or at, int(state.global_step)), state)
        again = self.spec.refreeze_at_step
        if again is not None and not self._refrozen and state.global_step >= again:
            self._refreeze(state)

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Release when the metric has stopped improving."""
        if self._watch is None or not self.waiting or not self._members:
            return
        value = metric_value(kwargs.get("metrics") or {}, self._watch.spec.metric, what="the freeze schedule")
        if value is None:
            return
        self._watch.update(value)
        if self._watch.stalled:
            self._watch.restart()
            self._release(len(self._released) + 1 if self.spec.gradual else len(self.units), state)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Leave the model as trainable as it was found, even if training stopped early."""
        if self.waiting:
            left = [unit for unit in self.units if unit not in self._released]
            logger.warning("training ended before the freeze schedule released %s", ", ".join(left))
        self.teardown()

    def teardown(self) -> None:
        """Leave the model as trainable as it was found; also called when training was interrupted."""
        if self._model is not None:
            self._set(list(self._members), frozen=False)
            compat.restore_layer_norms(self._model)
        self._members, self._model = {}, None

    def _due(self, first: int | None, distance: int, now: int) -> int:
        """How many units should be released by now."""
        if first is None or now < first or self.spec.permanent:
            return 0
        return 1 + (now - first) // distance if self.spec.gradual else len(self.units)

    def _release(self, count: int, state: Any) -> None:
        due = [unit for unit in list(self.units)[:count] if unit not in self._released]
        if due and not self._refrozen:
            self._released.extend(due)
            self._set(due, frozen=False)
            self._write("released", due, state)

    def _refreeze(self, state: Any) -> None:
        if self._refrozen:
            return
        if left := [unit for unit in self.units if unit not in self._released]:
            logger.warning("frozen again before the freeze schedule released %s", ", ".join(left))
        self._refrozen = True
        self._released = list(self.units)
        self._set(list(self.units), frozen=True)
        self._write("frozen again", list(self.units), state)

    def _set(self, units: Sequence[str], *, frozen: bool) -> None:
        for unit in units:
            for parameter in self._members.get(unit, {}).values():
                parameter.stop_gradient = frozen
                if frozen and parameter.grad is not None:
                    parameter.clear_gradient(False)

    def _write(self, what: str, units: Sequence[str], state: Any) -> None:
        members = {name: parameter for unit in units for name, parameter in self._members[unit].items()}
        size = sum(int(parameter.size) for parameter in members.values())
        self.record.write(
            "phase",
            epoch=self._epoch,
            step=int(state.global_step),
            what=what,
            units=list(units),
            tensors=list(members),
            parameters=size,
        )

    def _check_length(self, state: Any, steps: int | None) -> None:
        """Refuse a schedule that the run is too short for; only a metric may leave the release open."""
        epochs = int(state.num_train_epochs) if state.num_train_epochs else None
        if steps:
            epochs = -(-int(state.max_steps) // steps)
        ends = {"epoch": epochs, "step": int(state.max_steps)}
        later = len(self.units) - 1 if self.spec.gradual else 0
        for unit, end in ends.items():
            first, again = getattr(self.spec, f"unfreeze_at_{unit}"), getattr(self.spec, f"refreeze_at_{unit}")
            distance = getattr(self.spec, f"every_{unit}s") or (1 if unit == "epoch" else first)
            last = first + later * distance if first is not None and self._watch is None else None
            for name, value, what in (("unfreeze_at", last, "released"), ("refreeze_at", again, "frozen again")):
                if value is not None and end is not None and value >= end:
                    raise RecipeError(
                        f"{name}_{unit} asks for the {unit} {value}, but the run has {end} {unit}s, so "
                        f"{list(self.units)[-1]!r} would never be {what}; expected below {end}, or permanent=True"
                    )

    def _check_order(self, steps: int | None) -> None:
        """Refuse a second freeze that comes before, or with, the release of the last unit."""
        later = len(self.units) - 1 if self.spec.gradual else 0
        times: dict[str, int] = {}
        for unit, size in (("epoch", steps), ("step", 1)):
            first, again = getattr(self.spec, f"unfreeze_at_{unit}"), getattr(self.spec, f"refreeze_at_{unit}")
            distance = getattr(self.spec, f"every_{unit}s") or (1 if unit == "epoch" else first)
            if first is not None and size and self._watch is None:
                times["release"] = (first + later * distance) * size
            if again is not None and size:
                times["again"] = again * size
        if "release" in times and "again" in times and times["again"] <= times["release"]:
            raise RecipeError(
                f"all units are frozen again at step {times['again']}, but {list(self.units)[-1]!r} waits until step "
                f"{times['release']}, so it would never be released; expected a second freeze after the last release"
            )

    def _check_members(self) -> None:
        for unit, members in self._members.items():
            if not members and not self.spec.permanent:
                raise RecipeError(
                    f"everything that the freeze of {unit!r} should release was frozen before training began, or belongs to an "
                    "earlier unit; leave it trainable: the schedule freezes it itself, after replicas are wrapped, because "
                    "parameters frozen earlier are never synchronised between processes"
                )

    def state(self) -> Mapping[str, Any]:
        """What has been released, and the metric that a release waits for."""
        watch = self._watch.state() if self._watch is not None else None
        return {"released": list(self._released), "refrozen": self._refrozen, "watch": watch}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue in the phase of the checkpoint."""
        self._released = list(state.get("released") or [])
        self._refrozen = bool(state.get("refrozen"))
        if self._watch is not None and state.get("watch"):
            self._watch.load_state(state["watch"])
