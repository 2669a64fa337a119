"""A joint 2D map of term vectors before and after tuning. Needs numpy only."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from paddlenlp_embtune.embeddings.metrics import sampling
from paddlenlp_embtune.embeddings.metrics._term_groups import term_vectors
from paddlenlp_embtune.embeddings.metrics.sampling import Floats, Ids, Table

__all__ = ["TermPairs", "pair_terms", "principal_axes", "special_rows", "term_map"]

_MAP_WIDTH = 32
_SPECIAL = re.compile(r"\[(PAD|UNK|CLS|SEP|MASK|unused\d+)\]|</?(pad|unk|mask|s|bos|eos)>", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class TermPairs:
    """Terms that have rows, with their vectors before and after.

    Args:
        terms: T terms, each once.
        group_of: the group of a term, the first that names it.
        groups: by group name, the indices of its terms in ``terms``.
        missing: terms without a row.
        before, after: (T, D) float32.
    """

    terms: tuple[str, ...]
    group_of: Mapping[str, str]
    groups: Mapping[str, tuple[int, ...]]
    missing: tuple[str, ...]
    before: Table
    after: Table


def special_rows(tokens: Sequence[str]) -> Ids:
    """Return the rows of tokens that do not represent text, such as ``[PAD]`` or ``</s>``."""
    return np.array([row for row, token in enumerate(tokens) if _SPECIAL.fullmatch(token)], dtype=np.int64)


def pair_terms(
    start: Table,
    end: Table,
    tokens: Sequence[str],
    groups: Mapping[str, Sequence[str]],
    *,
    special: Ids,
    rows_of: Callable[[str], Sequence[int]] | None = None,
) -> TermPairs:
    """Find the terms of groups in two tables; a term is the mean of its rows, special ones left out.

    Args:
        start: (V, D) float32, the table before.
        end: (V, D) float32, the table after.
        tokens: the token of each row.
        groups: terms by the name of a group.
        special: rows that belong to no term.
        rows_of: from a term to its row numbers; None takes the token that equals it, or else its characters. A term of which
            a part has no row, or a special one such as that of unknown tokens, is missing: the rest would stand for another.
    """
    find = rows_of or _by_token(tokens)
    left_out = set(special.tolist())
    every = dict.fromkeys(term for terms in groups.values() for term in terms)
    rows = {term: [int(row) for row in find(term)] for term in every}
    found = {term: numbers for term, numbers in rows.items() if numbers and not left_out.intersection(numbers)}
    place = {term: at for at, term in enumerate(found)}
    none = np.zeros((0, start.shape[1]), dtype=np.float32)
    return TermPairs(
        terms=tuple(found),
        group_of={term: name for name in reversed(list(groups)) for term in groups[name]},
        groups={name: tuple(place[term] for term in dict.fromkeys(terms) if term in place) for name, terms in groups.items()},
        missing=tuple(term for term in rows if term not in found),
        before=term_vectors(start, list(found.values())) if found else none,
        after=term_vectors(end, list(found.values())) if found else none,
    )


def _by_token(tokens: Sequence[str]) -> Callable[[str], Sequence[int]]:
    number = {token: row for row, token in enumerate(tokens)}

    def find(term: str) -> Sequence[int]:
        parts = [term] if term in number else list(term)
        return [number[part] for part in parts] if all(part in number for part in parts) else []

    return find


def term_map(pairs: TermPairs, others: Mapping[str, tuple[Table, Table]], *, max_points: int = 200) -> dict[str, Any]:
    """Project terms onto the principal axes of all displayed unit vectors, before and after together.

    Args:
        pairs: terms of groups; of many, the first of every group are taken.
        others: further tokens with their (D,) rows before and after; they belong to no group.
        max_points: maximum number of points, 2 or more.
    Returns:
        ``explained`` (share of the variance on each axis, at most 32 axes) and ``points`` (``term``, ``group``, ``before``,
        ``after``); both empty where there are fewer than two points.
    """
    chosen = _share_out(pairs, max_points - len(others))
    further = [term for term in others if term not in {pairs.terms[at] for at in chosen}]
    names: list[tuple[str, str | None]] = [(pairs.terms[at], pairs.group_of[pairs.terms[at]]) for at in chosen] + [
        (term, pairs.group_of.get(term)) for term in further
    ]
    if len(names) < 2:
        return {"explained": [], "points": []}
    before = [*pairs.before[chosen], *(others[term][0] for term in further)]
    after = [*pairs.after[chosen], *(others[term][1] for term in further)]
    coordinates, explained = principal_axes(sampling.unit_rows(np.array(before + after)))
    old, new = np.split(np.round(coordinates, 5), 2)
    return {
        "explained": np.round(explained, 5).tolist(),
        "points": [
            {"term": term, "group": group, "before": one.tolist(), "after": other.tolist()}
            for (term, group), one, other in zip(names, old, new, strict=True)
        ],
    }


def _share_out(pairs: TermPairs, room: int) -> list[int]:
    """Choose terms so that every group gets its share of the available points."""
    share = max(1, room // max(1, len(pairs.groups)))
    chosen = dict.fromkeys(at for positions in pairs.groups.values() for at in positions[:share])
    return list(chosen)[:room]


def principal_axes(rows: Floats) -> tuple[Floats, Floats]:
    """Return coordinates on the principal axes, widest first, and the share of the variance on each; at least 2, at most 32.

    The largest part of every axis is positive, so that the same rows always give the same map.

    Shapes:
        rows: (N, D) float64; returns: (N, A) and (A,) float64
    Source:
        Jolliffe (2002), Principal Component Analysis, section 3.5
    """
    left, sizes, axes = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    signs = np.where(axes[np.arange(len(axes)), abs(axes).argmax(axis=1)] < 0, -1.0, 1.0)
    width = max(2, min(_MAP_WIDTH, len(sizes)))
    coordinates, shares = np.zeros((len(rows), width)), np.zeros(width)
    used = min(width, len(sizes))
    coordinates[:, :used] = (left * sizes * signs)[:, :used]
    shares[:used] = (sizes**2 / max(float((sizes**2).sum()), 1e-300))[:used]
    return coordinates, shares
