"""Make a resumed run see the same data in the same order, and draw the same random numbers, as one that was never cut."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from paddlenlp_embtune import host
from paddlenlp_embtune.tuning.callback import EmbtuneCallback, checkpoint_folder

__all__ = ["ResumeCallback"]


class ResumeCallback(EmbtuneCallback):
    """Mends two gaps of the Trainer's resume.

    The Trainer restores random states only when it skips batches, so not at the border of two epochs; and within an epoch it
    draws the order of the rows anew before it skips, so it skips other rows than those that were trained on. Optimizers refuse
    to load when a parameter was frozen at the checkpoint and trains after it, as there is no state for it yet.
    """

    def __init__(self) -> None:
        super().__init__()
        self._epoch_start: dict[str, Any] = {}
        self._within_epoch = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Restore random states, and give fresh optimizer state to parameters that the checkpoint has none for."""
        super().on_train_begin(args, state, control, **kwargs)
        folder = checkpoint_folder(args, state)
        if folder is None:
            return
        self._within_epoch = bool(self._epoch_start) and state.global_step != self._epoch_start["ends_at"]
        if not self._within_epoch:
            host.restore_random_state(folder)
        host.fill_optimizer_state(kwargs["optimizer"])

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Restore, or remember, the state from which the order of this epoch's rows is drawn."""
        if self._within_epoch:
            np.random.set_state(("MT19937", self._epoch_start["keys"], self._epoch_start["position"], 0, 0.0))
            self._within_epoch = False
        _, keys, position, *_ = np.random.get_state(legacy=True)
        steps = state.max_steps // max(1, int(state.num_train_epochs or 1))
        ends_at = (state.global_step // max(1, steps) + 1) * steps
        self._epoch_start = {"keys": np.asarray(keys, dtype=np.uint32), "position": int(position), "ends_at": ends_at}

    def state(self) -> Mapping[str, Any]:
        """The random state at the begin of the epoch."""
        return self._epoch_start

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Keep it for the first epoch of the resumed run."""
        self._epoch_start = dict(state)
