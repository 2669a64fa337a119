"""The base of our callbacks: state that travels with the checkpoint, and a place in the run's record."""

from __future__ import annotations

import json
import logging
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from paddlenlp_embtune import compat
from paddlenlp_embtune.compat import TrainerCallback
from paddlenlp_embtune.errors import EmbtuneError, HostError, RecipeError
from paddlenlp_embtune.training.run_log import RunRecord
from paddlenlp_embtune.utils.files.atomic_io import write_text
from paddlenlp_embtune.utils.json_yaml import read_json
from paddlenlp_embtune.utils.safetensors_io import SafetensorsFile, write_safetensors_file
from paddlenlp_embtune.utils.schema import differences

if TYPE_CHECKING:
    from paddlenlp_embtune.training.context import TrainingContext

__all__ = ["EmbtuneCallback", "cancel_eval_and_save", "checkpoint_folder", "checkpoint_of", "skip_step_and_stop"]

logger = logging.getLogger("paddlenlp_embtune")

_claims: list[tuple[weakref.ref[Any], weakref.ref[Any], str]] = []
"""Who saves under which name: (training arguments, callback, name), so that two callbacks of one class do not share a file."""


class EmbtuneCallback(TrainerCallback):  # type: ignore[misc]
    """A ``TrainerCallback`` that saves its state with every checkpoint and finds it again on resume.

    Subclasses override ``setup``, ``teardown``, ``settings``, ``state`` and ``load_state``, as far as they need them, and call
    ``super()`` in ``setup`` and ``on_train_begin``.
    """

    record: RunRecord

    def __init__(self) -> None:
        self.record = RunRecord()
        self._saved_as = type(self).__name__

    def setup(self, context: TrainingContext) -> None:
        """Take what only the Trainer's side knows; ``attach`` calls this once, before training.

        A callback that is handed to a ``Trainer`` directly never gets here and must do without.
        """
        self.record = context.record

    def teardown(self) -> None:
        """Restore what was changed in the model for training; ``attach`` also has this called when training is interrupted."""

    def settings(self) -> Mapping[str, Any]:
        """Return how the callback is set up, as JSON; a checkpoint that was made under other settings is refused."""
        return {}

    def state(self) -> Mapping[str, Any]:
        """Return what must survive a restart; values are JSON, numpy arrays, or mappings of names to numpy arrays."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what :meth:`state` returned."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Load the state of the checkpoint that the Trainer resumes from, if it does.

        Raises:
            RecipeError: the checkpoint was made under other settings; the message lists the differences.
            HostError: what it holds of this callback is damaged.
        """
        self._saved_as = _claim(self, state)
        if not state.global_step:
            return
        folder = checkpoint_folder(args, state)
        if folder is not None and (folder / self._file("json")).is_file():
            saved = self._read(folder, kwargs.get("model"))
            _refuse_other_settings(folder, self._saved_as, saved.pop("settings", {}), self.settings())
            try:
                self.load_state(saved)
            except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
                if isinstance(error, EmbtuneError):
                    raise
                file, reason = folder / self._file("json"), " ".join(f"{type(error).__name__}: {error}".split())[:200]
                raise HostError(f"{file} is damaged ({reason}); resume from another checkpoint") from None
            return
        logger.warning(
            "%s resumes at step %d without its state: no %s beside the checkpoint in %s; it starts over",
            type(self).__name__,
            state.global_step,
            self._file("json"),
            args.output_dir,
        )

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write the state into the checkpoint that the Trainer has just saved."""
        if not state.is_world_process_zero:
            return
        folder = checkpoint_of(args, state)
        plain, arrays = _separate(self.state())
        plain["settings"] = dict(self.settings())
        if arrays:
            write_safetensors_file(folder / self._file("safetensors"), arrays)
        write_text(folder / self._file("json"), json.dumps(plain, ensure_ascii=False, indent=1) + "\n")

    def _read(self, folder: Path, model: Any) -> dict[str, Any]:
        file = folder / self._file("json")
        state = read_json(file, error=HostError, finite=False)
        if not isinstance(state, dict) or not isinstance(state.get("settings", {}), dict):
            raise HostError(f"{file} is damaged: it holds no JSON object; resume from another checkpoint")
        arrays = folder / self._file("safetensors")
        stored = SafetensorsFile(arrays, error=HostError) if arrays.is_symlink() or arrays.exists() else None
        if stored is not None and model is not None:
            _check_parameters(stored, model)
        for key, value in (stored.read_all() if stored is not None else {}).items():
            part, _, name = key.partition("/")
            if name:
                inner = state.setdefault(part, {})
                if not isinstance(inner, dict):
                    raise HostError(f"{file} and {arrays.name} both hold {part!r}; resume from another checkpoint")
                inner[name] = value
            else:
                state[part] = value
        return state

    def _file(self, ending: str) -> str:
        return f"embtune_{self._saved_as}.{ending}"


def checkpoint_folder(args: Any, state: Any) -> Path | None:
    """Return the folder that the Trainer resumes from, if it resumes and the folder is known."""
    if not state.global_step:
        return None
    candidates = (
        compat.resumed_from(args),
        args.resume_from_checkpoint,
        Path(args.output_dir) / f"checkpoint-{state.global_step}",
    )
    for folder in candidates:
        if folder is not None and Path(folder).is_dir():
            return Path(folder)
    return None


def checkpoint_of(args: Any, state: Any) -> Path:
    """Return the folder that the Trainer writes a checkpoint of this step into."""
    return Path(args.output_dir) / f"checkpoint-{state.global_step}"


def skip_step_and_stop(model: Any, control: Any) -> None:
    """Let the optimizer's next step move nothing, and ask for the end; from ``on_optimizer_begin``.

    The Trainer always takes one step after a resume, also of a run that had been stopped.
    """
    for parameter in model.parameters():
        if not parameter.stop_gradient:
            parameter.clear_gradient(False)
    control.should_training_stop = True


def cancel_eval_and_save(control: Any) -> None:
    """Take back what others asked for at the end of a step or an epoch: the run was over when it was resumed."""
    control.should_evaluate = control.should_save = False


def _claim(callback: EmbtuneCallback, state: Any) -> str:
    """Return the name under which a callback saves: its class, with a number from the second of a class on."""
    _claims[:] = [row for row in _claims if row[0]() is not None and row[1]() not in (None, callback)]
    taken = {name for training, _, name in _claims if training() is state}
    name, number = type(callback).__name__, 1
    while name in taken:
        number += 1
        name = f"{type(callback).__name__}-{number}"
    _claims.append((weakref.ref(state), weakref.ref(callback), name))
    return name


def _check_parameters(stored: SafetensorsFile, model: Any) -> None:
    """Refuse values of parameters, stored as PART/NAME, that are of another shape than the model's.

    Raises:
        HostError: some are.
    """
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    for key, array in stored.arrays.items():
        name = key.partition("/")[2]
        if name in shapes and array.shape != shapes[name]:
            raise HostError(
                f"{stored.path} holds {key!r} of shape {list(array.shape)}, expected {list(shapes[name])}; resume from another "
                "checkpoint"
            )


def _refuse_other_settings(folder: Path, name: str, saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    rows = differences(saved, json.loads(json.dumps(now)))
    if rows:
        listed = "; ".join(f"{key}: {old!r} in the checkpoint, {new!r} now" for key, old, new in rows[:8])
        more = f"; and {len(rows) - 8} more" if len(rows) > 8 else ""
        raise RecipeError(
            f"{folder.name} was made by another recipe ({name}: {listed}{more}); resume with the recipe of the checkpoint, or "
            "start over without resume_from_checkpoint"
        )


def _separate(state: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split a state into what JSON holds and named arrays."""
    plain: dict[str, Any] = {}
    arrays: dict[str, Any] = {}
    for key, value in state.items():
        if isinstance(value, np.ndarray):
            arrays[key] = np.asarray(value, order="C")
        elif isinstance(value, Mapping) and value and all(isinstance(item, np.ndarray) for item in value.values()):
            arrays.update({f"{key}/{name}": np.asarray(item, order="C") for name, item in value.items()})
        else:
            plain[key] = value
    return plain, arrays
