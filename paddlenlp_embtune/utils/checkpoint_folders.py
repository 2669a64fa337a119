"""Checkpoint folders of a Trainer, and which of them are complete. Does not need Paddle."""

from __future__ import annotations

import logging
import re
from pathlib import Path

__all__ = ["SEAL", "checkpoints_by_step", "last_checkpoint"]

logger = logging.getLogger("paddlenlp_embtune")

SEAL = "embtune_complete.json"


def last_checkpoint(output_dir: str | Path) -> Path | None:
    """Return the newest complete checkpoint of a Trainer that a recipe was attached to, or None.

    The Trainer's own search takes the newest folder even if the process was killed while writing it. Files are not hashed
    here; that happens when training resumes from the checkpoint.
    """
    folders = checkpoints_by_step(Path(output_dir))
    for step in sorted(folders, reverse=True):
        if (folders[step] / SEAL).exists():
            return folders[step]
        logger.warning("skipping %s: the checkpoint is incomplete", folders[step])
    return None


def checkpoints_by_step(output_dir: Path) -> dict[int, Path]:
    """Return the checkpoint folders, keyed by step."""
    found = re.compile(r"checkpoint-(\d+)")
    return {int(match[1]): path for path in output_dir.glob("checkpoint-*") if (match := found.fullmatch(path.name))}
