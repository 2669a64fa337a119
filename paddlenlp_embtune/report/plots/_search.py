"""Figures of a search: trials in their order, importances of fields, and values over two fields."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.report.plots._canvas import COLOURS, INK, PALE, Canvas

__all__ = ["contour", "history", "importances"]

_LEAST_FOR_SURFACE = 6
_ORDERS = 20
"""How many times the least value the greatest is where an axis is logarithmic."""
Plain = Mapping[str, Any]
Floats = npt.NDArray[np.float64]


def history(canvas: Canvas, trials: Sequence[Plain], *, metric: str, mode: str) -> Any:
    """Draw the value of every trial, and the best so far."""
    figure, axes = canvas.axes(left=0.7)
    entries = []
    for state, marker, colour in (("complete", "o", COLOURS[0]), ("pruned", "x", PALE)):
        points = [
            (trial["number"], trial["value"]) for trial in trials if trial["state"] == state and trial["value"] is not None
        ]
        if points:
            drawn = axes.plot(*zip(*points, strict=True), marker, color=colour, linestyle="none")
            entries.append((state, drawn[0]))
    done = [
        (trial["number"], trial["value"]) for trial in trials if trial["state"] == "complete" and trial["value"] is not None
    ]
    if done:
        best = itertools.accumulate((value for _, value in done), max if mode == "max" else min)
        line = axes.step([number for number, _ in done], list(best), where="post", color=COLOURS[1])
        entries.append(("best so far", line[0]))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("trial")
    axes.set_ylabel(canvas.text(metric))
    canvas.legend(axes, entries)
    return figure


def importances(canvas: Canvas, shares: Mapping[str, float]) -> Any:
    """Draw a bar for each field, the largest on top."""
    figure, axes = canvas.axes(left=2.1, height=0.3 + 0.22 * len(shares))
    places = np.arange(len(shares))[::-1]
    axes.barh(places, list(shares.values()), color=COLOURS[0], height=0.6)
    axes.set_yticks(places)
    axes.set_yticklabels([canvas.text(field, 18) for field in shares])
    axes.set_xlim(0, 1)
    axes.set_xlabel("share")
    return figure


def contour(canvas: Canvas, *, trials: Sequence[Plain], one: str, other: str, metric: str) -> Any:
    """Draw the trials that ran to their end over two fields, coloured by value; over numbers, with a surface between."""
    figure, axes = canvas.axes(left=1.0, right=0.75)
    known = [trial for trial in trials if trial["state"] == "complete" and {one, other} <= set(trial["values"])]
    values = np.array([trial["value"] for trial in known], dtype=np.float64)
    places = [
        _axis(axes, canvas, name, [trial["values"][name] for trial in known], side) for name, side in ((one, "x"), (other, "y"))
    ]
    limits = {"vmin": float(values.min()), "vmax": float(values.max()) + 1e-12}
    numeric = all(_are_numbers([trial["values"][name] for trial in known]) for name in (one, other))
    if numeric and _spans_plane(places):
        axes.tricontourf(*places, values, levels=12, cmap="Blues", **limits)
    axes.use_sticky_edges = False
    axes.margins(0.06)
    points = axes.scatter(*places, c=values, cmap="Blues", edgecolors=INK, linewidths=0.6, s=22, **limits)
    bar = figure.colorbar(points, cax=axes.inset_axes((1.03, 0.0, 0.04, 1.0)))
    bar.set_label(canvas.text(metric))
    return figure


def _axis(axes: Any, canvas: Canvas, name: str, values: Sequence[Any], side: str) -> Floats:
    """Set up one axis and return the places on it: numbers, on a logarithmic one where they span orders; else choices."""
    axis = getattr(axes, f"{side}axis")
    getattr(axes, f"set_{side}label")(canvas.text(name, 24))
    if _are_numbers(values):
        places = np.array(values, dtype=np.float64)
        if places.min() > 0 and places.max() / places.min() >= _ORDERS:
            getattr(axes, f"set_{side}scale")("log")
            axis.set_major_formatter(lambda value, _: f"{value:g}")  # matplotlib's own are formulas, which are not drawn here
            axis.set_minor_formatter(lambda *_: "")
        return places
    choices = sorted({str(value) for value in values})
    axis.set_ticks(range(len(choices)))
    axis.set_ticklabels([canvas.text(choice, 10) for choice in choices])
    return np.array([choices.index(str(value)) for value in values], dtype=np.float64)


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)


def _spans_plane(places: Sequence[Floats]) -> bool:
    """Whether triangles can be drawn between the points: there are enough, and they do not lie on one line."""
    points = np.unique(np.stack(places, axis=1), axis=0)
    if len(points) < _LEAST_FOR_SURFACE:
        return False
    centred = points - points.mean(axis=0)
    scale = np.abs(centred).max(axis=0)
    return bool((scale > 0).all() and np.linalg.svd(centred / scale, compute_uv=False)[-1] > 1e-3)
