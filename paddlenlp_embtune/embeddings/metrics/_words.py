"""The vectors of words: their own rows, or what stands for them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from paddlenlp_embtune.embeddings.io.vector_table import VectorTable
from paddlenlp_embtune.embeddings.metrics.sampling import Table

__all__ = ["FoundWords", "find_words"]


@dataclasses.dataclass(frozen=True, eq=False)
class FoundWords:
    """Words that have a direction in a table of vectors.

    Args:
        vectors: (D,) float32 by word.
        whole: words with a row of their own; the others stand for the mean of their parts.
        missing: words of which a part has no row, or whose vector is zero.
    """

    vectors: Mapping[str, Table]
    whole: frozenset[str]
    missing: tuple[str, ...]

    def stacked(self, words: Sequence[str]) -> Table:
        """Return the vectors of words, (W, D) float32."""
        return np.stack([self.vectors[word] for word in words])


def find_words(source: VectorTable, words: Iterable[str]) -> FoundWords:
    """Find words: a row of their own, or what the source composes, or the mean of their characters.

    A word of which a character has no row is missing: the rest would stand for another word.
    """
    vectors: dict[str, Table] = {}
    whole, missing = set[str](), list[str]()
    for word in dict.fromkeys(words):
        vector = _vector(source, word)
        if vector is None or not vector.any():
            missing.append(word)
            continue
        vectors[word] = vector
        if word in source.rows:
            whole.add(word)
    return FoundWords(vectors, frozenset(whole), tuple(missing))


def _vector(source: VectorTable, word: str) -> Table | None:
    if word in source.rows:
        own: Table = source.table[source.rows[word]]
        return own
    composed = source.compose(word) if source.compose is not None else None
    if composed is not None or not all(character in source.rows for character in word):
        return composed
    mean: Table = source.table[[source.rows[character] for character in word]].mean(axis=0, dtype=np.float64).astype(np.float32)
    return mean
