"""Adding domain terms as tokens, and initializing their embedding rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.embeddings.init.coverage import Coverage, Origin
from paddlenlp_embtune.embeddings.init.new_rows import extend_table
from paddlenlp_embtune.embeddings.init.transfer import initialize_by_transfer
from paddlenlp_embtune.embeddings.io.vector_table import VectorTable
from paddlenlp_embtune.text import (
    AddedTerms,
    TermTokenizer,
    Tokenizer,
    Vocabulary,
    add_terms,
    content_ids,
    with_cleaning,
    without_cleaning,
)

__all__ = ["add_tokens", "fill_terms_from_pieces"]

Table = npt.NDArray[np.float32]


def add_tokens(
    tokenizer: Tokenizer, table: Table, terms: Sequence[str], vectors: VectorTable | None = None
) -> tuple[Tokenizer, AddedTerms, Table, Coverage]:
    """Add terms to a tokenizer, and rows for them to its table; old ids and rows stay, bit for bit.

    Args:
        tokenizer: any.
        table: its embedding.
        terms: to add; those that are tokens already are left out.
        vectors: pretrained rows for terms, of any width, brought into the table's space by a linear map that is learned from
            the tokens both have; terms that they lack, and all without them, are made of the rows of their pieces.
    Shapes:
        table: (V, D) float32; returns: (V + N, D) float32
    Returns:
        the tokenizer, the outcome for the terms, the table, and the origins of its new rows
    """
    tokenizer, steps = without_cleaning(tokenizer)
    longer, change = add_terms(tokenizer, terms)
    pieces = [content_ids(tokenizer, term) for term in change.added]
    tokens, excluded = tokenizer.vocabulary.tokens, _without_text(tokenizer.vocabulary)
    grown, coverage = extend_table(table, pieces, terms=change.added, tokens=tokens, excluded=excluded)
    if vectors is not None and change.added:
        coverage = _from_vectors(longer, grown, coverage, vectors, known=table)
    return with_cleaning(longer, steps), change, grown, coverage


def _from_vectors(
    tokenizer: TermTokenizer, grown: Table, coverage: Coverage, vectors: VectorTable, *, known: Table
) -> Coverage:
    """Replace rows made of pieces with rows of pretrained vectors where available, and log it."""
    edge = len(known)
    reference = {token: row for token, row in tokenizer.vocabulary.ids.items() if row < edge}
    mapped, found = initialize_by_transfer(tokenizer.vocabulary, vectors, reference=known, reference_rows=reference, seed=0)
    new = [at for at in range(edge, len(grown)) if found.origins[at] != Origin.SAMPLED]
    grown[new] = mapped[new]
    told = coverage.replaced([at - edge for at in new], [found.origins[at] for at in new], [found.sources[at] for at in new])
    return dataclasses.replace(told, source=vectors.source, projection=found.projection)


def fill_terms_from_pieces(tokenizer: Tokenizer, table: Table, coverage: Coverage) -> tuple[Table, Coverage]:
    """Compute rows of added terms that are not in the vectors from the rows of their pieces."""
    tokenizer, _ = without_cleaning(tokenizer)
    if not isinstance(tokenizer, TermTokenizer):
        return table, coverage
    edge = len(tokenizer.base.vocabulary)
    new = [at for at in range(edge, len(table)) if coverage.origins[at] == Origin.SAMPLED]
    if not new:
        return table, coverage
    terms = [tokenizer.vocabulary.tokens[at] for at in new]
    pieces = [content_ids(tokenizer.base, term) for term in terms]
    base = tokenizer.base.vocabulary
    grown, made = extend_table(table[:edge], pieces, terms=terms, tokens=base.tokens, excluded=_without_text(base))
    table[new] = grown[edge:]
    return table, coverage.replaced(new, made.origins, made.sources)


def _without_text(vocabulary: Vocabulary) -> list[int]:
    """Return rows that are not pieces of terms: padding, unknown, and the space that SentencePiece adds before a text."""
    return [0, vocabulary.unknown_id, *(vocabulary.ids[space] for space in (" ", "\u2581") if space in vocabulary)]
