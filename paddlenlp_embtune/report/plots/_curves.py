"""Figures of training: lines over the epochs, with phases shaded and alarms marked."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from paddlenlp_embtune.report.plots._canvas import COLOURS, Canvas
from paddlenlp_embtune.report.plots._fonts import matplotlib_module
from paddlenlp_embtune.report.run_reader import Run

__all__ = ["Line", "Phase", "numeric_fields", "phases", "plot_lines", "series"]

ALARM = "#b42318"
FROZEN = "#c9d6e6"
_DASHES = ("-", "--", "-.", ":")
Points = tuple[list[float], list[float]]


@dataclasses.dataclass(frozen=True)
class Phase:
    """A part of training with one set of frozen units; begin and end in epochs."""

    begin: float
    end: float
    frozen: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of a figure.

    Args:
        name: for the legend.
        points: epochs and values.
        best: the epoch whose value is marked; None for no mark.
        alone: name it in the legend even if it is the only line.
    """

    name: str
    points: Points
    best: float | None = None
    alone: bool = False


def phases(run: Run) -> list[Phase]:
    """Return the phases with frozen units; units that are frozen at the last event stay so until the last epoch."""
    found: list[Phase] = []
    frozen: dict[str, None] = {}
    begin = 0.0
    for event in run.of("phase"):
        at = run.epoch_of(event)
        if at > begin and frozen:
            found.append(Phase(begin, at, tuple(frozen)))
        begin = at
        for unit in event["units"]:
            if event["what"] == "released":
                frozen.pop(unit, None)
            else:
                frozen[unit] = None
    if frozen and run.end_epoch() > begin:
        found.append(Phase(begin, run.end_epoch(), tuple(frozen)))
    return found


def series(run: Run, events: Sequence[Mapping[str, Any]], *keys: str | int) -> Points:
    """Return the epochs and values of one field, which keys and indexes lead to; values that are not finite are skipped."""
    epochs, values = [], []
    for event in events:
        value: Any = event
        for key in keys:
            value = _inside(value, key)
        if _is_number(value):
            epochs.append(run.epoch_of(event))
            values.append(float(value))
    return epochs, values


def _inside(value: Any, key: str | int) -> Any:
    if isinstance(value, Mapping):
        return value.get(key)
    return value[key] if isinstance(value, list) and isinstance(key, int) and key < len(value) else None


def numeric_fields(events: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the fields that hold a number in any of the events, in order of appearance."""
    names = dict.fromkeys(name for event in events for name, value in event.items() if _is_number(value))
    return [name for name in names if name not in ("epoch", "step")]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def plot_lines(
    canvas: Canvas,
    run: Run,
    lines: Sequence[Line],
    *,
    from_zero: bool = False,
    height: float = 1.9,
    alarms: Sequence[float] = (),
) -> Any:
    """Draw lines over the epochs.

    Args:
        canvas: makes the axes.
        run: the run whose phases are shaded.
        lines: one or more.
        from_zero: start the value axis at 0.
        height: of the axes, in inches.
        alarms: epochs at which to mark an alarm.
    """
    shaded = phases(run)
    figure, axes = canvas.axes(height=height)
    entries: list[tuple[str, Any]] = []
    for number, line in enumerate(lines):
        colour, dashes = COLOURS[number % len(COLOURS)], _dashes(number, lines)
        (drawn,) = axes.plot(*line.points, color=colour, linestyle=dashes, marker="o" if len(line.points[0]) < 25 else "")
        if len(lines) > 1 or line.alone:
            entries.append((line.name, drawn))
    for line in lines:
        if line.best is not None:
            chosen = min(range(len(line.points[0])), key=lambda at: abs(line.points[0][at] - line.best))  # type: ignore[operator]
            best = (line.points[0][chosen], line.points[1][chosen])
            (star,) = axes.plot(*best, marker="*", markersize=12, color=COLOURS[1], linestyle="")
            entries.append(("kept", star))
    spans = [
        axes.axvspan(phase.begin, phase.end, color=FROZEN, alpha=_depth(phase, shaded), zorder=0, linewidth=0)
        for phase in shaded
    ]
    if spans:
        units = {phase.frozen for phase in shaded}
        entries.append((f"{', '.join(units.pop())} frozen" if len(units) == 1 else "frozen, more where darker", spans[0]))
    marks = [axes.axvline(epoch, color=ALARM, linestyle=":", linewidth=1.4, zorder=1) for epoch in alarms]
    entries += [("alarm", mark) for mark in marks[:1]]
    _set_axes(axes, max(run.end_epoch(), 1.0), from_zero=from_zero)
    canvas.legend(axes, entries)
    return figure


def _dashes(number: int, lines: Sequence[Line]) -> str:
    """Return a line style that differs from the next lines', so that lines on top of each other can be distinguished."""
    return _DASHES[number % len(_DASHES)] if len(lines) > 1 else "-"


def _depth(phase: Phase, shaded: Sequence[Phase]) -> float:
    most = max(len(other.frozen) for other in shaded)
    return 0.2 + 0.5 * len(phase.frozen) / most


def _set_axes(axes: Any, end: float, *, from_zero: bool) -> None:
    axes.set(xlim=(0, end * 1.03), xlabel="epoch")
    if from_zero:
        axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(_locator(5))
    axes.xaxis.set_major_locator(_locator(6, whole=end >= 3))
    axes.yaxis.set_major_formatter(lambda value, _: _short(value))


def _locator(most: int, *, whole: bool = False) -> Any:
    return matplotlib_module("ticker").MaxNLocator(most, integer=whole)


def _short(value: float) -> str:
    """Write the label of a tick in few characters: 0.25, 0.0007, 7e-05, 1.2M."""
    if abs(value) >= 1e6:
        return f"{value / 1e6:g}M"
    if abs(value) >= 1e4:
        return f"{value / 1e3:g}k"
    return f"{value:.6g}" if abs(value) >= 1e-4 else f"{value:.2g}"
