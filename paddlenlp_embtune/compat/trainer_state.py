"""The Trainer's own state in a checkpoint, which the Trainer does not check."""

from __future__ import annotations

import dataclasses
import math
import stat
from pathlib import Path
from typing import Any

from paddlenlp_embtune.compat.host import trainer_module
from paddlenlp_embtune.errors import HostError
from paddlenlp_embtune.utils.json_yaml import read_json, shorten

__all__ = ["TRAINER_STATE", "read_trainer_state"]

TRAINER_STATE = "trainer_state.json"

_PICKLED_STATE = "trainer_state.bin"  # what PaddleFormers writes, left alone
_NEXT_STEP = "resume from another checkpoint"
_COUNTS = ("global_step", "consumed_samples", "max_steps", "num_train_epochs")
_NUMBERS = ("epoch", "total_flos", "best_metric")


def read_trainer_state(checkpoint: Path) -> dict[str, Any]:
    """Read ``trainer_state.json``, and refuse what the Trainer would fail on, or start over from.

    Raises:
        HostError: there is none, or it is damaged, or no step had been made.
    """
    file = checkpoint / TRAINER_STATE
    try:
        regular = stat.S_ISREG(file.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        if (checkpoint / _PICKLED_STATE).exists():
            raise HostError(
                f"{checkpoint} has the Trainer's state only as a pickle, {_PICKLED_STATE}, which is not read; resume from a "
                "checkpoint that was written with attach"
            ) from None
        raise HostError(f"{checkpoint} is no checkpoint of a Trainer: it has no {TRAINER_STATE}; {_NEXT_STEP}") from None
    if not regular:
        raise HostError(f"{file} is no regular file; {_NEXT_STEP}")
    state = read_json(file, error=HostError, finite=False)
    known = {field.name for field in dataclasses.fields(trainer_module().TrainerState)}
    if not isinstance(state, dict) or (unknown := sorted(set(state) - known)):
        found = shorten(unknown[0]) if isinstance(state, dict) else f"no JSON object, but a {type(state).__name__}"
        raise HostError(f"{file} holds {found}, which the Trainer does not know; {_NEXT_STEP}")
    for name, value in state.items():
        if not _fits(name, value):
            raise HostError(f"{file} is damaged: {name} is {shorten(value)}; {_NEXT_STEP}")
    if not state.get("global_step"):
        raise HostError(f"{file} is of step 0, so there is nothing to continue from; {_NEXT_STEP}")
    return state


def _fits(name: str, value: Any) -> bool:
    if name in _COUNTS:
        return type(value) is int and 0 <= value < 1 << 62
    if name in _NUMBERS:
        return value is None or (type(value) in (int, float) and (name != "epoch" or (math.isfinite(value) and value >= 0)))
    if name == "log_history":
        return value is None or (isinstance(value, list) and all(isinstance(row, dict) for row in value))
    if name in ("best_model_checkpoint", "trial_name"):
        return value is None or (isinstance(value, str) and "\0" not in value)
    if name == "trial_params":
        return value is None or isinstance(value, dict)
    return type(value) is bool if name.startswith("is_") else True
