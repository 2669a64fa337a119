"""A summary of vectors: kinds of tokens, norms, and nearest neighbours."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.embeddings.init.token_variants import is_special, text_of
from paddlenlp_embtune.embeddings.io.vector_table import VectorTable
from paddlenlp_embtune.embeddings.metrics.drift import row_norms
from paddlenlp_embtune.errors import VectorError

__all__ = ["KINDS", "count_kinds", "describe_vectors", "nearest_tokens"]

KINDS = ("Han character", "Han word", "Latin", "number", "special", "other")
"""Kinds of tokens; a token is classified without the marker of its position in a word."""

_MARKERS = ("##", "\u2581")
_HAN = re.compile(r"[\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+")
_LATIN = re.compile(r"[A-Za-z\u00c0-\u024f][A-Za-z\u00c0-\u024f'.\u2019-]*")
_NUMBER = re.compile(r"[+-]?\d[\d.,:/%-]*")


def describe_vectors(vectors: VectorTable, *, first: int = 10) -> dict[str, Any]:
    """Return a summary of vectors, as plain values.

    Args:
        vectors: as read; rows that no token names are left out of the norms.
        first: how many tokens are shown.
    Returns:
        ``rows``, ``width``, ``first`` (tokens), ``kinds`` (rows by the words of ``KINDS``), ``marked`` (rows by the marker
        that their tokens begin with), ``norms`` (``mean``, ``p5`` and ``p95``, None without rows), ``zero_rows``, ``subwords``
        (whether further tokens can be composed), ``unknown_row`` (whether there is one) and ``notes``.
    """
    tokens = list(vectors.rows)
    numbers = np.unique(np.fromiter(vectors.rows.values(), dtype=np.int64, count=len(tokens)))
    norms = row_norms(vectors.table)[numbers]
    silent = numbers[norms == 0]
    marked = {mark: sum(token.startswith(mark) and token != mark for token in tokens) for mark in _MARKERS}
    low, high = np.percentile(norms, (5, 95)) if len(norms) else (np.nan, np.nan)
    return {
        "rows": len(tokens),
        "width": vectors.dimension,
        "first": tokens[:first],
        "kinds": count_kinds(tokens),
        "marked": marked,
        # Of numbers so small that their squares are 0 in float32, the norm alone does not tell.
        "zero_rows": int(np.count_nonzero(~vectors.table[silent].any(axis=1))),
        "norms": {"mean": float(norms.mean(dtype=np.float64)), "p5": float(low), "p95": float(high)} if len(norms) else None,
        "subwords": vectors.compose is not None,
        "unknown_row": vectors.unknown_row is not None,
        "notes": list(vectors.notes),
    }


def count_kinds(tokens: Iterable[str]) -> dict[str, int]:
    """Count tokens by kind, see ``KINDS``."""
    counts = Counter(map(_kind, tokens))
    return {kind: counts[kind] for kind in KINDS}


def nearest_tokens(vectors: VectorTable, term: str, *, k: int = 10) -> list[tuple[str, float]] | None:
    """Find the tokens whose vectors have the highest cosine to that of a term, nearest first.

    Args:
        vectors: where.
        term: a token, or what the vectors can compose.
        k: at most so many, 1 or more; the term itself and zero rows are left out.
    Returns:
        tokens and cosines; none where the term's row is zero, and None where it has no vector
    Raises:
        VectorError: ``k`` is below 1.
    Source:
        ours; exhaustive
    """
    if k < 1:
        raise VectorError(f"k is {k}; expected 1 or more")
    vector = _vector(vectors, term)
    if vector is None:
        return None
    length = float(np.linalg.norm(vector))
    if length == 0 or not len(vectors.table):
        return []
    norms = row_norms(vectors.table)
    cosines = np.divide(vectors.table @ (vector / length), norms, out=np.full_like(norms, -np.inf), where=norms > 0)
    names: dict[int, str] = {}
    for token, row in vectors.rows.items():
        names.setdefault(row, token)
    own = vectors.rows.get(term)
    best = _best(cosines, k + 1 + len(cosines) - len(names))
    found = [(names[row], float(cosines[row].clip(-1, 1))) for row in best if row in names and row != own]
    return [(token, cosine) for token, cosine in found if cosine > -np.inf][:k]


def _vector(vectors: VectorTable, term: str) -> npt.NDArray[np.float32] | None:
    if term in vectors.rows:
        row: npt.NDArray[np.float32] = vectors.table[vectors.rows[term]]
        return row
    return vectors.compose(term) if vectors.compose is not None else None


def _best(scores: npt.NDArray[np.float32], count: int) -> Sequence[int]:
    """Return the indices of the highest finite scores, highest first, lower index first among equals."""
    positions = np.arange(len(scores)) if count >= len(scores) else np.sort(np.argpartition(-scores, count)[:count])
    ordered = positions[np.argsort(-scores[positions], kind="stable")]
    chosen: list[int] = ordered[np.isfinite(scores[ordered])].tolist()
    return chosen


def _kind(token: str) -> str:
    if is_special(token):
        return "special"
    text = text_of(token)
    if _HAN.fullmatch(text):
        return "Han character" if len(text) == 1 else "Han word"
    if _LATIN.fullmatch(text):
        return "Latin"
    return "number" if _NUMBER.fullmatch(text) else "other"
