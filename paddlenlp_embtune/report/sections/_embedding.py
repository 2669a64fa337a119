"""What became of the embedding: a map of its terms, terms that moved, and groups of terms."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from paddlenlp_embtune.report._formatting import plural, printable
from paddlenlp_embtune.report._templates import render
from paddlenlp_embtune.report.plots._figure import FigureWriter
from paddlenlp_embtune.report.plots._term_map import METHODS, place_terms, plot_map
from paddlenlp_embtune.report.run_reader import Run
from paddlenlp_embtune.utils.run_layout import INSIGHT

__all__ = ["moved_terms", "term_groups", "term_map"]

_SHOWN, _MOST_MISSING = 10, 40


def term_map(run: Run, figures: FigureWriter) -> str:
    """The terms on one plane, before and after tuning."""
    found = (run.movement or {}).get("map")
    if not found or not found["points"]:
        return render("absent.html", what="there are no terms to put on a map", source=INSIGHT)
    places = place_terms(found, figures.method)
    if figures.method == "pca":
        reading = (
            f"The two axes hold {sum(found['explained'][:2]):.0%} of the variance, so terms that lie close here may still be "
            "far apart."
        )
    else:
        reading = f"By {METHODS[figures.method]}: neighbours are meaningful, distances between far terms are not."
    drawn = [
        figures.draw(
            f"map {side}",
            f"{side.capitalize()} tuning",
            functools.partial(plot_map, places=places, after=side == "after"),
            alt=f"{plural(len(places), 'term')} on a plane by {METHODS[figures.method]}, {side} tuning.",
        )
        for side in ("before", "after")
    ]
    return render("sections/term_map.html", reading=reading, figures=drawn)


def moved_terms(run: Run, _: FigureWriter) -> str:
    """Tokens and terms that turned furthest, with old and new neighbours."""
    found = run.movement
    if found is None:
        worst = [(term, f"{drift:.4f}") for term, drift in run.last("health").get("worst") or ()]
        return render("sections/moved_terms.html", moved=None, worst=worst, source=INSIGHT)
    summary = (
        f"{found['rows_moved']:,} of {plural(found['rows'], 'token')} moved. Their mean drift is {found['drift_mean']:.3f}; "
        f"one in twenty turned further than {found['drift_p95']:.3f}."
    )
    moved = {"terms": _changes(found["terms"], counted=False), "tokens": _changes(found["tokens"], counted=True)}
    missing = "、".join(map(printable, found["missing"][:_MOST_MISSING]))
    return render("sections/moved_terms.html", moved=moved, summary=summary, missing=missing, shown=_SHOWN)


def _changes(rows: Sequence[Mapping[str, Any]], *, counted: bool) -> dict[str, Any] | None:
    """Return the columns and the rows of a table of terms; None if there are no rows."""
    if not rows:
        return None
    grouped = any(row["group"] for row in rows)
    head = ["term", *(["group"] if grouped else []), *(["seen"] if counted else []), "drift", "kept"]
    body = []
    for row in rows:
        old, new = {name for name, _ in row["before"]}, {name for name, _ in row["after"]}
        cells = [row["term"], *([row["group"] or "-"] if grouped else [])]
        cells += [f"{row['count']:,}" if row["count"] is not None else "-"] if counted else []
        cells += [f"{row['drift']:.3f}", f"{len(old & new)} of {len(old)}" if old else "-"]
        body.append([*cells, _neighbours(row["before"], new, "gone"), _neighbours(row["after"], old, "new")])
    numbers = range(2 if grouped else 1, len(head))
    return {"head": [*head, "neighbours before", "neighbours after"], "rows": body, "numbers": numbers}


def _neighbours(near: Sequence[tuple[str, float]], others: set[str], kind: str) -> list[tuple[str, str, float]]:
    return [(name, "" if name in others else kind, cosine) for name, cosine in near]


def term_groups(run: Run, _: FigureWriter) -> str:
    """How groups of terms keep together, and how drift depends on frequency."""
    found = run.movement
    if found is None:
        return render("absent.html", what="groups were not measured", source=INSIGHT)
    groups = [(row["name"], row["terms"], *_change(*row["cohesion"]), *_change(*row["silhouette"])) for row in found["groups"]]
    distances = sorted(found["separation"], key=lambda row: -abs(row["after"] - row["before"]))
    buckets = [
        (
            row["name"],
            f"{row['rows']:,}",
            f"{row['rows_touched']:,}",
            *(f"{row[key]:.3f}" for key in ("mean", "p50", "p95", "max")),
        )
        for row in found["bands"]
    ]
    return render(
        "sections/term_groups.html",
        groups=groups,
        of_all=_of_all_groups(found.get("all_groups") or {}),
        fits=[
            (row["name"], *_change(*row["agreement"]), *_change(*row["outlier_accuracy"]))
            for row in found["groups"]
            if row.get("agreement") and None not in row.get("outlier_accuracy", [None])
        ],
        distances=[(row["one"], row["other"], *_change(row["before"], row["after"])) for row in distances if groups],
        buckets=buckets,
    )


def _of_all_groups(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the measures of all groups together; a run of an older version has none."""
    titles = {
        "alignment": "alignment: squared distance of two terms of a group",
        "agreement": "nearest neighbours of the same group",
        "outlier_accuracy": "outliers found",
        "outlier_position": "place of the outlier, 1 where it fits least",
    }
    chance = {"agreement": found.get("agreement_by_chance"), "outlier_position": 0.5}
    return [
        (title, *_change(*found[key]), f"{by_chance:.3f}" if (by_chance := chance.get(key)) is not None else "-")
        for key, title in titles.items()
        if None not in found.get(key, [None])
    ]


def _change(before: float, after: float) -> tuple[str, str, str]:
    return f"{before:.3f}", f"{after:.3f}", f"{round(after - before, 3) + 0.0:+.3f}"
