"""Complete checkpoints: sealed once written, and compared with their seal before anything is read."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

from paddlenlp_embtune import compat
from paddlenlp_embtune.compat import TrainerCallback
from paddlenlp_embtune.errors import HostError
from paddlenlp_embtune.training.callbacks.base import checkpoint_folder
from paddlenlp_embtune.utils.checkpoint_folders import SEAL, checkpoints_by_step
from paddlenlp_embtune.utils.files.folder_seal import find_damage, write_seal

__all__ = ["CheckpointSealCallback", "check_checkpoint"]

logger = logging.getLogger("paddlenlp_embtune")


def check_checkpoint(folder: Path) -> None:
    """Refuse a checkpoint that is not as it was written; nothing of it but its seal and the Trainer's state is interpreted.

    One that no callback of ours has written carries no seal; that is said, and it is taken.

    Args:
        folder: of the checkpoint.
    Raises:
        HostError: the process died while it was written, or a file is missing, further, cut or changed, or it is no checkpoint.
            The message names the file and the next step.
    """
    if not folder.is_dir():
        raise HostError(f"there is no checkpoint {folder}; give the folder of one, or start over")
    if not (folder / SEAL).exists():
        if any(folder.glob("embtune_*")):
            raise HostError(f"{folder.name} is incomplete: the process died while it was written; {_next_step(folder)}")
        logger.warning("%s has no seal (%s), so damage cannot be detected", folder, SEAL)
        compat.read_trainer_state(folder)
        return
    damage, facts = find_damage(folder, SEAL)
    if damage is not None:
        raise HostError(f"{folder} is damaged: {damage}; {_next_step(folder)}")
    if compat.read_trainer_state(folder)["global_step"] != facts.get("step"):
        raise HostError(f"{folder} is damaged: {compat.TRAINER_STATE} and {SEAL} name different steps; {_next_step(folder)}")


def _next_step(folder: Path) -> str:
    """What to do instead of going on from a folder."""
    others = {step: other for step, other in checkpoints_by_step(folder.parent).items() if other.name != folder.name}
    for step in sorted(others, reverse=True):
        if (others[step] / SEAL).exists() and find_damage(others[step], SEAL)[0] is None:
            return f"{others[step].name} beside it is whole: remove {folder.name} to continue from there"
    return "no checkpoint beside it is whole, so start over (with --overwrite, or without resume_from_checkpoint)"


class CheckpointSealCallback(TrainerCallback):  # type: ignore[misc]
    """Seals checkpoints with the size and SHA-256 of every file, and refuses to resume from damaged ones; put it last.

    It also drops checkpoints beyond ``save_total_limit``, which the Trainer does in several processes only.
    """

    def __init__(self) -> None:
        self._checked: Path | None = None

    def check(self, folder: Path) -> None:
        """Check a checkpoint before the Trainer loads it; see :func:`check_checkpoint`."""
        check_checkpoint(folder)
        self._checked = folder.resolve()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Check the checkpoint that the Trainer resumes from, where :meth:`check` has not been called before.

        Raises:
            HostError: see :func:`check_checkpoint`.
        """
        folder = checkpoint_folder(args, state)
        if folder is not None and folder.resolve() != self._checked:
            check_checkpoint(folder)
        self._checked = None  # it may be another one the next time

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Seal the checkpoint when every process has written its part, then drop what is older than need be."""
        compat.wait_for_all_processes(args)
        if not state.is_world_process_zero:
            return
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        write_seal(folder, SEAL, {"step": int(state.global_step)})
        if args.world_size <= 1 and args.save_total_limit:
            _drop_older(folder, best=state.best_model_checkpoint, limit=int(args.save_total_limit))


def _drop_older(newest: Path, *, best: str | None, limit: int) -> None:
    """Keep so many checkpoints up to the newest, and the best one."""
    steps = checkpoints_by_step(newest.parent)
    number = next(step for step, folder in steps.items() if folder == newest)
    older = sorted((step for step in steps if step < number), reverse=True)
    for step in older[max(limit, 1) - 1 :]:
        if best is None or steps[step] != Path(best):
            shutil.rmtree(steps[step], ignore_errors=True)
