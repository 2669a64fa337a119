"""The answers of a teacher, kept for a run that continues."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from paddlenlp_embtune.compat import TrainerCallback
from paddlenlp_embtune.data import SoftTargets
from paddlenlp_embtune.training._soft_targets import save_soft_targets
from paddlenlp_embtune.training._teacher import Teaching
from paddlenlp_embtune.utils.run_layout import TEACHER_ANSWERS

__all__ = ["SoftTargetsCallback"]


class SoftTargetsCallback(TrainerCallback):  # type: ignore[misc]
    """Keeps the teacher's answers beside the checkpoints, so that a run which continues learns from the same.

    Args:
        soft_targets: the answers.
        teaching: who gave them, and to which texts.
    """

    def __init__(self, soft_targets: SoftTargets, teaching: Teaching) -> None:
        self._soft_targets = soft_targets
        self._teaching = teaching
        self._written = False

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write them, with the first checkpoint."""
        if not self._written and state.is_world_process_zero:
            save_soft_targets(Path(args.output_dir) / TEACHER_ANSWERS, self._soft_targets, self._teaching)
            self._written = True
