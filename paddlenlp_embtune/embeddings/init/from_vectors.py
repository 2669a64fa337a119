"""Building an embedding table for a vocabulary from pretrained vectors, with the origin of every row."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.embeddings.init._scaling import rms_of
from paddlenlp_embtune.embeddings.init.coverage import Coverage, Origin
from paddlenlp_embtune.embeddings.init.projection import LinearMap, fit_width
from paddlenlp_embtune.embeddings.init.token_matching import TokenMatch, build_coverage, match_tokens
from paddlenlp_embtune.embeddings.io.vector_table import VectorTable
from paddlenlp_embtune.embeddings.metrics.sampling import Table
from paddlenlp_embtune.errors import VectorError
from paddlenlp_embtune.text import PAD_ID, Vocabulary
from paddlenlp_embtune.utils.memory import require_memory

__all__ = ["Coverage", "Origin", "initialize_from_vectors", "initialize_random"]


def initialize_from_vectors(
    vocabulary: Vocabulary,
    vectors: VectorTable,
    *,
    rms: float,
    seed: int,
    fallbacks: Sequence[str] | None = None,
    dimension: int | None = None,
    projection: str = "pca",
) -> tuple[Table, Coverage]:
    """Build the embedding table of a vocabulary from pretrained vectors.

    A token gets the row of the same name, or what the fallbacks find. Rows of tokens that are not in the vectors are drawn from
    a normal distribution with the per-dimension mean and standard deviation of the known rows: those of tokens found by exact
    name or in another case, or all rows found if there are no more known rows than dimensions. Finally, all rows are scaled by
    one factor, which preserves angles and ratios of norms.

    Args:
        vocabulary: V tokens.
        vectors: the pretrained table, width D.
        rms: root mean square of the known rows after scaling.
        seed: seed for random rows and random projection directions.
        fallbacks: what to try for tokens without an exact match, as in ``match_tokens``; None uses the defaults.
        dimension: width E of the result; None keeps that of the vectors.
        projection: how to change the width, ``pca`` or ``orthonormal``, as in ``fit_width``; fitted to the known rows.
    Shapes:
        returns: (V, E) float32; row 0, padding, is zero
    Raises:
        VectorError: no token of the vocabulary is in the vectors, the rows found are zero, the table does not fit into
            memory, or an option is invalid.
    """
    matches = _match(vocabulary, vectors, fallbacks)
    known = _known(vocabulary, matches, vectors)
    unknown = vectors.table[vectors.unknown_row] if vectors.unknown_row is not None else None
    if unknown is not None and not unknown.any():
        unknown = None  # a zero row carries no information, as in ``match_tokens``
    rows = {token: match.row for token, match in matches.items()}
    _check_size(len(vocabulary), dimension or vectors.dimension)
    coverage = build_coverage(vocabulary, vectors.source, matches, unknown=unknown is not None)
    if dimension is not None and dimension != vectors.dimension:
        change = fit_width(known, dimension, projection=projection, seed=seed)
        known, unknown, rows = _mapped(change, known, unknown, rows)
        coverage = dataclasses.replace(coverage, projection=change.report)
    table = np.random.default_rng(seed).normal(known.mean(axis=0), known.std(axis=0), (len(vocabulary), known.shape[1]))
    for index, token in enumerate(vocabulary.tokens):
        if token in rows:
            table[index] = rows[token]
    if unknown is not None:
        table[vocabulary.unknown_id] = unknown
    table *= rms / rms_of(known)
    table[PAD_ID] = 0.0
    return table.astype(np.float32), coverage


def initialize_random(vocabulary: Vocabulary, dimension: int, *, rms: float, seed: int) -> tuple[Table, Coverage]:
    """Draw every row of an embedding table from a normal distribution.

    Shapes:
        returns: (V, dimension) float32; row 0, padding, is zero
    Raises:
        VectorError: the table does not fit into memory.
    """
    _check_size(len(vocabulary), dimension)
    table = np.random.default_rng(seed).normal(0.0, rms, (len(vocabulary), dimension)).astype(np.float32)
    table[PAD_ID] = 0.0
    return table, build_coverage(vocabulary, "random", {}, unknown=False)


def _check_size(rows: int, width: int) -> None:
    what = f"an embedding of {rows:,} rows of width {width:,}"
    require_memory(rows * width * 12, what, "choose a smaller width, or a smaller vocabulary", error=VectorError)


def _match(vocabulary: Vocabulary, vectors: VectorTable, fallbacks: Sequence[str] | None) -> dict[str, TokenMatch]:
    """Match the ordinary tokens, in id order."""
    ordinary = [token for index, token in enumerate(vocabulary.tokens) if index not in (PAD_ID, vocabulary.unknown_id)]
    matches = match_tokens(ordinary, vectors, fallbacks)
    if matches:
        return matches
    if zero := [token for token in ordinary if token in vectors.rows]:
        raise VectorError(
            f"all {len(zero)} rows found in {vectors.source} are zero; use other vectors, or random initialization"
        )
    raise VectorError(
        f"none of the {len(ordinary)} tokens is among the {len(vectors.rows)} tokens of {vectors.source}; "
        "check that the tokenizer and the vectors split text alike, or set vectors.source to random"
    )


def _known(vocabulary: Vocabulary, matches: Mapping[str, TokenMatch], vectors: VectorTable) -> Table:
    """Return the rows found by exact name or another case, in id order; other spellings would count a row twice."""
    found = [matches[token] for token in vocabulary.tokens if token in matches]
    named = [match for match in found if match.origin in (Origin.EXACT, Origin.CASE)]
    return np.stack([match.row for match in (named if len(named) > vectors.dimension else found)])


def _mapped(
    change: LinearMap, known: Table, unknown: npt.NDArray[np.float32] | None, rows: Mapping[str, Table]
) -> tuple[Table, Table | None, dict[str, Table]]:
    narrow = change.apply(np.stack(list(rows.values())))
    one = change.apply(unknown[None])[0] if unknown is not None else None
    return change.apply(known), one, dict(zip(rows, narrow, strict=True))
