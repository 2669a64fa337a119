"""A comparison of arms, as Markdown and as one HTML file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from paddlenlp_embtune.report._comparison_cells import (
    average_cells,
    average_head,
    curve_rows,
    explanation,
    reach_sentences,
    size_of,
    table_cells,
    table_head,
    table_title,
)
from paddlenlp_embtune.report._templates import check_jinja, render
from paddlenlp_embtune.report.plots._figure import FigureWriter
from paddlenlp_embtune.report.plots._fonts import matplotlib_module
from paddlenlp_embtune.report.plots._learning_curves import plot_intervals, plot_learning_curves
from paddlenlp_embtune.utils.files.atomic_io import write_text

__all__ = ["check_report_packages", "comparison_markdown", "write_comparison"]

_FEW = "Too few arms have figures."


def comparison_markdown(found: Mapping[str, Any]) -> str:
    """Lay a comparison out as Markdown.

    Args:
        found: what ``paddlenlp_embtune.experiments.compare_arms`` returns.
    """
    return "\n".join(_lines(found)) + "\n"


def check_report_packages() -> None:
    """Make sure that a page can be written, before any work is done.

    Raises:
        MissingDependencyError: matplotlib or jinja2 is not installed.
    """
    matplotlib_module()
    check_jinja()


def write_comparison(found: Mapping[str, Any], path: str | Path) -> Path:
    """Write a comparison as one HTML file that needs nothing beside it; return its path.

    Args:
        found: what ``paddlenlp_embtune.experiments.compare_arms`` returns.
        path: the file.
    Raises:
        MissingDependencyError: matplotlib or jinja2 is not installed.
    """
    check_report_packages()
    figures = FigureWriter()
    sections = [(table_title(table), _table_section(table, found, figures)) for table in found["tables"]]
    for average in found["averages"]:
        rows = [average_cells(row, len(average["sets"])) for row in average["arms"]]
        title = f"Mean over {len(average['sets'])} data sets{size_of(average)}"
        sections.append((title, render("sections/comparison.html", head=average_head(found), rows=rows, lines=[], figure=None)))
    sections += [(f"Learning curves, {curve['data']}", _curve_section(curve, figures)) for curve in found["curves"]]
    if found["failed"]:
        lines = [_failure(each) for each in found["failed"]]
        sections.append(("Failed", render("sections/comparison.html", head=[], rows=[], lines=lines, figure=None)))
    lines = [explanation(found), *found["notes"]]
    sections.append(("How to read it", render("sections/comparison.html", head=[], rows=[], lines=lines, figure=None)))
    lead = f"Arms against {found['against']}"
    write_text(Path(path), render("page.html", title="Comparison", lead=lead, by="embtune compare", sections=sections))
    return Path(path)


def _table_section(table: Mapping[str, Any], found: Mapping[str, Any], figures: FigureWriter) -> str:
    rows = [table_cells(row, found["metric"]) for row in table["arms"]]
    points = [(row["arm"], row[found["metric"]]["mean"], row[found["metric"]]["interval"]) for row in table["arms"]]
    figure = None
    if points:
        figure = figures.draw(
            f"intervals-{table['data']}",
            "Means and intervals",
            lambda canvas: plot_intervals(canvas, points),
            alt=f"Mean and 95% interval of {len(points)} arms; the figures are in the table.",
        )
    lines = [table["order"]["text"] or _FEW]
    return render("sections/comparison.html", head=table_head(found), rows=rows, lines=lines, figure=figure)


def _curve_section(curve: Mapping[str, Any], figures: FigureWriter) -> str:
    head, rows = curve_rows(curve)
    figure = figures.draw(
        f"curves-{curve['data']}",
        "Learning curves",
        lambda canvas: plot_learning_curves(canvas, curve["curves"]),
        alt=f"Learning curves of {len(rows)} arms over the number of labelled rows; the figures are in the table.",
    )
    return render("sections/comparison.html", head=head, rows=rows, lines=reach_sentences(curve), figure=figure)


def _failure(each: Mapping[str, Any]) -> str:
    return f"{each['data']}, {each['arm']}{size_of(each)}: {each['message']}"


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    for table in found["tables"]:
        yield f"## {table_title(table)}\n"
        if table["arms"]:
            yield from _table(table_head(found), [table_cells(row, found["metric"]) for row in table["arms"]])
        yield f"\n{table['order']['text'] or _FEW}\n"
    for average in found["averages"]:
        yield f"## Mean over {len(average['sets'])} data sets{size_of(average)}\n"
        yield from _table(average_head(found), [average_cells(row, len(average["sets"])) for row in average["arms"]])
        yield ""
    for curve in found["curves"]:
        yield f"## Learning curves, {curve['data']}\n"
        yield from _table(*curve_rows(curve))
        yield ""
        yield from (f"- {sentence}" for sentence in reach_sentences(curve))
        yield ""
    if found["failed"]:
        yield "## Failed\n"
        yield from (f"- {_failure(each)}" for each in found["failed"])
        yield ""
    yield explanation(found)
    yield from (f"\nNote: {note}." for note in found["notes"])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for cells in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
