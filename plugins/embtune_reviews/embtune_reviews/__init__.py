"""The domain "reviews" with a trained bundle, a health measure of its own with an alarm on it, and a section of the report."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import numpy as np

import paddlenlp_embtune as embtune

__all__ = [
    "embtune_register_alarms",
    "embtune_register_domains",
    "embtune_register_health_metrics",
    "embtune_register_report_sections",
]


@embtune.hookimpl
def embtune_register_domains() -> list[embtune.Domain]:
    """Shop, hotel and restaurant reviews, bad or good."""
    terms = {
        "praise": ("好评", "满意", "推荐", "喜欢", "赞"),
        "blame": ("差评", "失望", "退货", "后悔", "投诉"),
        "cheap": ("便宜", "实惠", "划算", "超值"),
        "dear": ("昂贵", "太贵", "不值", "坑人"),
        "delivery": ("快递", "物流", "送货", "发货", "配送"),
        "service": ("服务", "客服", "前台", "态度"),
        "hygiene": ("干净", "整洁", "卫生", "清洁"),
        "faults": ("破损", "故障", "死机", "漏水", "缺页"),
    }
    bundle = Path(__file__).parent / "bundle"
    return [embtune.Domain(name="reviews", labels=("差评", "好评"), term_groups=terms, bundle=bundle)]


@embtune.hookimpl
def embtune_register_health_metrics() -> dict:
    """How far the centre of the embedding has moved, in units of its mean norm."""

    def centre_shift(*, start: np.ndarray, now: np.ndarray) -> float:
        return float(np.linalg.norm(now.mean(axis=0) - start.mean(axis=0)) / np.linalg.norm(start, axis=1).mean())

    return {"centre_shift": centre_shift}


@embtune.hookimpl
def embtune_register_alarms() -> dict[str, embtune.AlarmSpec]:
    """Say so when the centre has moved by half of the mean norm."""
    return {
        "off_centre": embtune.AlarmSpec(measure="centre_shift", above=0.5, advice="all rows move the same way; lower the rate")
    }


@embtune.hookimpl
def embtune_register_report_sections() -> dict:
    """The centre's way, check by check."""

    def section(run: Any) -> str:
        checks = [event for event in run.events or [] if event["event"] == "health" and "centre_shift" in event]
        rows = [f"<li>epoch {event['epoch']:.0f}: {event['centre_shift']:.4f}</li>" for event in checks]
        return f"<p>{html.escape('In units of the mean norm at the start.')}</p><ul>{''.join(rows)}</ul>"

    return {"Centre of the embedding": section}
