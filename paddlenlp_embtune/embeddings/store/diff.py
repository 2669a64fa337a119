"""Comparing two versions of an embedding: rows in only one of them, broken rows, and drift of shared rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from paddlenlp_embtune.embeddings.metrics.drift_report import describe_drift
from paddlenlp_embtune.embeddings.metrics.sampling import Ids, Table
from paddlenlp_embtune.embeddings.store.row_selection import shared_rows
from paddlenlp_embtune.errors import VectorError

__all__ = ["compare_versions"]

_STEP = 2_048
_LISTED = 100
Tokens = Sequence[str]


def compare_versions(
    before: tuple[Tokens, Table],
    after: tuple[Tokens, Table],
    groups: Mapping[str, Sequence[str]],
    *,
    counts: Mapping[str, int] | None = None,
    cut: Callable[[str], Sequence[str]] | None = None,
    k: int = 8,
    count: int = 20,
) -> dict[str, Any]:
    """Compare two versions, row by row of the tokens that both have.

    Rows that hold NaN or infinite values on either side are named and left out of everything else.

    Args:
        before: V tokens and their (V, D) float32 table.
        after: W tokens and their (W, D) float32 table.
        groups: terms that belong together, by the name of a group; may be empty.
        counts: how often each token was seen in training; None leaves the buckets of frequency out.
        cut: a term into tokens, such as the ``tokens`` of a tokenizer; None takes the token that equals it, or else its
            characters.
        k: neighbours to list, 1 or more.
        count: tokens, and terms, to list, 1 to 100.
    Returns:
        ``shared`` (rows that both have), ``only_before`` and ``only_after`` (``count``, and the first 100 ``tokens``),
        ``not_finite`` (likewise), ``same_bits`` (shared rows that are alike bit by bit), and what
        :func:`paddlenlp_embtune.embeddings.metrics.drift_report.describe_drift` returns, but for the map.
    Raises:
        VectorError: the tables differ in width, share no token, or an argument is not as above.
    """
    (old_tokens, old), (new_tokens, new) = before, after
    if old.ndim != 2 or new.ndim != 2 or old.shape[1] != new.shape[1]:
        raise VectorError(
            f"the one version has the shape {old.shape}, the other {new.shape}; expected one width, for directions in spaces "
            "of different widths cannot be compared; compare the answers of the bundles instead, with: embtune evaluate"
            f"{_describe_unshared(old_tokens, new_tokens)}"
        )
    one, other = shared_rows(old_tokens, new_tokens)
    if not one.size:
        raise VectorError(
            f"the versions share no token{_describe_unshared(old_tokens, new_tokens)}; expected one token in both, or more"
        )
    same_bits, finite = _inspect(old, new, one, other)
    kept = np.flatnonzero(finite)
    if not kept.size:
        raise VectorError(f"all {len(one)} rows that the versions share hold NaN or infinite values; find out what wrote them")
    tokens = [old_tokens[row] for row in one[kept].tolist()]
    number = {token: row for row, token in enumerate(tokens)}

    def rows_of(term: str) -> list[int]:
        parts = cut(term) if cut else [term] if term in number else list(term)
        return [number[part] for part in parts] if all(part in number for part in parts) else []

    seen = None if counts is None else np.array([counts.get(token, 0) for token in tokens], dtype=np.int64)
    moved = describe_drift(
        _take(old, one[kept]), _take(new, other[kept]), tokens, groups, counts=seen, rows_of=rows_of, k=k, count=count
    )
    del moved["map"]
    return {
        "shared": len(one),
        "only_before": _listed(_without(old_tokens, new_tokens)),
        "only_after": _listed(_without(new_tokens, old_tokens)),
        "not_finite": _listed([old_tokens[row] for row in one[~finite].tolist()]),
        "same_bits": same_bits,
        **moved,
    }


def _inspect(old: Table, new: Table, one: Ids, other: Ids) -> tuple[int, Any]:
    """Count the rows that are alike bit by bit, and say which are finite on both sides."""
    same, finite = 0, np.empty(len(one), dtype=np.bool_)
    for at in range(0, len(one), _STEP):
        left, right = old[one[at : at + _STEP]], new[other[at : at + _STEP]]
        same += int(np.count_nonzero((left.view(np.uint32) == right.view(np.uint32)).all(axis=1)))
        finite[at : at + _STEP] = np.isfinite(left).all(axis=1) & np.isfinite(right).all(axis=1)
    return same, finite


def _take(table: Table, rows: Ids) -> Table:
    """Return chosen rows, ascending or not; the table itself, uncopied, where they are all of it."""
    whole = len(rows) == len(table) and bool((rows == np.arange(len(table))).all())
    return table if whole else table[rows]


def _without(tokens: Tokens, others: Tokens) -> list[str]:
    known = set(others)
    return [token for token in dict.fromkeys(tokens) if token not in known]


def _listed(tokens: list[str]) -> dict[str, Any]:
    return {"count": len(tokens), "tokens": tokens[:_LISTED]}


def _describe_unshared(old_tokens: Tokens, new_tokens: Tokens) -> str:
    """List the tokens that only one side has, for a message."""
    sides = {"the one": _without(old_tokens, new_tokens), "the other": _without(new_tokens, old_tokens)}
    parts = [f"{len(only)} tokens only in {side}: {', '.join(only[:5])}" for side, only in sides.items() if only]
    return f" ({'; '.join(parts)})" if parts else ""
