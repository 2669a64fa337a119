"""Appending rows for new terms to the embedding table of a trained model."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.embeddings.init._scaling import mean_at_norm
from paddlenlp_embtune.embeddings.init.coverage import Coverage, Origin
from paddlenlp_embtune.embeddings.metrics import sampling
from paddlenlp_embtune.embeddings.metrics.sampling import Ids, Table
from paddlenlp_embtune.errors import VectorError
from paddlenlp_embtune.text import PAD_ID, UNK_ID

__all__ = ["extend_table"]


def extend_table(
    table: Table,
    pieces: Sequence[Sequence[int]],
    *,
    terms: Sequence[str] = (),
    tokens: Sequence[str] = (),
    excluded: Collection[int] = (PAD_ID, UNK_ID),
    keep_norm: bool = True,
    seed: int = 0,
) -> tuple[Table, Coverage]:
    """Append a row for each new term; existing rows stay the same, bit for bit.

    A new row is the mean of the rows of the term's pieces. For a term without a usable piece it is drawn from a normal
    distribution with the per-dimension mean and standard deviation of the table's other rows.

    Args:
        table: (V, D) float32.
        pieces: row numbers of the pieces of each of the N terms, for example from a tokenizer; repeated pieces count
            repeatedly; may be empty.
        terms: the N terms, for the coverage; if empty, they are numbered.
        tokens: the V tokens of the table, for the coverage.
        excluded: rows that are not used as pieces, such as padding and unknown; zero rows never are.
        keep_norm: rescale a mean to the mean norm of its pieces, as in ``mean_at_norm``.
        seed: seed for random rows.
    Shapes:
        returns: (V + N, D) float32
    Returns:
        the table, and the coverage of the N new rows only
    Raises:
        VectorError: the table is invalid, a piece is not a row of it, or list lengths do not match.
    Source:
        ours; means of pieces as in Sachidananda et al. (2021), "Efficient domain adaptation of language models via adaptive
        tokenization"
    """
    sampling.check_table(table)
    _check_lengths(table, pieces, terms, tokens)
    usable: npt.NDArray[np.bool_] = np.asarray(table.any(axis=1))
    usable[[row for row in excluded if 0 <= row < len(table)]] = False
    if not usable.any():
        raise VectorError(
            f"all {len(table)} rows of the table are zero or excluded; at least one must be usable to initialize new rows"
        )
    names = tuple(terms) or tuple(f"term {number}" for number in range(len(pieces)))
    rows_of = [_usable(piece, usable, f"the pieces of {name!r}") for name, piece in zip(names, pieces, strict=True)]
    added = _draw(table[usable], len(pieces), seed)
    used: list[Ids] = []
    for number, rows in enumerate(rows_of):
        mean = (mean_at_norm(table[rows]) if keep_norm else table[rows].mean(axis=0)) if rows.size else None
        if mean is not None and mean.any():
            added[number] = mean
        used.append(rows if mean is not None and mean.any() else rows[:0])
    sources = [tuple(str(tokens[row]) for row in rows) if tokens else () for rows in used]
    origins = [Origin.PIECES if rows.size else Origin.SAMPLED for rows in used]
    missing = tuple(name for name, rows in zip(names, used, strict=True) if not rows.size)
    coverage = Coverage("the table's own rows", tuple(origins), missing, names, tuple(sources))
    return np.concatenate([table, added]), coverage


def _check_lengths(table: Table, pieces: Sequence[Sequence[int]], terms: Sequence[str], tokens: Sequence[str]) -> None:
    for name, given, wanted in (("terms", terms, len(pieces)), ("tokens", tokens, len(table))):
        if given and len(given) != wanted:
            raise VectorError(f"{name} must have {wanted} entries or be empty, got {len(given)}")


def _usable(piece: Sequence[int], usable: npt.NDArray[np.bool_], name: str) -> Ids:
    """Return the usable rows of a term; a term may have no pieces at all."""
    if not len(piece):
        return np.zeros(0, dtype=np.int64)
    rows = sampling.check_ids(piece, len(usable), name)
    kept: Ids = rows[usable[rows]]
    return kept


def _draw(known: Table, count: int, seed: int) -> Table:
    drawn = np.random.default_rng(seed).normal(known.mean(axis=0), known.std(axis=0), (count, known.shape[1]))
    return drawn.astype(np.float32)
