"""What the bundle answered on the development rows: by label, how sure, and where it was wrong."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from paddlenlp_embtune.report._html import Html, absent, count, escape, folded, join, paragraph, table
from paddlenlp_embtune.report.plots._classification import paint_confusion, paint_reliability
from paddlenlp_embtune.report.plots._figure import Studio
from paddlenlp_embtune.report.run_reader import INSIGHT, Run

__all__ = ["by_label", "calibration", "examples"]

_MOST_LABELS, _NARROW_LABELS = 40, 12


def by_label(run: Run, studio: Studio) -> Html:
    """Figures of every label, and what was taken for what."""
    answers = run.dev or run.metrics
    if answers is None:
        return absent("the bundle was not evaluated", "metrics.json")
    labels, confusion = list(answers["per_class"]), answers["confusion"]
    parts = [_per_class(answers), _mistakes(labels, confusion)]
    if len(labels) <= _MOST_LABELS:
        drawn = studio.figure(
            "confusion",
            "What was taken for what",
            lambda pen: paint_confusion(pen, confusion, labels),
            alt=f"Confusion matrix of {len(labels)} labels; its rows are in the table beside it.",
            note="Rows are the truth, columns the answer; the darker, the larger the share of the row.",
        )
        if len(labels) > _NARROW_LABELS:
            return Html(f'<div class="scroll" tabindex="0"><div class="wide">{drawn}</div></div>{join(parts)}')
        return Html(f'<div class="figures two">{drawn}<div>{join(parts)}</div></div>')
    return join(parts)


def _per_class(answers: Mapping[str, Any]) -> Html:
    keys, every = ("precision", "recall"), list(answers["per_class"].values())
    rows: list[tuple[object, ...]] = [
        (label, _bar(row["f1"]), *(f"{row[key]:.3f}" for key in keys), f"{row['support']:,}")
        for label, row in answers["per_class"].items()
    ]
    rows.append(
        (
            "all (macro)",
            _bar(answers["f1_macro"]),
            *(f"{statistics.fmean(row[key] for row in every):.3f}" for key in keys),
            f"{answers['n']:,}",
        )
    )
    return table(("label", "F1", "precision", "recall", "rows"), rows, numbers=(1, 2, 3, 4))


def _bar(share: float) -> Html:
    return Html(f'{share:.3f} <span class="bar"><span style="width:{min(max(share, 0.0), 1.0):.0%}"></span></span>')


def _mistakes(labels: Sequence[str], confusion: Sequence[Sequence[int]]) -> Html:
    """List the most frequent confusions, for those who do not see colours, and for many labels."""
    found = [
        (number, true, taken)
        for true, row in zip(labels, confusion, strict=True)
        for taken, number in zip(labels, row, strict=True)
        if true != taken and number
    ]
    rows = [(true, taken, f"{number:,}") for number, true, taken in sorted(found, key=lambda one: -one[0])[:8]]
    if not rows:
        return paragraph("Every row got its label.", kind="note")
    return join([Html("<h3>Most frequent mistakes</h3>"), table(("true", "taken for", "rows"), rows, numbers=(2,))])


def calibration(run: Run, studio: Studio) -> Html:
    """How far probabilities can be taken at their word."""
    if run.dev is None:
        return absent("probabilities were not looked at", INSIGHT)
    found = run.dev["calibration"]
    drawn = studio.figure(
        "calibration",
        "Reliability",
        lambda pen: paint_reliability(pen, found["bins"]),
        alt=f"Share of right answers by probability, in {len(found['bins'])} bins; calibration error {found['ece']:.1%}.",
        note="On the dashed line, answers given with 80% are right in 80% of cases.",
    )
    told = [
        paragraph(
            f"The classifier gives its label {found['confidence']:.1%} on average and is right in {run.dev['accuracy']:.1%}. "
            f"The expected calibration error is {found['ece']:.2%}: the mean distance of the two over {len(found['bins'])} "
            "bins of equal width, weighted by rows (Guo et al. 2017). "
            f"The Brier score is {run.dev['brier']:.3f}; 0 is perfect, 2 the worst."
        ),
        table(
            ("probability", "rows", "claimed", "right"),
            [
                (
                    f"{one['low']:.2f} to {one['high']:.2f}",
                    f"{one['count']:,}",
                    f"{one['confidence']:.1%}",
                    f"{one['accuracy']:.1%}",
                )
                for one in found["bins"]
                if one["count"]
            ],
            numbers=(1, 2, 3),
        ),
    ]
    return Html(f'<div class="figures two">{drawn}<div>{join(told)}</div></div>')


def examples(run: Run, _: Studio) -> Html:
    """Rows to read: wrong and sure of it, and in doubt."""
    if run.dev is None:
        return absent("single rows were not kept", INSIGHT)
    wrong, doubtful = run.dev["hardest"], run.dev["uncertain"]
    parts = [
        Html("<h3>Wrong, and most sure of it</h3>"),
        paragraph("Read these first: they are either hard, or labelled wrongly in the data.", kind="note"),
        _rows(wrong, doubt=False) if wrong else paragraph("No row got a wrong label."),
        Html("<h3>In doubt between two labels</h3>"),
        paragraph(
            "Rows whose first and second label are closest; more of their kind in training would help most.", kind="note"
        ),
        _rows(doubtful, doubt=True),
    ]
    return join(parts)


def _rows(rows: Sequence[Mapping[str, Any]], *, doubt: bool) -> Html:
    items = []
    for row in rows:
        true, right = escape(row["true"]), row["true"] == row["predicted"]
        said = f"{escape(row['predicted'])} {row['probability']:.0%}"
        second = f" or {escape(row['second'])} {row['second_probability']:.0%}" if doubt else ""
        kind = "right" if right else "wrong"
        verdict = f'<span class="{kind}">{kind}: said {said}{second}, is {true}'
        verdict += "</span>" if right or doubt else f" ({row['true_probability']:.0%})</span>"
        items.append(f'<li>{verdict}<p dir="auto">{escape(row["text"] or "(blank)")}</p></li>')
    shown = 10
    first = Html(f'<ol class="examples">{"".join(items[:shown])}</ol>')
    others = Html(f'<ol class="examples" start="{shown + 1}">{"".join(items[shown:])}</ol>')
    return join([first, folded(count(len(items) - shown, "further row"), others)]) if items[shown:] else first
