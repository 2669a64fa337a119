"""The base of our callbacks: state that travels with the checkpoint, and a place in the run's record."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from paddlenlp_embtune import host
from paddlenlp_embtune.files import write_arrays, write_text
from paddlenlp_embtune.tuning.record import RunRecord

with host.quiet():
    from paddlenlp.trainer import TrainerCallback

__all__ = ["EmbtuneCallback", "checkpoint_folder"]

logger = logging.getLogger("paddlenlp_embtune")


class EmbtuneCallback(TrainerCallback):  # type: ignore[misc]
    """A ``TrainerCallback`` that saves its state with every checkpoint and finds it again on resume.

    Subclasses override ``state`` and ``load_state`` and call ``super()`` in ``on_train_begin``.
    """

    record: RunRecord

    def __init__(self) -> None:
        self.record = RunRecord()

    def state(self) -> Mapping[str, Any]:
        """Return what must survive a restart; values are JSON, numpy arrays, or mappings of names to numpy arrays."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what :meth:`state` returned."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Load the state of the checkpoint that the Trainer resumes from, if it does."""
        if not state.global_step:
            return
        folder = checkpoint_folder(args, state)
        if folder is not None and (folder / self._file("json")).is_file():
            self.load_state(self._read(folder))
            return
        logger.warning(
            "%s resumes at step %d without its state: no %s beside the checkpoint in %s; it begins afresh",
            type(self).__name__,
            state.global_step,
            self._file("json"),
            args.output_dir,
        )

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write the state into the checkpoint that the Trainer has just saved."""
        if not state.is_world_process_zero:
            return
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        plain, arrays = _separate(self.state())
        if arrays:
            write_arrays(folder / self._file("safetensors"), arrays)
        write_text(folder / self._file("json"), json.dumps(plain, ensure_ascii=False, indent=1) + "\n")

    def _read(self, folder: Path) -> dict[str, Any]:
        state: dict[str, Any] = json.loads((folder / self._file("json")).read_text(encoding="utf-8"))
        if (folder / self._file("safetensors")).is_file():
            from safetensors.numpy import load_file

            for key, value in load_file(folder / self._file("safetensors")).items():
                part, _, name = key.partition("/")
                if name:
                    state.setdefault(part, {})[name] = value
                else:
                    state[part] = value
        return state

    def _file(self, ending: str) -> str:
        return f"embtune_{type(self).__name__}.{ending}"


def checkpoint_folder(args: Any, state: Any) -> Path | None:
    """Return the folder that the Trainer resumes from, if it resumes and the folder can be told."""
    if not state.global_step:
        return None
    for folder in (Path(args.output_dir) / f"checkpoint-{state.global_step}", args.resume_from_checkpoint):
        if folder is not None and Path(folder).is_dir():
            return Path(folder)
    return None


def _separate(state: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split a state into what JSON holds and named arrays."""
    plain: dict[str, Any] = {}
    arrays: dict[str, Any] = {}
    for key, value in state.items():
        if isinstance(value, np.ndarray):
            arrays[key] = np.ascontiguousarray(value)
        elif isinstance(value, Mapping) and value and all(isinstance(item, np.ndarray) for item in value.values()):
            arrays.update({f"{key}/{name}": np.ascontiguousarray(item) for name, item in value.items()})
        else:
            plain[key] = value
    return plain, arrays
