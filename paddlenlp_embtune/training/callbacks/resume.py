"""Make a resumed run see the same data in the same order, and draw the same random numbers, as one that was never cut."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from paddlenlp_embtune import compat
from paddlenlp_embtune.training.callbacks.base import EmbtuneCallback, checkpoint_folder, checkpoint_of

__all__ = ["ResumeCallback"]


class ResumeCallback(EmbtuneCallback):
    """Fixes what the Trainer's resume gets wrong; put it before all others.

    - The Trainer restores random states only when it skips batches, so not at the border of two epochs; and within an epoch it
      draws the order of the rows anew before it skips, so it skips other rows than those that were trained on.
    - Optimizers refuse to continue when a parameter was frozen at the checkpoint and trains after it, as there is no state for
    it.
    - A checkpoint that falls on the last step of an epoch is written before what happens at the epoch's end, its evaluation for
      example, which a resumed run then never makes. It is written after that here.
    - Batches that are left over at the end of an epoch, too few for an accumulated step, leave their gradients to the next
      epoch's first step. They are dropped here, as no checkpoint holds them.

    Args:
        recipe: plain values that a checkpoint must have been made with; a difference is refused.
    """

    def __init__(self, recipe: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.recipe = dict(recipe or {})
        self._epoch_start: dict[str, Any] = {}
        self._names: dict[str, str] = {}
        self._within_epoch = False
        self._later: dict[str, bool] = {}
        self._with_state: list[str] | None = None
        self._model: Any = None
        self._optimizer: Any = None
        self._first_event = 0

    def settings(self) -> Mapping[str, Any]:
        """The plain values that a checkpoint must have been made with."""
        return self.recipe

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Restore random states, and give loaded optimizer state to its parameters."""
        self._model, self._optimizer = kwargs["model"], kwargs["optimizer"]
        self._first_event, self._with_state = len(self.record.events), None
        super().on_train_begin(args, state, control, **kwargs)
        folder = checkpoint_folder(args, state)
        if folder is None:
            return
        steps = compat.steps_per_epoch(args, kwargs.get("train_dataloader"))
        self._within_epoch = bool(self._epoch_start) and steps is not None and state.global_step % steps != 0
        if not self._within_epoch:
            compat.restore_random_state(folder, world_size=args.world_size, rank=args.process_index)
        self.record.write("resumed", epoch=state.epoch, step=int(state.global_step), checkpoint=folder.name)
        now = {name: parameter.name for name, parameter in self._model.named_parameters()}
        former = {now[name]: old for name, old in self._names.items() if name in now}
        compat.apply_optimizer_state(self._optimizer, former, expected=self._with_state)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Restore, or remember, the state from which the order of this epoch's rows is drawn."""
        for parameter in kwargs["model"].parameters():
            if parameter.grad is not None:
                parameter.clear_gradient()
        if self._within_epoch:
            np.random.set_state(("MT19937", self._epoch_start["keys"], self._epoch_start["position"], 0, 0.0))
            self._within_epoch = False
        _, keys, position, *_ = np.random.get_state(legacy=True)
        self._epoch_start = {"keys": np.asarray(keys, dtype=np.uint32), "position": int(position)}

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Put the checkpoint at the last step of an epoch off to the epoch's end, and an evaluation that it belongs to."""
        steps = compat.steps_per_epoch(args, kwargs.get("train_dataloader"))
        last = control.should_training_stop or (steps is not None and state.global_step % steps == 0)
        if control.should_save and last:
            self._later = {name: getattr(control, name) for name in ("should_save", "should_evaluate")}
            control.should_save = control.should_evaluate = False

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ask for what was put off."""
        for name, asked in self._later.items():
            setattr(control, name, asked or getattr(control, name))
        self._later = {}

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write the random states of every process, and what the base class writes."""
        compat.write_random_states(checkpoint_of(args, state), args)
        super().on_save(args, state, control, **kwargs)

    def state(self) -> Mapping[str, Any]:
        """The random state at the start of the epoch, Paddle's names of the parameters, and the record of training so far."""
        names = {name: parameter.name for name, parameter in self._model.named_parameters()} if self._model is not None else {}
        events = self.record.events[self._first_event :]
        trained = compat.parameters_with_state(self._optimizer) if self._optimizer is not None else []
        return {**self._epoch_start, "parameter_names": names, "optimizer_parameters": trained, "events": events}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Keep them for the first epoch of the resumed run, and continue the record."""
        self._with_state = [str(name) for name in state["optimizer_parameters"]]
        self._names = {str(name): str(own) for name, own in dict(state.get("parameter_names") or {}).items()}
        self._epoch_start = {}
        if "keys" in state:
            keys, position = state["keys"], state["position"]
            if keys.shape != (624,) or keys.dtype != np.uint32 or type(position) is not int or not 0 <= position <= 624:
                raise ValueError("keys and position are no state of numpy's generator")
            self._epoch_start = {"keys": keys, "position": position}
        self.record.restore(state.get("events") or [])
