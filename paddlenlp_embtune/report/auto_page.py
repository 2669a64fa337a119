"""The page about a choice of a model: what was chosen and why, the leaderboard, and what was left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from paddlenlp_embtune.report._comparison_cells import NAMES
from paddlenlp_embtune.report._templates import check_jinja, render
from paddlenlp_embtune.report.plots._figure import FigureWriter
from paddlenlp_embtune.report.plots._fonts import matplotlib_module
from paddlenlp_embtune.report.plots._learning_curves import plot_intervals
from paddlenlp_embtune.utils.files.atomic_io import write_text

__all__ = ["write_auto_report"]

Plain = Mapping[str, Any]

_LIMITS = (("latency_ms", "latency", "ms"), ("size_mb", "size", "MB"), ("memory_mb", "memory", "MB"))


def write_auto_report(out: str | Path, result: Plain) -> Path:
    """Write one HTML file about a choice.

    Args:
        out: the file.
        result: as ``embtune auto --json`` prints it.
    Raises:
        MissingDependencyError: matplotlib or jinja2 is not installed.
    """
    matplotlib_module()
    check_jinja()
    figures = FigureWriter()
    sections = [("Choice", _choice(result)), ("Leaderboard", _leaderboard(result, figures)), *_left_out(result)]
    lines = [_explanation(result), *(f"{rung}." for rung in result["rungs"]), *(f"{note}." for note in result["notes"])]
    sections.append(("How to read it", _section(lines=lines)))
    path = Path(out)
    title, lead = Path(result["bundle"]).name, f"{result['arm']}, chosen within {result['budget_seconds']:.0f} s"
    write_text(path, render("page.html", title=title, lead=lead, by="embtune auto", sections=sections))
    return path


def _choice(result: Plain) -> str:
    chosen = next(entry for entry in result["leaderboard"] if entry["arm"] == result["arm"])
    facts = [
        ("arm", result["arm"]),
        (f"{NAMES[result['metric']]} on rows that it had not learned from", _score(chosen)),
        ("within noise of it", ", ".join(result["within_noise"]) or "none"),
        *((what, _against(result["cost"][name], result["limits"][name], unit)) for name, what, unit in _LIMITS),
        ("time", f"{result['seconds']:.0f} s of {result['budget_seconds']:.0f} s"),
        ("bundle", result["bundle"]),
        ("recipe", result["recipe"]),
    ]
    return str(render("sections/auto_choice.html", facts=facts, reasons=result["reasons"]))


def _leaderboard(result: Plain, figures: FigureWriter) -> str:
    head = ["arm", NAMES[result["metric"]], "95%", "rung", "rows", "fit", "latency", "size", "memory"]
    rows = [_cells(entry) for entry in result["leaderboard"]]
    last = max((entry["rung"] for entry in result["leaderboard"]), default=0)
    points = [
        (entry["arm"], entry["score"], entry["interval"])
        for entry in result["leaderboard"]
        if entry["rung"] == last and entry["interval"] is not None
    ]
    figure = None
    if points:
        figure = figures.draw(
            "intervals",
            f"Scores and intervals on rung {last}",
            lambda canvas: plot_intervals(canvas, points),
            alt=f"Score and 95% interval of {len(points)} arms; the figures are in the table.",
        )
    return _section(head=head, rows=rows, figure=figure)


def _cells(entry: Plain) -> list[str]:
    cost, interval, seconds = entry["cost"], entry["interval"], entry["seconds"]
    return [
        entry["arm"],
        _score(entry),
        "" if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}",
        str(entry["rung"] or ""),
        f"{entry['rows']:,}" if entry["rows"] else "",
        "" if seconds is None else f"{seconds:.1f} s",
        *("" if cost is None else f"{cost[name]:.3g} {unit}" for name, _, unit in _LIMITS),
    ]


def _left_out(result: Plain) -> Iterator[tuple[str, str]]:
    lines = [f"{entry['arm']}: {entry['reason']}." for entry in result["leaderboard"] if entry["reason"]]
    if lines:
        yield "Left out", _section(lines=lines)


def _explanation(result: Plain) -> str:
    return (
        f"The score is the {NAMES[result['metric']]} on rows that an arm had not learned from; intervals are 95%, by paired "
        "resamples of rows and seeds. Scores of different rungs cannot be compared. fit: seconds of one fit with one thread. "
        "latency: of one text of median length with one thread, as processor time; memory: the most of a process that serves."
    )


def _score(entry: Plain) -> str:
    return "" if entry["score"] is None else f"{entry['score']:.4f}"


def _against(value: float, limit: float | None, unit: str) -> str:
    return f"{value:.3g} {unit}" + ("" if limit is None else f" (allowed {limit:g})")


def _section(
    *, head: Sequence[str] = (), rows: Sequence[Sequence[str]] = (), lines: Sequence[str] = (), figure: Any = None
) -> str:
    return str(render("sections/comparison.html", head=head, rows=rows, lines=lines, figure=figure))
