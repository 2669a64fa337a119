"""File and folder names of a training run: those in its folder, and those beside it while it is unfinished."""

from __future__ import annotations

from pathlib import Path

__all__ = [
    "BUNDLE",
    "INSIGHT",
    "METRICS",
    "RECIPE",
    "RECORD",
    "RUN_VERSIONS",
    "TEACHER_ANSWERS",
    "VERSIONS",
    "checkpoints_of",
    "logs_of",
]

RECIPE = "recipe.yaml"
RECORD = "record.jsonl"
METRICS = "metrics.json"
INSIGHT = "insight.json"
BUNDLE = "bundle"

VERSIONS = "vectors"
"""The store of embedding versions, followed by the names of the two versions that a run saves itself."""
RUN_VERSIONS = ("start", "end")

TEACHER_ANSWERS = "teacher.safetensors"
"""The soft targets of a teacher, stored beside the checkpoints."""


def logs_of(out: Path) -> Path:
    """Return the folder for what the Trainer's own trackers write, a sibling of a run's output folder that stays."""
    return out.resolve().with_name(f"{out.resolve().name}.logs")


def checkpoints_of(out: Path) -> Path:
    """Return the checkpoint folder of an unfinished run, a sibling of its output folder."""
    return out.resolve().with_name(f"{out.resolve().name}.checkpoints")
