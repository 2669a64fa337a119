"""Runs in MLflow, by its client: nothing global, so a script may have an active MLflow run of its own beside it."""

from __future__ import annotations

import importlib
import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import paddlenlp_embtune as embtune

__all__ = ["MlflowTracker"]

_AT_ONCE = 100  # parameters in a request, of MLflow's limits
_LONGEST = 500
_UNNAMEABLE = re.compile(r"[^\w/.\- ]")


class MlflowTracker:
    """One run in MLflow, in the experiment ``MLFLOW_EXPERIMENT_NAME`` or ``embtune``.

    Raises:
        MissingDependencyError: MLflow is not installed.
    """

    def __init__(self) -> None:
        try:
            self._mlflow = importlib.import_module("mlflow")
        except ModuleNotFoundError as error:
            raise embtune.MissingDependencyError(
                "report_to names mlflow, which is not installed; install it with: pip install mlflow-skinny"
            ) from error
        self._client: Any = None
        self._run = ""

    def start(self, *, name: str, parameters: Mapping[str, Any], previous: str | None) -> str:
        """Begin a run, or continue one, and return its id."""
        self._client = self._mlflow.MlflowClient()
        if previous is not None:
            self._run = previous
            self._client.update_run(previous, status="RUNNING")
        else:
            self._run = self._client.create_run(self._experiment(), run_name=name).info.run_id
        listed = [
            self._mlflow.entities.Param(_nameable(key), json.dumps(value, ensure_ascii=False, default=str)[:_LONGEST])
            for key, value in parameters.items()
        ]
        for at in range(0, len(listed), _AT_ONCE) if previous is None else ():
            self._client.log_batch(self._run, params=listed[at : at + _AT_ONCE])
        return self._run

    def log(self, *, metrics: Mapping[str, float], step: int) -> None:
        """Add metrics of a step."""
        now = int(time.time() * 1000)
        found = [self._mlflow.entities.Metric(_nameable(key), value, now, step) for key, value in metrics.items()]
        for at in range(0, len(found), _AT_ONCE):
            self._client.log_batch(self._run, metrics=found[at : at + _AT_ONCE])

    def finish(self, *, status: str, files: Sequence[Path], bundle: Path | None) -> None:
        """Add the files and the path of the bundle, and end the run."""
        for file in files:
            self._client.log_artifact(self._run, str(file))
        if bundle is not None:
            self._client.set_tag(self._run, "bundle", str(bundle.resolve()))
        self._client.set_terminated(self._run, status="FINISHED" if status == "finished" else "FAILED")

    def _experiment(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "embtune")
        found = self._client.get_experiment_by_name(name)
        experiment: str = found.experiment_id if found is not None else self._client.create_experiment(name)
        return experiment


def _nameable(key: str) -> str:
    """Replace characters that MLflow takes in no name."""
    return _UNNAMEABLE.sub("_", key)
