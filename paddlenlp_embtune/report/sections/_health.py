"""The health checks of a run over its epochs: what everybody should see, and the rest behind a line that opens it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

from paddlenlp_embtune.report._html import Html, absent, count, folded, join, paragraph
from paddlenlp_embtune.report.plots._curves import Line, numeric_fields, paint_lines, series
from paddlenlp_embtune.report.plots._figure import Studio
from paddlenlp_embtune.report.run_reader import Run

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
    _Panel("Length of rows, mean", {"norm_mean": "mean"}),
    _Panel("Length of rows, longest", {"norm_max": "longest"}, "a row that runs away shows here"),
    _Panel("Gradient of the embedding", {"gradient_norm": "length"}, "its length, mean of the sampled steps"),
    _Panel("Neighbours kept", {"neighbourhood_overlap": "share"}, "share of the nearest rows that still are the nearest"),
    _Panel("Rows that moved", {"rows_moved": "rows"}, "rows that differ from their start in any value"),
)
_LATER = {
    "cosine_drift_max": "Drift, largest",
    "norm_drift_mean": "Change of length, mean",
    "norm_ratio": "Length of rows over that of the start",
    "update_ratio": "Length of the change over that of the start",
    "untouched_share": "Share of rows that never moved",
    "zero_share": "Share of rows that are zero",
    "since_cosine_drift_mean": "Drift since the last check",
    "since_norm_drift_mean": "Change of length since the last check",
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
    "largest_predicted_share": "Share of the most frequent answer",
    "rows": "Rows of the embedding",
    "rows_watched": "Rows that are watched",
}
_NESTED: tuple[tuple[str, str, tuple[str, ...], tuple[int, ...]], ...] = (
    ("Share of the gradient", "of each group of parameters", ("gradient_share",), ()),
    ("Cohesion of term groups", "mean cosine of two terms of a group", ("groups", "cohesion"), (1,)),
    ("Silhouette of term groups", "above 0: nearer to the own group than to another", ("groups", "silhouette"), (1,)),
)
"""Title, note, the path to values by group in an event, and the place of the present value where there are two."""
Lines = Sequence[Line]


def health(run: Run, studio: Studio) -> Html:
    """Every number of the health checks over the epochs."""
    events = run.of("health")
    if not events:
        return absent("the record has no health checks; the recipe's part health asks for them", "record.jsonl")
    there = [*numeric_fields(events), *numeric_fields(run.of("agreement"))]
    known = {field for panel in _FIRST for field in panel.fields} | set(_LATER)
    panels = [panel for panel in _FIRST if set(panel.fields) & set(there)]
    panels += [_Panel(field.replace("_", " "), {field: field}) for field in there if field not in known]
    later = [_Panel(title, {field: field}) for field, title in _LATER.items() if field in there]
    rung = {event.get("measure") for event in run.of("alarm")}
    panels += [panel for panel in later if set(panel.fields) & rung]
    later = [panel for panel in later if panel not in panels]
    still = [panel for panel in [*panels, *later] if _is_still(run, panel)]
    shown = [_figure(run, studio, panel) for panel in panels if panel not in still] + _by_group(run, studio)
    hidden = [_figure(run, studio, panel) for panel in later if panel not in still]
    parts = [*_alarms(run), Html(f'<div class="figures three">{join(shown)}</div>')]
    if hidden:
        parts.append(folded(count(len(hidden), "further measure"), Html(f'<div class="figures three">{join(hidden)}</div>')))
    if still:
        told = [f"{panel.title} {_values(run, panel)[0]:,.6g}" for panel in still]
        parts.append(paragraph("Did not change: ", "; ".join(told), ".", kind="note"))
    return join(parts)


def alarm_epochs(run: Run, fields: Sequence[str] | None = None) -> list[float]:
    """Return when alarms went off, in epochs.

    Args:
        run: the run.
        fields: only alarms on these measures, and those that name none; None takes all.
    """
    alarms = [event for event in run.of("alarm") if fields is None or event.get("measure", fields[0]) in fields]
    return sorted({run.epoch_of(event) for event in alarms})


def _alarms(run: Run) -> list[Html]:
    told = [
        paragraph(
            f"Epoch {run.epoch_of(event):g}: {event['message']}",
            f". What was done: {event['done']}." if event.get("done") else "",
            kind="alarm",
        )
        for event in run.of("alarm")
    ]
    return told or [paragraph("No alarm was raised.", kind="note")]


def _values(run: Run, panel: _Panel) -> list[float]:
    return [value for line in _lines(run, panel) for value in line.points[1]]


def _is_still(run: Run, panel: _Panel) -> bool:
    """Whether a panel would be one flat line, which a sentence tells better."""
    values = _values(run, panel)
    return len(panel.fields) == 1 and len(values) > 1 and min(values) == max(values)


def _lines(run: Run, panel: _Panel) -> list[Line]:
    both = [*run.of("health"), *run.of("agreement")]
    lines = [Line(name, series(run, both, field)) for field, name in panel.fields.items()]
    return [line for line in lines if line.points[0]]


def _figure(run: Run, studio: Studio, panel: _Panel) -> Html:
    lines = _lines(run, panel)
    return _draw(run, studio, panel, lines, name=f"health {next(iter(panel.fields))}")


def _draw(run: Run, studio: Studio, panel: _Panel, lines: Lines, *, name: str) -> Html:
    told = "; ".join(f"{line.name} from {line.points[1][0]:.4g} to {line.points[1][-1]:.4g}" for line in lines)
    alarms = alarm_epochs(run, list(panel.fields)) if panel.fields else []
    painter = functools.partial(paint_lines, run=run, lines=lines, height=1.5, alarms=alarms, from_zero=panel.from_zero)
    return studio.figure(name, panel.title, painter, alt=f"{panel.title}: {told}.", note=panel.note)


def _by_group(run: Run, studio: Studio) -> list[Html]:
    """Draw what is measured for each group of parameters, and for each group of terms."""
    events, figures = run.of("health"), []
    for title, note, path, place in _NESTED:
        members = _members(events, path)[:_MOST_LINES]
        lines = [Line(member, series(run, events, *path, member, *place), alone=True) for member in members]
        lines = [line for line in lines if line.points[0]]
        if lines:
            figures.append(_draw(run, studio, _Panel(title, {}, note), lines, name=f"health {'-'.join(path)}"))
    return figures


def _members(events: Sequence[Mapping[str, Any]], path: Sequence[str]) -> list[str]:
    """Return the keys of the mapping that a path leads to, over all events."""
    found: dict[str, None] = {}
    for event in events:
        value: Any = event
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        found.update(dict.fromkeys(value if isinstance(value, Mapping) else ()))
    return list(found)
