"""Initializing a new vocabulary in the space of a trained model, with a map learned from shared tokens."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from paddlenlp_embtune.embeddings.init._scaling import rms_of
from paddlenlp_embtune.embeddings.init.coverage import Coverage, Origin
from paddlenlp_embtune.embeddings.init.projection import LinearMap, fit_linear, shared_nonzero_rows
from paddlenlp_embtune.embeddings.init.token_matching import TokenMatch, build_coverage, match_tokens
from paddlenlp_embtune.embeddings.io.vector_table import VectorTable
from paddlenlp_embtune.embeddings.metrics import sampling
from paddlenlp_embtune.embeddings.metrics.sampling import Table
from paddlenlp_embtune.text import PAD, PAD_ID, Vocabulary

__all__ = ["initialize_by_transfer"]


def initialize_by_transfer(
    vocabulary: Vocabulary,
    vectors: VectorTable,
    *,
    reference: Table,
    reference_rows: Mapping[str, int],
    seed: int,
    fallbacks: Sequence[str] | None = None,
    ridge: float = 0.1,
) -> tuple[Table, Coverage]:
    """Build the embedding table of a new vocabulary in the space of a trained model.

    Tokens of the model, including special ones, keep their rows, bit for bit. Others get rows of the pretrained vectors, by
    name or by the fallbacks, through a linear map learned from shared tokens, followed by scaling to the size of the model's
    rows, because a learned map shrinks rows. The rest are drawn from a normal distribution, per dimension, fitted to the
    model's rows of shared tokens.

    Args:
        vocabulary: V tokens.
        vectors: the pretrained table, of any width; if a file was read in part, the part must include the model's tokens, from
            which the map is learned.
        reference: (R, E) float32, the model's embedding.
        reference_rows: the row of each of the model's tokens.
        seed: seed for random rows.
        fallbacks: as in ``match_tokens``.
        ridge: as in ``fit_linear``.
    Shapes:
        returns: (V, E) float32; row 0, padding, is zero unless the model has one
    Raises:
        VectorError: too few tokens are shared to learn a map, or a table or an option is invalid.
    """
    sampling.check_table(reference, "reference")
    model = VectorTable(reference_rows, reference, "the model's table")
    change = fit_linear(vectors, model, ridge=ridge, seed=seed)
    kept = {
        token: TokenMatch(Origin.KEPT, (token,), reference[reference_rows[token]])
        for token in vocabulary.tokens
        if token in reference_rows
    }
    matches = match_tokens([token for token in vocabulary.tokens if token not in kept and token != PAD], vectors, fallbacks)
    ours, theirs = shared_nonzero_rows(vectors, model)
    ordinary = reference[theirs]
    shape = (len(vocabulary), reference.shape[1])
    table = np.random.default_rng(seed).normal(ordinary.mean(axis=0), ordinary.std(axis=0), shape).astype(np.float32)
    if matches:
        table[_rows_of(vocabulary, matches)] = _mapped(change, vectors.table[ours], ordinary, vocabulary, matches)
    table[PAD_ID] = 0.0
    if kept:
        table[_rows_of(vocabulary, kept)] = [kept[token].row for token in vocabulary.tokens if token in kept]
    coverage = build_coverage(vocabulary, vectors.source, kept | matches, unknown=False)
    return table, dataclasses.replace(coverage, projection=change.report)


def _rows_of(vocabulary: Vocabulary, matches: Mapping[str, TokenMatch]) -> list[int]:
    return [index for index, token in enumerate(vocabulary.tokens) if token in matches]


def _mapped(change: LinearMap, ours: Table, theirs: Table, vocabulary: Vocabulary, matches: Mapping[str, TokenMatch]) -> Table:
    """Map the matched rows, scaled to the size of shared tokens' rows in the model."""
    factor = rms_of(theirs) / rms_of(change.apply(ours))
    rows = np.stack([matches[token].row for token in vocabulary.tokens if token in matches])
    scaled: Table = (change.apply(rows) * np.float64(factor)).astype(np.float32)
    return scaled
