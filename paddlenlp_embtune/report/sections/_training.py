"""What happened during training: losses, metrics, phases and learning rates."""

from __future__ import annotations

from paddlenlp_embtune.report._templates import render
from paddlenlp_embtune.report.plots._curves import Line, plot_lines, series
from paddlenlp_embtune.report.plots._figure import FigureWriter
from paddlenlp_embtune.report.run_reader import Run
from paddlenlp_embtune.report.sections._health import alarm_epochs
from paddlenlp_embtune.utils.run_layout import RECORD

__all__ = ["learning_curves", "learning_rates", "metric_title"]

_HEIGHT = 2.4


def learning_curves(run: Run, figures: FigureWriter) -> str:
    """Loss and metric over the epochs, and what was frozen when."""
    if not run.of("rates") and not run.of("early_stopping"):
        return render("absent.html", what="the record has no losses and no evaluations", source=RECORD)
    return render("sections/learning_curves.html", figures=[*_loss(run, figures), *_metric(run, figures)], phases=_phases(run))


def _loss(run: Run, figures: FigureWriter) -> list[str]:
    loss = series(run, run.of("rates"), "loss")
    if not loss[0]:
        return []
    drawn = figures.draw(
        "loss",
        "Loss on the training rows",
        lambda canvas: plot_lines(canvas, run, [Line("loss", loss)], height=_HEIGHT, alarms=alarm_epochs(run)),
        alt=f"The training loss goes from {loss[1][0]:.3f} to {loss[1][-1]:.3f} in {run.end_epoch():g} epochs.",
        note="Mean of the steps since the previous point.",
    )
    return [drawn]


def _metric(run: Run, figures: FigureWriter) -> list[str]:
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
    drawn = figures.draw(
        "metric",
        f"{name} on the development rows",
        lambda canvas: plot_lines(canvas, run, lines, height=_HEIGHT, alarms=alarm_epochs(run)),
        alt=f"{name} goes from {values[1][0]:.4f} to {values[1][-1]:.4f}{kept}.",
        note=f"{len(values[0])} evaluations{kept}.",
    )
    return [drawn]


def metric_title(metric: str) -> str:
    """Turn the name of a metric into a title: ``eval_f1_macro`` into Macro F1."""
    name = metric.removeprefix("eval_")
    known = {"f1_macro": "Macro F1", "f1_weighted": "Weighted F1"}
    return known.get(name, name[:1].upper() + name[1:].replace("_", " "))


def _phases(run: Run) -> list[tuple[object, ...]]:
    """Return what was frozen and released, and when."""
    return [
        (
            f"{run.epoch_of(event):g}",
            event.get("step", ""),
            event["what"],
            ", ".join(event["units"]),
            f"{event['parameters']:,}",
        )
        for event in run.of("phase")
    ]


def learning_rates(run: Run, figures: FigureWriter) -> str:
    """Learning rates of the groups, as planned and as they were."""
    events, groups = run.of("rates"), run.last("groups").get("table") or []
    if not events and not groups:
        return render("absent.html", what="the record has no learning rates", source=RECORD)
    planned = [
        (row["name"], f"{row['parameters']:,}", f"{row['rate']:.1e}", f"{row['weight_decay']:g}", row["phase"])
        for row in groups
    ]
    lowered = [(f"{run.epoch_of(event):g}", event["group"], f"{event['factor']:.1%}") for event in run.of("rate_scaled")]
    figure = _rates_over_time(run, figures) if events else ""
    return render("sections/learning_rates.html", figure=figure, groups=planned, lowered=lowered)


def _rates_over_time(run: Run, figures: FigureWriter) -> str:
    names = dict.fromkeys(name for event in run.of("rates") for name in event["rates"])
    lines = [Line(name, series(run, run.of("rates"), "rates", name)) for name in names]
    return figures.draw(
        "rates",
        "Learning rate of each group",
        lambda canvas: plot_lines(canvas, run, lines, from_zero=True, height=_HEIGHT),
        alt=f"Learning rates of {', '.join(names)} over {run.end_epoch():g} epochs.",
        note="Absolute, as the step used it; 0 while a group is frozen.",
    )
