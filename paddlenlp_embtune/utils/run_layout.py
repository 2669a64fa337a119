"""The names of what a training run writes: in its folder, and beside it while it is unfinished."""

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
]

RECIPE = "recipe.yaml"
RECORD = "record.jsonl"
METRICS = "metrics.json"
INSIGHT = "insight.json"
BUNDLE = "bundle"

VERSIONS = "vectors"
"""The store of the embedding's versions, and below it the names of the two that a run writes itself."""
RUN_VERSIONS = ("start", "end")

TEACHER_ANSWERS = "teacher.safetensors"
"""What a teacher has answered, beside the checkpoints."""


def checkpoints_of(out: Path) -> Path:
    """Return where the checkpoints of an unfinished run stand: beside what it will leave."""
    return out.resolve().with_name(f"{out.resolve().name}.checkpoints")
