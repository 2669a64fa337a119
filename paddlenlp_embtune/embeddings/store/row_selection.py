"""Selecting rows by token, and copying them from one table to another."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from paddlenlp_embtune.embeddings.metrics._term_map import special_rows
from paddlenlp_embtune.embeddings.metrics.drift import cosine_drift
from paddlenlp_embtune.embeddings.metrics.sampling import Ids, Table, pair_rows
from paddlenlp_embtune.errors import VectorError, expected_names

__all__ = ["check_same_space", "group_tokens", "replace_rows", "rows_of_tokens", "shared_rows"]

_MAX_COMPARED, _MIN_SHARED, _MIN_COSINE = 5_000, 16, 0.3

_MAX_COMPARED = 20_000


def rows_of_tokens(tokens: Sequence[str], wanted: Iterable[str], *, where: str) -> Ids:
    """Return the row of each wanted token; of a duplicate token the last row, which is the one in use.

    Args:
        tokens: the token of each row.
        wanted: tokens.
        where: what the tokens are of, for the message.
    Raises:
        VectorError: a token has no row; the message names the nearest.
    """
    number = {token: row for row, token in enumerate(tokens)}
    rows = []
    for token in wanted:
        if token not in number:
            near = list(itertools.islice((other for other in number if set(token) & set(other)), _MAX_COMPARED))
            allowed = expected_names(token, near or itertools.islice(number, _MAX_COMPARED), limit=6)
            raise VectorError(f"{where} has no row for {token!r} among its {len(number)} tokens; {allowed}")
        rows.append(number[token])
    return np.array(rows, dtype=np.int64)


def shared_rows(tokens: Sequence[str], others: Sequence[str]) -> tuple[Ids, Ids]:
    """Pair the rows of two tables by their tokens, in the order of the first.

    Two vocabularies that are the same are paired row by row; of others, a token that stands there twice counts with its last
    row.

    Shapes:
        returns: (N,) row numbers in the first, and (N,) in the second
    """
    if tuple(tokens) == tuple(others):
        rows = np.arange(len(tokens), dtype=np.int64)
        return rows, rows
    one, other = ({token: row for row, token in enumerate(side)} for side in (tokens, others))
    return pair_rows(one, other)


def group_tokens(
    groups: Mapping[str, Sequence[str]],
    names: Iterable[str],
    tokens: Sequence[str],
    *,
    cut: Callable[[str], Sequence[str]] | None = None,
) -> list[str]:
    """Return the tokens that the terms of groups are made of, each once, as far as they have rows.

    Args:
        groups: terms by the name of a group.
        names: of the groups that are wanted.
        tokens: that have rows; special ones, such as ``[UNK]``, are never returned.
        cut: a term into tokens, such as the ``tokens`` of a tokenizer; None takes the token that equals it, or else its
            characters.
    Raises:
        VectorError: there is no such group, or none of its terms has a row.
    """
    known = set(tokens) - {tokens[row] for row in special_rows(tokens).tolist()}
    found: dict[str, None] = {}
    for name in names:
        if name not in groups:
            raise VectorError(f"there is no group of terms {name!r}; {expected_names(name, groups)}")
        parts = [part for term in groups[name] for part in (cut(term) if cut else [term] if term in known else term)]
        own = [part for part in parts if part in known]
        if not own:
            raise VectorError(f"no term of the group {name!r} ({', '.join(groups[name])}) has a row among {len(tokens)} tokens")
        found |= dict.fromkeys(own)
    return list(found)


def check_same_space(tokens: Sequence[str], table: Table, others: Sequence[str], other: Table) -> None:
    """Refuse to mix rows of two tables from different spaces, where directions are not comparable.

    Tables that were tuned from the same start agree; those of two starts, or of two projections, need not.

    Raises:
        VectorError: on the tokens that both have, the median cosine between their rows is below 0.3.
    """
    if table.shape[1] != other.shape[1]:
        return  # take_rows says so
    ours, theirs = shared_rows(tokens, others)
    kept = np.setdiff1d(np.arange(len(ours)), np.flatnonzero(np.isin(ours, special_rows(tokens))))[:_MAX_COMPARED]
    cosine = 1.0 - cosine_drift(table[ours[kept]], other[theirs[kept]])
    if kept.size >= _MIN_SHARED and (middle := float(np.median(cosine))) < _MIN_COSINE:
        raise VectorError(
            f"on {kept.size} tokens that both have, the median cosine between their rows is {middle:.2f}: the two are of "
            "different spaces, and a row of one means nothing in the other; take rows from a version with the same start"
        )


def replace_rows(table: Table, rows: Ids, other: Table, other_rows: Ids) -> Table:
    """Return a copy of a table with some rows from another.

    Args:
        table: (V, D) float32.
        rows: (N,) the rows to replace.
        other: (W, D) float32.
        other_rows: (N,) what they become.
    Shapes:
        returns: (V, D) float32
    Raises:
        VectorError: the tables are not of one width.
    """
    if table.shape[1] != other.shape[1]:
        raise VectorError(
            f"rows of width {other.shape[1]} cannot go into a table of width {table.shape[1]}; expected one width; vectors of "
            "another width are of another space"
        )
    mixed: Table = table.copy()
    mixed[rows] = other[other_rows]
    return mixed
