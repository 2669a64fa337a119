"""The tasks that a bundle has learnt one after another, and what it has forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paddlenlp_embtune.report._formatting import plural
from paddlenlp_embtune.report._templates import render
from paddlenlp_embtune.report.plots._figure import FigureWriter
from paddlenlp_embtune.report.run_reader import Run

__all__ = ["tasks"]


def tasks(run: Run, figures: FigureWriter) -> str:  # noqa: ARG001 - every section gets it
    """Lineage, accuracies by task after each task, and what the bundle keeps for the next one."""
    told = (run.manifest or {})["continual"]
    names = list(dict.fromkeys(name for each in told["tasks"] for name in each.get("accuracies") or {}))
    rows = [
        (
            each["name"],
            "" if each.get("rows") is None else f"{each['rows']:,}",
            ", ".join(f"{name} {strength:g}" for name, strength in (each.get("methods") or {}).items()) or "none",
            *(_percent((each.get("accuracies") or {}).get(name)) for name in names),
        )
        for each in told["tasks"]
    ]
    return render("sections/tasks.html", names=names, rows=rows, figures=_figures(told.get("sequence")), kept=_kept(told))


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _figures(sequence: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    keys = ("average_accuracy", "backward_transfer", "forgetting")
    found = {key: (sequence or {}).get(key) for key in keys}
    return [(key.replace("_", " "), f"{value:.1%}") for key, value in found.items() if value is not None]


def _kept(told: Mapping[str, Any]) -> list[str]:
    kept = []
    if examples := told.get("examples"):
        kept.append(f"{plural(examples['count'], 'text')} with labels, chosen by {examples['selection']}")
    if fisher := told.get("fisher"):
        kept.append(f"Fisher information of its weights, estimated on {plural(fisher['rows'], 'row')}")
    return kept
