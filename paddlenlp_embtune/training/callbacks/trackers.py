"""Experiment trackers of plugins: parameters, metrics and files of a run, and never the end of it."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from paddlenlp_embtune.training.callbacks.base import EmbtuneCallback

__all__ = ["TrackerCallback", "flatten"]

logger = logging.getLogger("paddlenlp_embtune")


def flatten(values: Mapping[str, Any], *, prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one, with names such as ``train.epochs``; lists stay."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            found |= flatten(value, prefix=f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


class TrackerCallback(EmbtuneCallback):
    """Tells trackers what the Trainer logs: losses, metrics of evaluations, learning rates, embedding health.

    A tracker that raises is left out from then on; a line is logged, and the record has an event ``tracker_failed``. A run
    that continues from a checkpoint continues the tracker's run too, where the tracker can.

    Args:
        trackers: by name; see the hook ``embtune_register_trackers`` for what they do.
        parameters: of the run, flat.
        name: of the run.
    """

    def __init__(self, trackers: Mapping[str, Any], parameters: Mapping[str, Any], *, name: str) -> None:
        super().__init__()
        self.keeps_open = False
        """Whether somebody calls :meth:`finish` after training, with the files of the run."""
        self._trackers = dict(trackers)
        self._parameters = dict(parameters)
        self._name = name
        self._ids: dict[str, Any] = {}
        self._begun = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin a run in every tracker, or continue the one of the checkpoint; in the first process alone."""
        super().on_train_begin(args, state, control, **kwargs)
        if not state.is_world_process_zero:
            self._trackers.clear()
        self._begun = True
        for name in list(self._trackers):
            self._ids[name] = self._call(
                name, "start", name=self._name, parameters=dict(self._parameters), previous=self._ids.get(name)
            )

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        """Hand on every finite number."""
        self.log(logs or {}, step=state.global_step)

    def log(self, values: Mapping[str, Any], *, step: int) -> None:
        """Hand finite numbers to all trackers."""
        numbers = {
            key: float(value)
            for key, value in values.items()
            if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        }
        for name in list(self._trackers) if numbers else ():
            self._call(name, "log", metrics=dict(numbers), step=int(step))

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """End the runs, unless somebody has files to add."""
        if not self.keeps_open:
            self.finish("finished")

    def finish(self, status: str, *, files: Sequence[Path] = (), bundle: Path | None = None) -> None:
        """End the runs in all trackers.

        Args:
            status: ``finished`` or ``failed``.
            files: of the run, to be kept by the tracker.
            bundle: its folder.
        """
        for name in list(self._trackers) if self._begun else ():
            self._call(name, "finish", status=status, files=list(files), bundle=bundle)
        self._trackers.clear()

    def teardown(self) -> None:
        """End the runs as failed; called when training is interrupted."""
        self.finish("failed")

    def state(self) -> Mapping[str, Any]:
        """What the trackers call their runs."""
        return {"ids": {name: found for name, found in self._ids.items() if isinstance(found, str)}}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what the trackers call their runs."""
        self._ids = dict(state["ids"])

    @property
    def is_active(self) -> bool:
        """Whether a tracker is left."""
        return bool(self._trackers)

    def _call(self, tracker: str, method: str, /, **arguments: Any) -> Any:
        try:
            return getattr(self._trackers[tracker], method)(**arguments)
        except Exception as error:
            del self._trackers[tracker]
            self.report_failure(tracker, error)
            return None

    def report_failure(self, name: str, error: Exception) -> None:
        """Log that a tracker is left out, and why."""
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        logger.warning("the tracker %s failed and gets nothing more of this run: %s", name, why)
        self.record.write("tracker_failed", tracker=name, why=why)
