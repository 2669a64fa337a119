"""From pretrained vectors and a vocabulary to an embedding table, with an account of every row."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.errors import VectorError
from paddlenlp_embtune.text import PAD_ID, UNK_ID, Vocabulary
from paddlenlp_embtune.vectors.table import VectorTable

__all__ = ["Coverage", "Origin", "initialise", "initialise_random"]


class Origin:
    """Where a row of an embedding came from."""

    PADDING = "padding"
    EXACT = "exact"
    CASE = "other case"
    UNKNOWN = "unknown row"
    SAMPLED = "sampled"


@dataclasses.dataclass(frozen=True)
class Coverage:
    """How the rows of an embedding were initialised.

    Args:
        source: what the vectors were read from.
        origins: one word of :class:`Origin` for each id.
        missing: tokens that the vectors did not have, in the order of their ids.
    """

    source: str
    origins: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def found(self) -> float:
        """Share of the ordinary tokens, all but padding and unknown, that the vectors had, 0 to 1."""
        counts = self.counts()
        ordinary = len(self.origins) - 2
        return (counts[Origin.EXACT] + counts[Origin.CASE]) / ordinary if ordinary else 0.0

    def counts(self) -> Counter[str]:
        """Return the number of rows of each origin."""
        return Counter(self.origins)

    def summary(self) -> dict[str, object]:
        """Return plain values for a record or a bundle."""
        return {
            "source": self.source,
            "rows": len(self.origins),
            "found": round(self.found, 4),
            "origins": dict(self.counts()),
            "missing_examples": list(self.missing[:20]),
        }


def initialise(
    vocabulary: Vocabulary, vectors: VectorTable, *, rms: float, seed: int
) -> tuple[npt.NDArray[np.float32], Coverage]:
    """Build the embedding table of a vocabulary from pretrained vectors.

    A token takes the row of the same name, or of its name in the other case. A token that the vectors lack is drawn from a
    normal distribution with the mean and standard deviation, per dimension, of the rows that were found. Then all rows are
    scaled by one factor, so that angles and ratios of lengths stay as they were.

    Args:
        vocabulary: V tokens.
        vectors: the pretrained table, width D.
        rms: root mean square of the found rows after scaling.
        seed: seeds the drawn rows.
    Shapes:
        returns: (V, D) float32; row 0, padding, is zero
    Raises:
        VectorError: no token of the vocabulary is in the vectors.
    """
    origins, sources = _match(vocabulary, vectors)
    found = np.array([row for row in sources[2:] if row is not None], dtype=np.int64)
    if not found.size:
        raise VectorError(
            f"none of the {len(vocabulary) - 2} tokens is among the {len(vectors.rows)} of {vectors.source}; "
            "check that the tokenizer and the vectors are of one kind, or set vectors.source to random"
        )
    known = vectors.table[found]
    size = float(np.sqrt(np.mean(np.square(known, dtype=np.float64))))
    if not size > 0:
        raise VectorError(f"all {len(known)} rows found in {vectors.source} are zero; use other vectors, or random")
    generator = np.random.default_rng(seed)
    table = generator.normal(known.mean(axis=0), known.std(axis=0), (len(vocabulary), vectors.dimension))
    for index, row in enumerate(sources):
        if row is not None:
            table[index] = vectors.table[row]
    table *= rms / size
    table[PAD_ID] = 0.0
    ordinary = list(zip(vocabulary.tokens, origins, strict=True))[2:]
    missing = tuple(token for token, origin in ordinary if origin == Origin.SAMPLED)
    return table.astype(np.float32), Coverage(vectors.source, tuple(origins), missing)


def initialise_random(
    vocabulary: Vocabulary, dimension: int, *, rms: float, seed: int
) -> tuple[npt.NDArray[np.float32], Coverage]:
    """Draw every row of an embedding table from a normal distribution.

    Shapes:
        returns: (V, dimension) float32; row 0, padding, is zero
    """
    table = np.random.default_rng(seed).normal(0.0, rms, (len(vocabulary), dimension)).astype(np.float32)
    table[PAD_ID] = 0.0
    origins = (Origin.PADDING, *[Origin.SAMPLED] * (len(vocabulary) - 1))
    return table, Coverage("random", origins, vocabulary.tokens[2:])


def _match(vocabulary: Vocabulary, vectors: VectorTable) -> tuple[list[str], list[int | None]]:
    origins: list[str] = []
    sources: list[int | None] = []
    for index, token in enumerate(vocabulary.tokens):
        row, origin = vectors.rows.get(token), Origin.EXACT
        if index == PAD_ID:
            row, origin = None, Origin.PADDING
        elif index == UNK_ID:
            row, origin = vectors.unknown_row, Origin.UNKNOWN
        elif row is None:
            row, origin = vectors.rows.get(token.swapcase()), Origin.CASE
        sources.append(row)
        origins.append(origin if row is not None or index == PAD_ID else Origin.SAMPLED)
    return origins, sources
