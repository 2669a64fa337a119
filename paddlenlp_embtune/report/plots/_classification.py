"""Figures of answers: what was taken for what, and how sure a classifier may be believed to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from paddlenlp_embtune.report.plots._canvas import COLOURS, INK, Entry, Pen, text_width
from paddlenlp_embtune.report.plots._fonts import matplotlib_module

__all__ = ["paint_bars", "paint_confusion", "paint_reliability"]

_MOST_NUMBERS = 14
_BLUE = ("#ffffff", "#d5e5f2", "#0b63a5")


def paint_confusion(pen: Pen, confusion: Sequence[Sequence[int]], labels: Sequence[str]) -> Any:
    """Draw rows of truth against columns of prediction; the colour is the share of the row, the number counts."""
    counts = np.array(confusion, dtype=np.float64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [pen.text(label, 9) for label in labels]
    margin = max(text_width(name) for name in names) / 72
    side = min(6.0, max(2.2, 0.42 * len(names)))
    turned = margin > side / len(names)
    left, bottom = margin + 0.35, (margin if turned else 0.12) + 0.35
    figure, axes = pen.chart(width=left + side + 0.15, height=side, left=left, bottom=bottom)
    colours = matplotlib_module("colors").LinearSegmentedColormap.from_list("blue", _BLUE)
    axes.pcolormesh(shares, cmap=colours, vmin=0, vmax=1, edgecolor="#e4e7eb", linewidth=0.5)
    at = np.arange(len(names)) + 0.5
    axes.set_xticks(at, names, rotation=90 if turned else 0)
    axes.set_yticks(at, names)
    # Placed by hand: where matplotlib would put them follows from the width of letters in a font that the page does not use.
    width, height = figure.get_size_inches()
    figure.text((left + side / 2) / width, 0.08 / height, "predicted", ha="center")
    figure.text(0.08 / width, (bottom + side / 2) / height, "true", rotation=90, va="center")
    axes.grid(visible=False)
    axes.invert_yaxis()
    axes.tick_params(length=0)
    if len(names) <= _MOST_NUMBERS:
        for (row, column), share in np.ndenumerate(shares):
            ink = "white" if share > 0.85 else INK
            axes.text(column + 0.5, row + 0.5, f"{counts[row, column]:.0f}", ha="center", va="center", color=ink)
    return figure


def paint_reliability(pen: Pen, bins: Sequence[Mapping[str, Any]]) -> Any:
    """Draw how often answers were right against how sure they were, and how many there were of each sureness."""
    legend = [Entry("right", COLOURS[0], "patch"), Entry("gap to the claim", "#f0b48c", "patch")]
    figure, axes = pen.chart(height=2.9, legend=legend)
    box = axes.get_position()
    axes.set_position([box.x0, box.y0 + box.height * 0.3, box.width, box.height * 0.7])
    below = figure.add_axes([box.x0, box.y0, box.width, box.height * 0.24])
    for one in bins:
        middle, width = (one["low"] + one["high"]) / 2, (one["high"] - one["low"]) * 0.92
        below.bar(middle, one["count"], width, color="#9aa5b1")
        if one["count"]:
            axes.bar(middle, one["accuracy"], width, color=COLOURS[0], alpha=0.85)
            gap = one["confidence"] - one["accuracy"]
            axes.bar(middle, gap, width, bottom=one["accuracy"], color="#f0b48c", alpha=0.75)
    axes.plot([0, 1], [0, 1], color=INK, linestyle="--", linewidth=1)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xticks=np.linspace(0, 1, 6), xticklabels=[], ylabel="share right")
    below.set(xlim=(0, 1), xticks=np.linspace(0, 1, 6), xlabel="probability of the label that was given", ylabel="rows")
    below.yaxis.set_major_locator(matplotlib_module("ticker").MaxNLocator(2, integer=True))
    return figure


def paint_bars(pen: Pen, values: Mapping[str, float], *, unit: str) -> Any:
    """Draw a bar for each name, from above to below in the order given."""
    names = [pen.text(name, 11) for name in values]
    left = max(text_width(name) for name in names) / 72 + 0.2
    figure, axes = pen.chart(height=max(0.6, 0.24 * len(names)), left=left, right=0.55)
    bars = axes.barh(range(len(names)), list(values.values()), color=COLOURS[0], height=0.7)
    axes.bar_label(bars, labels=[f"{value:,.0f}" for value in values.values()], padding=3)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel=unit)
    axes.xaxis.set_major_locator(matplotlib_module("ticker").MaxNLocator(4, integer=True))
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    return figure
