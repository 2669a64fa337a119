"""The health checks of a run over its epochs: the main ones, and the rest behind a line that opens it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

from paddlenlp_embtune.report._formatting import printable
from paddlenlp_embtune.report._templates import render
from paddlenlp_embtune.report.plots._curves import Line, numeric_fields, plot_lines, series
from paddlenlp_embtune.report.plots._figure import FigureWriter
from paddlenlp_embtune.report.run_reader import Run
from paddlenlp_embtune.utils.run_layout import RECORD

__all__ = ["alarm_epochs", "health"]

_MOST_LINES = 10


@dataclasses.dataclass(frozen=True)
class _Panel:
    """One figure: its title, a name for each field it draws, and a note."""

    title: str
    fields: Mapping[str, str]
    note: str = ""
    from_zero: bool = False


_FIRST = (
    _Panel(
        "Drift",
        {"cosine_drift_mean": "mean", "cosine_drift_p50": "median", "cosine_drift_p95": "95th percentile"},
        "1 minus the cosine with the start, of the rows that moved",
        from_zero=True,
    ),
    _Panel("Norm of rows, mean", {"norm_mean": "mean"}),
    _Panel("Norm of rows, largest", {"norm_max": "largest"}, "a row that diverges shows here"),
    _Panel("Gradient of the embedding", {"gradient_norm": "norm"}, "its norm, mean of the sampled steps"),
    _Panel("Neighbours kept", {"neighbourhood_overlap": "share"}, "share of the nearest rows that are still among the nearest"),
    _Panel("Rows that moved", {"rows_moved": "rows"}, "rows that differ from their start in any value"),
)
_LATER = {
    "cosine_drift_max": "Drift, largest",
    "norm_drift_mean": "Change of norm, mean",
    "norm_ratio": "Norm of rows over that of the start",
    "update_ratio": "Norm of the change over that of the start",
    "untouched_share": "Share of rows that never moved",
    "zero_share": "Share of rows that are zero",
    "since_cosine_drift_mean": "Drift since the last check",
    "since_norm_drift_mean": "Change of norm since the last check",
    "since_update_ratio": "Change since the last check",
    "gradient_mean": "Gradient, mean size of a value",
    "unknown_rate": "Share of unknown tokens",
    "mean_cosine": "Mean cosine of two rows",
    "mean_cosine_change": "Mean cosine of two rows, change",
    "partition_ratio": "Isotropy (partition ratio)",
    "effective_rank": "Effective rank",
    "first_direction_share": "Variance on the first direction",
    "first_direction_change": "Variance on the first direction, change",
    "uniformity": "Uniformity",
    "alignment": "Alignment of terms in a group",
    "neighbourhood_overlap_error": "Neighbours kept, half of the 95% interval",
    "probe_cohesion": "Cohesion of common characters",
    "agreement_z": "Agreement with the labels beyond chance, in standard errors",
    "largest_predicted_share": "Share of the most frequent label",
    "rows": "Rows of the embedding",
    "rows_watched": "Rows that are monitored",
}
_NESTED: tuple[tuple[str, str, tuple[str, ...], tuple[int, ...]], ...] = (
    ("Share of the gradient", "of each group of parameters", ("gradient_share",), ()),
    ("Cohesion of term groups", "mean cosine of two terms of a group", ("groups", "cohesion"), (1,)),
    ("Silhouette of term groups", "above 0: nearer to the own group than to another", ("groups", "silhouette"), (1,)),
)
"""Title, note, the path to values by group in an event, and the place of the present value where there are two."""
Lines = Sequence[Line]


def health(run: Run, figures: FigureWriter) -> str:
    """Every number of the health checks over the epochs."""
    events = run.of("health")
    if not events:
        told = "the record has no health checks; the section health of a recipe asks for them"
        return render("absent.html", what=told, source=RECORD)
    first, more = _panels(run)
    constant = [panel for panel in [*first, *more] if _is_constant(run, panel)]
    return render(
        "sections/health.html",
        alarms=[(f"{run.epoch_of(event):g}", event["message"], event.get("done")) for event in run.of("alarm")],
        shown=[_figure(run, figures, panel) for panel in first if panel not in constant] + _by_group(run, figures),
        more=[_figure(run, figures, panel) for panel in more if panel not in constant],
        constant="; ".join(f"{printable(panel.title)} {_values(run, panel)[0]:,.6g}" for panel in constant),
    )


def _panels(run: Run) -> tuple[list[_Panel], list[_Panel]]:
    """Return the figures that everybody should see, measures of plugins and measures with an alarm included, and the rest."""
    there = [*numeric_fields(run.of("health")), *numeric_fields(run.of("agreement"))]
    known = {field for panel in _FIRST for field in panel.fields} | set(_LATER)
    first = [panel for panel in _FIRST if set(panel.fields) & set(there)]
    first += [_Panel(field.replace("_", " "), {field: field}) for field in there if field not in known]
    later = [_Panel(title, {field: field}) for field, title in _LATER.items() if field in there]
    alarmed = {event.get("measure") for event in run.of("alarm")}
    first += [panel for panel in later if set(panel.fields) & alarmed]
    return first, [panel for panel in later if panel not in first]


def alarm_epochs(run: Run, fields: Sequence[str] | None = None) -> list[float]:
    """Return when alarms went off, in epochs.

    Args:
        run: the run.
        fields: only alarms on these measures, and those that name none; None takes all.
    """
    alarms = [event for event in run.of("alarm") if fields is None or event.get("measure", fields[0]) in fields]
    return sorted({run.epoch_of(event) for event in alarms})


def _values(run: Run, panel: _Panel) -> list[float]:
    return [value for line in _lines(run, panel) for value in line.points[1]]


def _is_constant(run: Run, panel: _Panel) -> bool:
    """Whether a panel would be one flat line, for which a sentence is enough."""
    values = _values(run, panel)
    return len(panel.fields) == 1 and len(values) > 1 and min(values) == max(values)


def _lines(run: Run, panel: _Panel) -> list[Line]:
    both = [*run.of("health"), *run.of("agreement")]
    lines = [Line(name, series(run, both, field)) for field, name in panel.fields.items()]
    return [line for line in lines if line.points[0]]


def _figure(run: Run, figures: FigureWriter, panel: _Panel) -> str:
    lines = _lines(run, panel)
    return _draw(run, figures, panel, lines, name=f"health {next(iter(panel.fields))}")


def _draw(run: Run, figures: FigureWriter, panel: _Panel, lines: Lines, *, name: str) -> str:
    told = "; ".join(f"{line.name} from {line.points[1][0]:.4g} to {line.points[1][-1]:.4g}" for line in lines)
    alarms = alarm_epochs(run, list(panel.fields)) if panel.fields else []
    plot = functools.partial(plot_lines, run=run, lines=lines, height=1.5, alarms=alarms, from_zero=panel.from_zero)
    return figures.draw(name, panel.title, plot, alt=f"{panel.title}: {told}.", note=panel.note)


def _by_group(run: Run, figures: FigureWriter) -> list[str]:
    """Draw what is measured for each group of parameters, and for each group of terms."""
    events, drawn = run.of("health"), []
    for title, note, path, place in _NESTED:
        members = _members(events, path)[:_MOST_LINES]
        lines = [Line(member, series(run, events, *path, member, *place), alone=True) for member in members]
        lines = [line for line in lines if line.points[0]]
        if lines:
            drawn.append(_draw(run, figures, _Panel(title, {}, note), lines, name=f"health {'-'.join(path)}"))
    return drawn


def _members(events: Sequence[Mapping[str, Any]], path: Sequence[str]) -> list[str]:
    """Return the keys of the mapping that a path leads to, over all events."""
    found: dict[str, None] = {}
    for event in events:
        value: Any = event
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        found.update(dict.fromkeys(value if isinstance(value, Mapping) else ()))
    return list(found)
