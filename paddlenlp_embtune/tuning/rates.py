"""The effective learning rate of every group, in the run's record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paddlenlp_embtune import host
from paddlenlp_embtune.tuning.callback import EmbtuneCallback

__all__ = ["RateCallback"]


class RateCallback(EmbtuneCallback):
    """Records, whenever the Trainer logs, the absolute rate that each group's next step will use; 0 while it is frozen.

    Args:
        groups: a parameter that stands for each group, by the group's name.
    """

    def __init__(self, groups: Mapping[str, Any]) -> None:
        super().__init__()
        self.groups = dict(groups)

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write the rates of all groups, and the loss if the log has one."""
        logs = kwargs.get("logs") or {}
        if "loss" not in logs:
            return
        rates = {
            name: 0.0 if parameter.stop_gradient else host.effective_rate(parameter, kwargs["optimizer"])
            for name, parameter in self.groups.items()
        }
        self.record.write("rates", epoch=state.epoch, step=state.global_step, loss=logs["loss"], rates=rates)
