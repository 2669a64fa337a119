"""What evaluations say about predictions: whether they agree with the labels more than chance would."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["AgreementTracker"]


class AgreementTracker:
    """Counts evaluations and remembers the best agreement of predictions with labels."""

    def __init__(self) -> None:
        self.evals = 0
        self.best_z = float("-inf")

    def update(self, metrics: Mapping[str, Any]) -> dict[str, float]:
        """Take the metrics of an evaluation, and return the measures that alarms watch; none without ``eval_agreement_z``."""
        if "eval_agreement_z" not in metrics:
            return {}
        self.evals += 1
        self.best_z = max(self.best_z, float(metrics["eval_agreement_z"]))
        found = {"agreement_z": self.best_z}
        if "eval_largest_predicted_share" in metrics:
            found["largest_predicted_share"] = float(metrics["eval_largest_predicted_share"])
        return found

    def state(self) -> dict[str, Any]:
        """Return what must survive a restart, as JSON."""
        return {"evals": self.evals, "best_z": self.best_z if np.isfinite(self.best_z) else None}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what :meth:`state` returned."""
        self.evals = state["evals"]
        self.best_z = state["best_z"] if state["best_z"] is not None else float("-inf")
