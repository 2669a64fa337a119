"""What the bundle answered on the development rows: by label, calibration, and examples of mistakes."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from paddlenlp_embtune.report._formatting import plural, printable
from paddlenlp_embtune.report._templates import render
from paddlenlp_embtune.report.plots._classification import plot_confusion, plot_reliability
from paddlenlp_embtune.report.plots._figure import FigureWriter
from paddlenlp_embtune.report.run_reader import Run
from paddlenlp_embtune.utils.run_layout import INSIGHT, METRICS

__all__ = ["by_label", "calibration", "examples"]

_MOST_LABELS, _NARROW_LABELS = 40, 12
_MOST_MISTAKES, _SHOWN_EXAMPLES = 8, 10


def by_label(run: Run, figures: FigureWriter) -> str:
    """Metrics of every label, the confusion matrix and the most frequent mistakes."""
    answers = run.dev or run.metrics
    if answers is None:
        return render("absent.html", what="the bundle was not evaluated", source=METRICS)
    labels, confusion = list(answers["per_class"]), answers.get("confusion")
    figure = None
    if confusion is not None and len(labels) <= _MOST_LABELS:
        figure = figures.draw(
            "confusion",
            "Confusion matrix",
            lambda canvas: plot_confusion(canvas, confusion, labels),
            alt=f"Confusion matrix of {plural(len(labels), 'label')}; its rows are in the table beside it.",
            note="Rows are the true labels, columns the predicted ones; the darker, the larger the share of the row.",
        )
    return render(
        "sections/results.html",
        figure=figure,
        wide=len(labels) > _NARROW_LABELS,
        rows=_per_class(answers),
        mistakes=None if confusion is None else _mistakes(labels, confusion),
        of_texts=_of_texts(answers),
        baselines=_baselines(run, answers),
        baseline_columns=("", *_baseline_metrics(answers).values(), "macro F1 out of fold"),
    )


def _per_class(answers: Mapping[str, Any]) -> list[tuple[object, ...]]:
    keys, every = ("precision", "recall"), list(answers["per_class"].values())
    rows: list[tuple[object, ...]] = [
        (label, float(row["f1"]), *(f"{row[key]:.3f}" for key in keys), f"{row['support']:,}")
        for label, row in answers["per_class"].items()
    ]
    means = (f"{statistics.fmean(row[key] for row in every):.3f}" for key in keys)
    rows.append(("all (macro)", float(answers["f1_macro"]), *means, f"{answers['n']:,}"))
    return rows


def _of_texts(answers: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return figures of the labels of a text together; nothing where each has one, and these are among the others."""
    names = {"f1_micro": "micro F1", "f1_samples": "samples F1", "accuracy": "subset accuracy", "ranking": "ranking precision"}
    shown = names if "f1_micro" in answers else {}
    return [(name, f"{answers[key]:.3f}") for key, name in shown.items() if key in answers]


def _baseline_metrics(answers: Mapping[str, Any]) -> dict[str, str]:
    """Return the metrics of baselines, with their names."""
    if "f1_micro" in answers:
        return {"f1_micro": "micro F1", "f1_macro": "macro F1", "accuracy": "subset accuracy"}
    return {"accuracy": "accuracy", "f1_macro": "macro F1"}


def _baselines(run: Run, answers: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the figures of the model and of its baselines; nothing without a baseline."""
    candidates = run.last("baseline").get("candidates") or {}
    rows = [("this model", answers), *candidates.items()] if candidates else []
    return [
        (name, *(f"{row[key]:.3f}" for key in _baseline_metrics(answers)), _out_of_fold(row.get("out_of_fold_f1_macro")))
        for name, row in rows
    ]


def _out_of_fold(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _mistakes(labels: Sequence[str], confusion: Sequence[Sequence[int]]) -> list[tuple[str, str, str]]:
    """Return the most frequent confusions, for readers who do not see the colours, and for many labels."""
    found = [
        (number, true, predicted)
        for true, row in zip(labels, confusion, strict=True)
        for predicted, number in zip(labels, row, strict=True)
        if true != predicted and number
    ]
    return [
        (true, predicted, f"{number:,}") for number, true, predicted in sorted(found, key=lambda one: -one[0])[:_MOST_MISTAKES]
    ]


def calibration(run: Run, figures: FigureWriter) -> str:
    """How far the probabilities agree with the share of correct answers."""
    if run.dev is None:
        return render("absent.html", what="probabilities were not measured", source=INSIGHT)
    found = run.dev["calibration"]
    figure = figures.draw(
        "calibration",
        "Reliability",
        lambda canvas: plot_reliability(canvas, found["bins"]),
        alt=f"Share of correct answers by probability, in {len(found['bins'])} bins; calibration error {found['ece']:.1%}.",
        note="On the dashed line, what has a probability of 80% is so in 80% of cases.",
    )
    rows = [
        (f"{one['low']:.2f} to {one['high']:.2f}", f"{one['count']:,}", f"{one['confidence']:.1%}", f"{one['accuracy']:.1%}")
        for one in found["bins"]
        if one["count"]
    ]
    return render(
        "sections/calibration.html",
        figure=figure,
        confidence=f"{found['confidence']:.1%}",
        accuracy=f"{run.dev['accuracy']:.1%}",
        several="f1_micro" in run.dev,
        error=f"{found['ece']:.2%}",
        bins=len(found["bins"]),
        brier=f"{run.dev['brier']:.3f}",
        rows=rows,
    )


def examples(run: Run, _: FigureWriter) -> str:
    """Rows to read: wrong with high confidence, and between two labels."""
    if run.dev is None:
        return render("absent.html", what="single rows were not kept", source=INSIGHT)
    return render(
        "sections/examples.html",
        wrong=[_example(row) for row in run.dev["hardest"]],
        doubtful=[_example(row) for row in run.dev["uncertain"]],
        shown=_SHOWN_EXAMPLES,
    )


def _example(row: Mapping[str, Any]) -> dict[str, str]:
    if isinstance(row["true"], list):
        true, predicted = ({each["label"] for each in row[key]} for key in ("true", "predicted"))
        return {
            "verdict": "correct" if true == predicted else "wrong",
            "predicted": _listed(row["predicted"]),
            "true": _listed(row["true"]),
            "second": "",
            "true_probability": "",
            "text": row["text"] or "(blank)",
        }
    return {
        "verdict": "correct" if row["true"] == row["predicted"] else "wrong",
        "predicted": f"{printable(row['predicted'])} {row['probability']:.0%}",
        "second": f"{printable(row['second'])} {row['second_probability']:.0%}",
        "true": row["true"],
        "true_probability": f"{row['true_probability']:.0%}",
        "text": row["text"] or "(blank)",
    }


def _listed(labels: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f"{printable(each['label'])} {each['score']:.0%}" for each in labels) or "none"
