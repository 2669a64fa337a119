"""What became of the embedding: terms that moved, groups of terms, and a map."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from paddlenlp_embtune.report._html import Html, absent, chip, count, folded, join, paragraph, table
from paddlenlp_embtune.report.plots._figure import Studio
from paddlenlp_embtune.report.plots._term_map import METHODS, paint_map, places
from paddlenlp_embtune.report.run_reader import INSIGHT, Run

__all__ = ["groups", "moved", "term_map"]

_SHOWN = 10


def moved(run: Run, _: Studio) -> Html:
    """Tokens and terms that turned furthest, with old and new neighbours."""
    found = run.movement
    if found is None:
        return join([absent("neighbours before and after were not written", INSIGHT), _worst(run)])
    told = paragraph(
        f"{found['rows_moved']:,} of {count(found['rows'], 'token')} moved; their mean drift is {found['drift_mean']:.3f}, and "
        f"one in twenty turned further than {found['drift_p95']:.3f}. Drift is 1 minus the cosine with the start: 0 is no "
        "turn, 1 a right angle. Neighbours are those with the highest cosine; ",
        chip("gone", "gone", "was a neighbour before"),
        " and ",
        chip("new", "new", "is a neighbour now"),
        " mark what changed.",
    )
    parts = [told]
    if found["terms"]:
        parts += [Html("<h3>Terms of the domain, among each other</h3>"), _changes(found["terms"], seen=False)]
    if found["tokens"]:
        parts += [Html("<h3>Tokens, among all tokens</h3>"), _changes(found["tokens"], seen=True)]
    if found["missing"]:
        parts.append(paragraph("Terms without a row in the vocabulary: ", join(found["missing"][:40], "、"), kind="note"))
    return join(parts)


def _worst(run: Run) -> Html:
    """What the last health check knew about it."""
    rows = [(term, f"{drift:.4f}") for term, drift in run.last("health").get("worst") or ()]
    return table(("token", "drift"), rows, numbers=(1,)) if rows else Html("")


def _changes(rows: Sequence[Mapping[str, Any]], *, seen: bool) -> Html:
    grouped = any(row["group"] for row in rows)
    head = ["term", *(["group"] if grouped else []), *(["seen"] if seen else []), "drift", "kept"]
    body: list[list[object]] = []
    for row in rows:
        old, new = {name for name, _ in row["before"]}, {name for name, _ in row["after"]}
        cells: list[object] = [row["term"], *([row["group"] or "-"] if grouped else [])]
        cells += [f"{row['count']:,}" if row["count"] is not None else "-"] if seen else []
        cells += [f"{row['drift']:.3f}", f"{len(old & new)} of {len(old)}" if old else "-"]
        body.append([*cells, _neighbours(row["before"], new, "gone"), _neighbours(row["after"], old, "new")])
    numbers = range(2 if grouped else 1, len(head))
    head += ["neighbours before", "neighbours after"]
    first, others = (table(head, some, numbers=numbers, stack=True) for some in (body[:_SHOWN], body[_SHOWN:]))
    return join([first, folded(count(len(body) - _SHOWN, "further row"), others)]) if body[_SHOWN:] else first


def _neighbours(near: Sequence[tuple[str, float]], others: set[str], kind: str) -> Html:
    return join([chip(name, "" if name in others else kind, f"cosine {cosine:.2f}") for name, cosine in near], " ")


def groups(run: Run, _: Studio) -> Html:
    """How groups of terms keep together, and how drift goes with frequency."""
    found = run.movement
    if found is None:
        return absent("groups were not measured", INSIGHT)
    parts: list[object] = []
    if found["groups"]:
        parts += [_cohesion(found["groups"]), *_separation(found["separation"])]
    else:
        parts.append(paragraph("The domain of this run has no groups of two terms or more.", kind="note"))
    if found["bands"]:
        parts += [Html("<h3>Drift by how often a token was seen in training</h3>"), _bands(found["bands"])]
    return join(parts)


def _cohesion(rows: Sequence[Mapping[str, Any]]) -> Html:
    told = paragraph(
        "Cohesion is the mean cosine of two terms of a group: higher is closer together. Silhouette is above 0 where terms are "
        "nearer to their own group than to the nearest other."
    )
    body = [(row["name"], row["terms"], *_pair(row["cohesion"]), *_pair(row["silhouette"])) for row in rows]
    head = ("group", "terms", "cohesion before", "after", "change", "silhouette before", "after", "change")
    return join([told, table(head, body, numbers=range(1, 8))])


def _pair(values: Sequence[float]) -> tuple[str, str, str]:
    before, after = values
    return f"{before:.3f}", f"{after:.3f}", f"{round(after - before, 3) + 0.0:+.3f}"


def _separation(rows: Sequence[Mapping[str, Any]]) -> list[Html]:
    if not rows:
        return []
    ordered = sorted(rows, key=lambda row: -abs(row["after"] - row["before"]))
    body = [(row["one"], row["other"], *_pair((row["before"], row["after"]))) for row in ordered]
    inner = table(("group", "and group", "before", "after", "change"), body, numbers=(2, 3, 4))
    return [folded(f"Distance between groups ({count(len(rows), 'pair')})", inner)]


def _bands(rows: Sequence[Mapping[str, Any]]) -> Html:
    head = ("seen", "tokens", "moved", "mean drift", "median", "95th percentile", "largest")
    body = [
        (
            row["name"],
            f"{row['rows']:,}",
            f"{row['rows_touched']:,}",
            *(f"{row[key]:.3f}" for key in ("mean", "p50", "p95", "max")),
        )
        for row in rows
    ]
    return table(head, body, numbers=range(1, 7))


def term_map(run: Run, studio: Studio) -> Html:
    """The terms on one plane, before and after."""
    found = (run.movement or {}).get("map")
    if not found or not found["points"]:
        return absent("there are no terms to put on a map", INSIGHT)
    shown = places(found, studio.method)
    if studio.method == "pca":
        how = (
            f"The two axes hold {sum(found['explained'][:2]):.0%} of the variance, so what lies close here may still be apart."
        )
    else:
        how = f"By {METHODS[studio.method]}: who stands next to whom means something, distances far apart do not."
    told = paragraph(
        f"Both maps have the same axes. Terms are unit vectors; a thin line leads from where a term stood to where it "
        f"stands. {how}"
    )
    drawn = [
        studio.figure(
            f"map {side}",
            f"{side.capitalize()} tuning",
            functools.partial(paint_map, shown=shown, after=side == "after"),
            alt=f"{count(len(shown), 'term')} on a plane by {METHODS[studio.method]}, {side} tuning.",
        )
        for side in ("before", "after")
    ]
    return join([told, Html(f'<div class="figures two">{join(drawn)}</div>')])
