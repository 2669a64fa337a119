"""The domain "reviews": three ordered levels, a health measure of its own with an alarm on it, and a section of the report."""

from __future__ import annotations

import html
from typing import Any

import numpy as np

import paddlenlp_embtune as embtune
from paddlenlp_embtune.recipe import AlarmSpec

__all__ = [
    "embtune_register_alarms",
    "embtune_register_domains",
    "embtune_register_health_metrics",
    "embtune_register_report_sections",
]


@embtune.hookimpl
def embtune_register_domains() -> list[embtune.Domain]:
    """Shop, hotel and restaurant reviews, from bad to good."""
    terms = {"praise": ("好评", "满意", "推荐"), "blame": ("差评", "失望", "退货")}
    return [embtune.Domain(name="reviews", labels=("差评", "中评", "好评"), term_groups=terms)]


@embtune.hookimpl
def embtune_register_health_metrics() -> dict:
    """How far the centre of the embedding has moved, in units of its mean norm."""

    def centre_shift(*, start: np.ndarray, now: np.ndarray) -> float:
        return float(np.linalg.norm(now.mean(axis=0) - start.mean(axis=0)) / np.linalg.norm(start, axis=1).mean())

    return {"centre_shift": centre_shift}


@embtune.hookimpl
def embtune_register_alarms() -> dict[str, AlarmSpec]:
    """Say so when the centre has moved by half of the mean norm."""
    return {"off_centre": AlarmSpec(measure="centre_shift", above=0.5, advice="all rows move the same way; lower the rate")}


@embtune.hookimpl
def embtune_register_report_sections() -> dict:
    """The centre's way, check by check."""

    def section(run: Any) -> str:
        checks = [event for event in run.events or [] if event["event"] == "health" and "centre_shift" in event]
        rows = [f"<li>epoch {event['epoch']:.0f}: {event['centre_shift']:.4f}</li>" for event in checks]
        return f"<p>{html.escape('In units of the mean norm at the start.')}</p><ul>{''.join(rows)}</ul>"

    return {"Centre of the embedding": section}
