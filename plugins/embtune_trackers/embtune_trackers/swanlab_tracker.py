"""Runs in SwanLab, 0.10 or newer."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import paddlenlp_embtune as embtune

__all__ = ["SwanlabTracker"]


class SwanlabTracker:
    """One run in SwanLab, in the project ``SWANLAB_PROJ_NAME`` or ``embtune``.

    Raises:
        MissingDependencyError: SwanLab is not installed.
    """

    def __init__(self) -> None:
        try:
            self._swanlab = importlib.import_module("swanlab")
        except ModuleNotFoundError as error:
            raise embtune.MissingDependencyError(
                'report_to names swanlab, which is not installed; install it with: pip install "swanlab>=0.10"'
            ) from error
        self._run: Any = None

    def start(self, *, name: str, parameters: Mapping[str, Any], previous: str | None) -> str | None:
        """Begin a run, or continue one, and return its id."""
        again = {"id": previous, "resume": "allow"} if previous is not None else {}
        project = os.environ.get("SWANLAB_PROJ_NAME", "embtune")
        self._run = self._swanlab.init(project=project, name=name, config=dict(parameters), **again)
        found: str | None = self._run.id
        return found

    def log(self, *, metrics: Mapping[str, float], step: int) -> None:
        """Add metrics of a step."""
        self._run.log(dict(metrics), step=step)

    def finish(self, *, status: str, files: Sequence[Path], bundle: Path | None) -> None:
        """Name the files and the bundle in the configuration, and end the run."""
        if bundle is not None:
            self._run.config.update({"files": [str(file.resolve()) for file in files], "bundle": str(bundle.resolve())})
        self._run.finish(state="success" if status == "finished" else "crashed")
