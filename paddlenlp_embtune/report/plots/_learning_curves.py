"""Figures of a comparison: means with intervals, and learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from paddlenlp_embtune.report.plots._canvas import COLOURS, Canvas
from paddlenlp_embtune.report.plots._fonts import matplotlib_module

__all__ = ["plot_intervals", "plot_learning_curves"]

_DASHES = ("-", "--", "-.", ":")
_NAME_EMS = 11.0


def plot_intervals(canvas: Canvas, arms: Sequence[tuple[str, float, Sequence[float]]]) -> Any:
    """Draw the mean and the interval of each arm, the first at the top.

    Args:
        canvas: makes the axes.
        arms: name, mean, and the ends of the interval.
    """
    figure, axes = canvas.axes(height=0.22 * len(arms) + 0.3, left=1.35)
    for place, (_, mean, (low, high)) in enumerate(arms):
        axes.plot([low, high], [place, place], color=COLOURS[0])
        axes.plot([mean], [place], marker="o", color=COLOURS[0])
    axes.set_yticks(range(len(arms)), [canvas.text(name, _NAME_EMS) for name, _, _ in arms])
    axes.set_ylim(len(arms) - 0.5, -0.5)
    axes.xaxis.set_major_locator(matplotlib_module("ticker").MaxNLocator(5))
    return figure


def plot_learning_curves(canvas: Canvas, curves: Mapping[str, Sequence[Sequence[float]]]) -> Any:
    """Draw the metric of each arm over the number of labelled rows, on a logarithmic axis.

    Args:
        canvas: makes the axes.
        curves: by name of the arm, labelled rows and the metric.
    """
    figure, axes = canvas.axes(height=2.3)
    entries = []
    for number, (arm, points) in enumerate(curves.items()):
        style = {"color": COLOURS[number % len(COLOURS)], "linestyle": _DASHES[number % len(_DASHES)], "marker": "o"}
        (line,) = axes.plot([rows for rows, _ in points], [value for _, value in points], **style)
        entries.append((arm, line))
    sizes = sorted({rows for points in curves.values() for rows, _ in points})
    axes.set_xscale("log")
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.set_xticks([], minor=True)
    axes.set(xlabel="labelled rows")
    canvas.legend(axes, entries)
    return figure
