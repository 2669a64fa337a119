"""Figures of predictions: the confusion matrix, the reliability of probabilities, and bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from paddlenlp_embtune.report.plots._canvas import COLOURS, INK, Canvas, text_width
from paddlenlp_embtune.report.plots._fonts import matplotlib_module

__all__ = ["plot_bars", "plot_confusion", "plot_reliability"]

_MOST_NUMBERS = 14
_BLUE = ("#ffffff", "#d5e5f2", "#0b63a5")


def plot_confusion(canvas: Canvas, confusion: Sequence[Sequence[int]], labels: Sequence[str]) -> Any:
    """Draw true labels as rows and predicted ones as columns; the colour is the share of the row, the number counts rows."""
    counts = np.array(confusion, dtype=np.float64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [canvas.text(label, 9) for label in labels]
    margin = max(text_width(name) for name in names) / 72
    side = min(6.0, max(2.2, 0.42 * len(names)))
    turned = margin > side / len(names)
    left, bottom = margin + 0.35, (margin if turned else 0.12) + 0.35
    figure, axes = canvas.axes(width=left + side + 0.15, height=side, left=left, bottom=bottom)
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


def plot_reliability(canvas: Canvas, bins: Sequence[Mapping[str, Any]]) -> Any:
    """Draw the share of correct answers against their probability, and below it how many answers each bin has."""
    figure, axes = canvas.axes(height=2.9)
    box = axes.get_position()
    axes.set_position([box.x0, box.y0 + box.height * 0.3, box.width, box.height * 0.7])
    below = figure.add_axes([box.x0, box.y0, box.width, box.height * 0.24])
    middles = [(one["low"] + one["high"]) / 2 for one in bins]
    widths = [(one["high"] - one["low"]) * 0.92 for one in bins]
    right = [one["accuracy"] if one["count"] else 0.0 for one in bins]
    gaps = [one["confidence"] - one["accuracy"] if one["count"] else 0.0 for one in bins]
    below.bar(middles, [one["count"] for one in bins], widths, color="#9aa5b1")
    accuracy = axes.bar(middles, right, widths, color=COLOURS[0], alpha=0.85)
    gap = axes.bar(middles, gaps, widths, bottom=right, color="#f0b48c", alpha=0.75)
    axes.plot([0, 1], [0, 1], color=INK, linestyle="--", linewidth=1)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xticks=np.linspace(0, 1, 6), xticklabels=[], ylabel="share correct")
    below.set(xlim=(0, 1), xticks=np.linspace(0, 1, 6), xlabel="probability of the predicted label", ylabel="rows")
    below.yaxis.set_major_locator(matplotlib_module("ticker").MaxNLocator(2, integer=True))
    canvas.legend(axes, [("share correct", accuracy), ("gap to the probability", gap)])
    return figure


def plot_bars(canvas: Canvas, values: Mapping[str, float], *, unit: str) -> Any:
    """Draw a bar for each name, from top to bottom in the order given."""
    names = [canvas.text(name, 11) for name in values]
    left = max(text_width(name) for name in names) / 72 + 0.2
    figure, axes = canvas.axes(height=max(0.6, 0.24 * len(names)), left=left, right=0.55)
    bars = axes.barh(range(len(names)), list(values.values()), color=COLOURS[0], height=0.7)
    axes.bar_label(bars, labels=[f"{value:,.0f}" for value in values.values()], padding=3)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel=unit)
    axes.xaxis.set_major_locator(matplotlib_module("ticker").MaxNLocator(4, integer=True))
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    return figure
