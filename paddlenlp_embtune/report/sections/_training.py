"""What happened while the model was trained: curves and rates."""

from __future__ import annotations

from paddlenlp_embtune.report._html import Html, absent, join, paragraph, table
from paddlenlp_embtune.report.plots._curves import Line, paint_lines, series
from paddlenlp_embtune.report.plots._figure import Studio
from paddlenlp_embtune.report.run_reader import Run
from paddlenlp_embtune.report.sections._health import alarm_epochs

__all__ = ["learning", "metric_title", "rates"]


def learning(run: Run, studio: Studio) -> Html:
    """Loss and metric over the epochs, with what was frozen when."""
    if not run.of("rates") and not run.of("early_stopping"):
        return absent("the record has no losses and no evaluations", "record.jsonl")
    figures = []
    loss = series(run, run.of("rates"), "loss")
    if loss[0]:
        drawn = [Line("loss", loss)]
        figures.append(
            studio.figure(
                "loss",
                "Loss on the training rows",
                lambda pen: paint_lines(pen, run, drawn, height=2.4, alarms=alarm_epochs(run)),
                alt=f"The training loss goes from {loss[1][0]:.3f} to {loss[1][-1]:.3f} in {run.end_epoch():g} epochs.",
                note="Mean of the steps since the point before.",
            )
        )
    figures += _metric(run, studio)
    return join([Html(f'<div class="figures two">{join(figures)}</div>'), _phases(run)])


def _metric(run: Run, studio: Studio) -> list[Html]:
    evals, restored = run.of("early_stopping"), run.last("restored")
    values = series(run, evals, "value")
    if not values[0]:
        return []
    best = run.epoch_of(restored) if restored else None
    lines = [Line("weights", values, best)]
    average = series(run, run.of("average"), "average")
    if average[0]:
        lines.append(Line("average of the weights", average))
    name = metric_title(str(evals[-1]["metric"]))
    kept = f"; the weights kept are those of epoch {best:g}, at {restored['value']:.4f}" if best is not None else ""
    drawn = studio.figure(
        "metric",
        f"{name} on the development rows",
        lambda pen: paint_lines(pen, run, lines, height=2.4, alarms=alarm_epochs(run)),
        alt=f"{name} goes from {values[1][0]:.4f} to {values[1][-1]:.4f}{kept}.",
        note=f"{len(values[0])} evaluations{kept}.",
    )
    return [drawn]


def metric_title(metric: str) -> str:
    """Word the name of a metric as a title."""
    name = metric.removeprefix("eval_")
    known = {"f1_macro": "Macro F1", "f1_weighted": "Weighted F1"}
    return known.get(name, name[:1].upper() + name[1:].replace("_", " "))


def _phases(run: Run) -> Html:
    """Tell what was frozen and released, and when."""
    events = run.of("phase")
    if not events:
        return paragraph("Nothing was frozen: every group was trained from the first step.", kind="note")
    rows = [
        (
            f"{run.epoch_of(event):g}",
            event.get("step", ""),
            event["what"],
            ", ".join(event["units"]),
            f"{event['parameters']:,}",
        )
        for event in events
    ]
    return table(("epoch", "step", "what", "units", "values"), rows, numbers=(0, 1, 4))


def rates(run: Run, studio: Studio) -> Html:
    """Learning rates of the groups, as planned and as they were."""
    events, groups = run.of("rates"), run.last("groups").get("table") or []
    if not events and not groups:
        return absent("the record has no rates", "record.jsonl")
    head = ("group", "parameters", "peak rate", "weight decay", "trains")
    rows = [
        (row["name"], f"{row['parameters']:,}", f"{row['rate']:.1e}", f"{row['weight_decay']:g}", row["phase"])
        for row in groups
    ]
    told = [table(head, rows, numbers=(1, 2, 3))] if rows else []
    told += [
        paragraph(f"Epoch {run.epoch_of(event):g}: the rate of {event['group']} was lowered to {event['factor']:.1%}.")
        for event in run.of("rate_scaled")
    ]
    drawn = _rate_figure(run, studio) if events else ""
    return Html(f'<div class="figures two">{drawn}<div>{join(told)}</div></div>')


def _rate_figure(run: Run, studio: Studio) -> Html:
    names = dict.fromkeys(name for event in run.of("rates") for name in event["rates"])
    lines = [Line(name, series(run, run.of("rates"), "rates", name)) for name in names]
    return studio.figure(
        "rates",
        "Learning rate of each group",
        lambda pen: paint_lines(pen, run, lines, from_zero=True, height=2.4),
        alt=f"Learning rates of {', '.join(names)} over {run.end_epoch():g} epochs.",
        note="Absolute, as the step used it; 0 while a group is frozen.",
    )
