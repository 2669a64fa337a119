"""A JSON report on the drift between two tables. Needs numpy only.

Nothing here grows with the square of the rows: drift is read once, in blocks, and only the rows that moved most are compared
with all others.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.embeddings.metrics import sampling
from paddlenlp_embtune.embeddings.metrics._frequency_buckets import drift_by_frequency
from paddlenlp_embtune.embeddings.metrics._group_measures import measure_groups
from paddlenlp_embtune.embeddings.metrics._neighbours import nearest
from paddlenlp_embtune.embeddings.metrics._term_map import TermPairs, pair_terms, special_rows, term_map
from paddlenlp_embtune.embeddings.metrics.drift import cosine_drift
from paddlenlp_embtune.embeddings.metrics.sampling import Ids, Table
from paddlenlp_embtune.errors import VectorError

__all__ = ["describe_drift"]

_STEP = 2_048
Near = list[list[Any]]


def describe_drift(
    start: Table,
    end: Table,
    tokens: Sequence[str],
    groups: Mapping[str, Sequence[str]],
    *,
    counts: npt.ArrayLike | None = None,
    rows_of: Callable[[str], Sequence[int]] | None = None,
    k: int = 8,
    count: int = 20,
) -> dict[str, Any]:
    """Compare a table with its start.

    Special tokens, such as ``[PAD]``, are left out. A term stands for the mean of its rows; its neighbours are sought among
    the terms of all groups, those of a token among all tokens.

    Args:
        start: (V, D) float32, the table before.
        end: (V, D) float32, the table after.
        tokens: the token of each row, V.
        groups: terms that belong together, by name; an empty mapping is fine.
        counts: (V,) how often each token was seen in training; None leaves the buckets of frequency out.
        rows_of: from a term to its row numbers, such as the encode of a tokenizer; None takes the token that equals the term,
            or else its characters. A term of which a part has no row is missing.
        k: neighbours to list, 1 or more; fewer where there are fewer.
        count: tokens, and terms, to list, 1 to 100.
    Returns:
        ``rows``, ``dimension``, ``rows_moved``, ``drift_mean`` and ``drift_p95`` (of the rows that moved), ``tokens`` and
        ``terms`` (moved most first: ``term``, ``group``, ``count``, ``drift``, ``kept``: the share of neighbours that stayed,
        ``before`` and ``after``: pairs of a neighbour and its cosine), ``groups`` (``name``, ``terms``, and pairs of before
        and after: ``cohesion``, ``silhouette``, ``agreement``, ``outlier_accuracy``, ``outlier_position``), ``all_groups``
        (such pairs over all groups, and ``agreement_by_chance``; empty without groups), ``separation`` (``one``, ``other``,
        ``before``, ``after``), ``bands`` (rare to frequent; None without counts), ``missing`` (terms of which a part has no
        row) and ``map`` (see ``term_map``).
    Raises:
        VectorError: the tables, tokens, terms or counts do not belong together.
    """
    sampling.check_pair(start, end)
    if len(tokens) != len(start) or k < 1 or not 1 <= count <= 100:
        raise VectorError(
            f"{len(tokens)} tokens for {len(start)} rows, k {k}, count {count}; expected a token for each row, k 1 or more, "
            "count 1 to 100"
        )
    seen = None if counts is None else np.asarray(counts)
    if seen is not None and seen.shape != (len(start),):
        raise VectorError(f"counts are of shape {seen.shape}; expected ({len(start)},), one a row")
    special = special_rows(tokens)
    drift, moved = _drift(start, end, special)
    top = np.argsort(-drift, kind="stable")[:count]
    top = top[moved[top]]
    pairs = pair_terms(start, end, tokens, groups, special=special, rows_of=rows_of)
    return {
        "rows": len(start) - len(special),
        "dimension": int(start.shape[1]),
        "rows_moved": int(np.count_nonzero(moved)),
        "drift_mean": float(drift[moved].mean(dtype=np.float64)) if moved.any() else 0.0,
        "drift_p95": float(np.percentile(drift[moved], 95)) if moved.any() else 0.0,
        "tokens": [
            {
                "term": tokens[row],
                "group": pairs.group_of.get(tokens[row]),
                "count": None if seen is None else int(seen[row]),
                **change,
            }
            for row, change in zip(top.tolist(), _changes(start, end, top, drift, tokens, special, k), strict=True)
        ],
        "terms": _top_terms(pairs, k, count),
        **_groups(pairs),
        "bands": None if seen is None else _bands(start, end, seen, special),
        "missing": list(pairs.missing),
        "map": term_map(pairs, {tokens[row]: (start[row], end[row]) for row in top.tolist()}),
    }


def _drift(start: Table, end: Table, special: Ids) -> tuple[Table, npt.NDArray[np.bool_]]:
    """Return the drift of every row, and whether it differs in any value; special rows count as unmoved."""
    drift, moved = np.empty(len(start), dtype=np.float32), np.empty(len(start), dtype=np.bool_)
    for at in range(0, len(start), _STEP):
        part = slice(at, at + _STEP)
        drift[part] = cosine_drift(start[part], end[part])
        moved[part] = (start[part] != end[part]).any(axis=1)
    moved[special] = False
    drift[~moved] = 0.0
    return drift, moved


def _changes(
    start: Table, end: Table, rows: Ids, drift: Table, names: Sequence[str], special: Ids, k: int
) -> list[dict[str, Any]]:
    """Return for each row how far it turned, and its neighbours on both sides."""
    shown = min(k, len(start) - len(special) - 1)
    if shown < 1:
        return [_change(float(drift[row]), [], []) for row in rows]
    if not rows.size:
        return []
    before, after = (_near(table, rows, names, special, shown) for table in (start, end))
    return [_change(float(drift[row]), old, new) for row, old, new in zip(rows, before, after, strict=True)]


def _near(table: Table, rows: Ids, names: Sequence[str], special: Ids, k: int) -> list[Near]:
    """Name the nearest rows; asking for as many more as there are special ones leaves enough when those are taken out."""
    found = nearest(table, rows, k=min(k + len(special), len(table) - 1))
    left_out = set(special.tolist())
    return [
        [[names[other], round(cosine, 4)] for other, cosine in zip(ids, cosines, strict=True) if other not in left_out][:k]
        for ids, cosines in zip(found.ids.tolist(), found.cosines.tolist(), strict=True)
    ]


def _change(drift: float, before: Near, after: Near) -> dict[str, Any]:
    both = {name for name, _ in before} & {name for name, _ in after}
    kept = round(len(both) / len(before), 4) if before else None
    return {"drift": round(drift, 6), "kept": kept, "before": before, "after": after}


def _top_terms(pairs: TermPairs, k: int, count: int) -> list[dict[str, Any]]:
    drift = cosine_drift(pairs.before, pairs.after)
    top = np.argsort(-drift, kind="stable")[:count]
    none = np.array([], dtype=np.int64)
    if len(pairs.terms) < 2:
        return []
    changes = _changes(pairs.before, pairs.after, top, drift, pairs.terms, none, k)
    named = [(pairs.terms[at], pairs.group_of[pairs.terms[at]]) for at in top.tolist()]
    return [
        {"term": term, "group": group, "count": None, **change} for (term, group), change in zip(named, changes, strict=True)
    ]


def _groups(pairs: TermPairs) -> dict[str, Any]:
    """Measure the groups that have two terms or more with rows."""
    rows = {name: positions for name, positions in pairs.groups.items() if len(positions) > 1}
    if not rows:
        return {"groups": [], "all_groups": {}, "separation": []}
    sides = [measure_groups(table, rows) for table in (pairs.before, pairs.after)]
    old, new = (side.geometry for side in sides)
    overall = [side.overall({name: len(positions) for name, positions in rows.items()}) for side in sides]
    of_all = ("alignment", "agreement", "outlier_accuracy", "outlier_position")
    return {
        "groups": [
            {
                "name": name,
                "terms": len(positions),
                **{key: [value, sides[1].group(name)[key]] for key, value in sides[0].group(name).items()},
            }
            for name, positions in rows.items()
        ],
        "all_groups": {
            "agreement_by_chance": overall[0]["agreement_by_chance"],
            **{key: [side[key] for side in overall] for key in of_all},
        },
        "separation": [
            {"one": one, "other": other, "before": value, "after": new.separation[one, other]}
            for (one, other), value in old.separation.items()
        ],
    }


def _bands(start: Table, end: Table, seen: npt.NDArray[Any], special: Ids) -> list[dict[str, Any]]:
    """Describe the drift by frequency; special rows at the head of the table are cut off, which copies nothing."""
    head = int(np.count_nonzero(special == np.arange(len(special))))
    head = head if head < len(start) else 0
    return [dataclasses.asdict(bucket) for bucket in drift_by_frequency(start[head:], end[head:], seen[head:])]
