"""The page about a search: its result, every trial, what mattered, and how good results lie in the space."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from paddlenlp_embtune.report._templates import check_jinja, render
from paddlenlp_embtune.report.plots._figure import FigureWriter
from paddlenlp_embtune.report.plots._fonts import matplotlib_module
from paddlenlp_embtune.report.plots._search import contour, history, importances
from paddlenlp_embtune.utils.files.atomic_io import write_text

__all__ = ["write_search_report"]

_PAIRS = 3
Plain = Mapping[str, Any]


def write_search_report(out: str | Path, result: Plain, *, space: Mapping[str, str]) -> Path:
    """Write one HTML file about a search.

    Args:
        out: the file.
        result: as ``embtune search --json`` prints it.
        space: by field, what it may be, in words.
    Raises:
        MissingDependencyError: matplotlib or jinja2 is not installed.
    """
    matplotlib_module()
    check_jinja()
    figures = FigureWriter()
    sections = [("Result", _result(result)), ("Trials", _trials(result, space, figures)), *_fields(result, figures)]
    path = Path(out)
    title, lead = Path(result["folder"]).name, "The best recipe of a space"
    write_text(path, render("page.html", title=title, lead=lead, by="embtune search", sections=sections))
    return path


def _result(result: Plain) -> str:
    best, final = result["best"], result["final"]
    default = next((trial["value"] for trial in result["trials"] if trial["default"]), None)
    facts = [
        (f"{result['metric']} of the best trial", f"{best['value']:.4f} (trial {best['number']})"),
        ("of the recipe as it stands", "-" if default is None else f"{default:.4f}"),
        ("recipe", result["recipe"]),
        *((field, str(value)) for field, value in result["values"].items()),
    ]
    return render("sections/search_result.html", facts=facts, final=final, notes=result["notes"])


def _trials(result: Plain, space: Mapping[str, str], figures: FigureWriter) -> str:
    trials, fields = result["trials"], list(space)
    figure = figures.draw(
        "trials",
        "Value of every trial, and the best so far",
        lambda canvas: history(canvas, trials, metric=result["metric"], mode=result["mode"]),
        alt=f"{len(trials)} trials in their order, with the best value so far as a line",
    )
    rows = [
        (
            trial["number"],
            *(trial["values"].get(field, "as it stands") for field in fields),
            "-" if trial["value"] is None else f"{trial['value']:.4f}",
            trial["error"] or (trial["reason"] or trial["state"]).replace("_", " "),
            "-" if trial["seconds"] is None else f"{trial['seconds']:.1f}",
        )
        for trial in trials
    ]
    return render(
        "sections/search_trials.html", figure=figure, head=("trial", *fields, result["metric"], "end", "seconds"), rows=rows
    )


def _fields(result: Plain, figures: FigureWriter) -> Iterator[tuple[str, str]]:
    found = dict(sorted(result["importances"].items(), key=lambda pair: -pair[1]))
    if not found:
        return
    drawn = [
        figures.draw(
            "importances",
            "What the good results depend on",
            lambda canvas: importances(canvas, found),
            alt=", ".join(f"{field} {share:.0%}" for field, share in found.items()),
            note="Shares by PED-ANOVA over the trials that ran to their end; with few trials they are rough.",
        )
    ]
    for one, other in _pairs(result["trials"], list(found)):
        drawn.append(
            figures.draw(
                f"contour-{one}-{other}",
                f"{one} and {other}",
                functools.partial(contour, trials=result["trials"], one=one, other=other, metric=result["metric"]),
                alt=f"the value of each trial over {one} and {other}",
            )
        )
    yield "Fields", render("sections/search_fields.html", figures=drawn)


def _pairs(trials: Sequence[Plain], fields: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield pairs of the fields that matter most, of which enough trials say something."""
    count = 0
    for at, one in enumerate(fields):
        for other in fields[at + 1 :]:
            known = [trial for trial in trials if trial["state"] == "complete" and {one, other} <= set(trial["values"])]
            if count < _PAIRS and len(known) >= 3:
                count += 1
                yield one, other
