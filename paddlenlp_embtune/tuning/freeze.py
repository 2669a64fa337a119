"""Freeze parameters first, release them later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.tuning.callback import EmbtuneCallback
from paddlenlp_embtune.tuning.groups import match_parameters

__all__ = ["FreezeCallback"]


class FreezeCallback(EmbtuneCallback):
    """Keeps parameters bit-equal until an epoch begins: no gradient is computed for them, no decay applied.

    Freezing happens when training begins, after the Trainer has wrapped the model for several processes: parameters that are
    frozen earlier are never synchronised between replicas.

    Args:
        parameters: patterns of parameter names.
        unfreeze_at_epoch: the 0-based epoch at whose start they are released, 1 or more.
    Raises:
        PatternError: on_train_begin, a pattern matched nothing.
    """

    def __init__(self, parameters: Sequence[str], *, unfreeze_at_epoch: int) -> None:
        super().__init__()
        if unfreeze_at_epoch < 1:
            raise RecipeError(f"unfreeze_at_epoch is {unfreeze_at_epoch}; legal: 1 or more, the 0-based epoch of release")
        self.patterns = tuple(parameters)
        self.unfreeze_at_epoch = unfreeze_at_epoch
        self._frozen: dict[str, Any] = {}
        self._epoch = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Freeze, unless training resumes behind the release."""
        super().on_train_begin(args, state, control, **kwargs)
        self._epoch = epochs_done(args, state)
        matched = match_parameters(kwargs["model"], self.patterns, what="freeze")
        # What was frozen before us is not ours to release.
        self._frozen = {name: parameter for name, parameter in matched.items() if not parameter.stop_gradient}
        if self._epoch < self.unfreeze_at_epoch:
            self._set(frozen=True)
            self._write("frozen")
        else:
            self._frozen = {}

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Release when the epoch has come."""
        if self._frozen and self._epoch >= self.unfreeze_at_epoch:
            self._set(frozen=False)
            self._write("released")
            self._frozen = {}
        self._epoch += 1

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Leave the model as trainable as it was found, even if training stopped early."""
        self._set(frozen=False)
        self._frozen = {}

    def _set(self, *, frozen: bool) -> None:
        for parameter in self._frozen.values():
            parameter.stop_gradient = frozen

    def _write(self, what: str) -> None:
        size = sum(int(parameter.size) for parameter in self._frozen.values())
        self.record.write("phase", epoch=self._epoch, what=what, tensors=list(self._frozen), parameters=size)

    def state(self) -> Mapping[str, Any]:
        """The phase follows from the epoch; the release is kept so that another recipe can be told apart."""
        return {"unfreeze_at_epoch": self.unfreeze_at_epoch, "patterns": list(self.patterns)}


def epochs_done(args: Any, state: Any) -> int:
    """Return the 0-based epoch that training begins with, as the Trainer counts on resume."""
    if not state.global_step:
        return 0
    if args.max_steps > 0 or not state.num_train_epochs:
        return int(state.epoch)
    steps_per_epoch = max(1, state.max_steps // int(state.num_train_epochs))
    return int(state.global_step // steps_per_epoch)
