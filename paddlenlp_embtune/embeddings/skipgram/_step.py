"""One training step of skip-gram: gradients by matrix products, and sparse AdaGrad updates."""

from __future__ import annotations

import dataclasses
from functools import cached_property

import numpy as np
import numpy.typing as npt

__all__ = ["Batch", "Gradients", "Parts", "Rows", "gradients", "sums_by_row"]

Array = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_SURE = np.float32(1e-7)
# From nothing, the first steps of a rare row would be as long as all that frequent ones make; measured on held-out texts.
_FIRST_SQUARES = np.float32(4.0)


@dataclasses.dataclass(frozen=True)
class Batch:
    """A batch of text segments and negative samples.

    Args:
        centres: (S, T) the tokens of S segments of T positions.
        contexts: (S, T + 2w) the same with w positions before and after.
        pairs: (S, T, T + 2w) whether a position is in the window of a centre.
        negatives: (M,) negative samples, shared by all centres of the batch.
        ratio: negatives of a pair, K; a centre with n pairs meets each of the M with the weight n K / M.
    """

    centres: Ids
    contexts: Ids
    pairs: Mask
    negatives: Ids
    ratio: float


@dataclasses.dataclass(frozen=True)
class Gradients:
    """Negative gradients of the loss of a batch, summed over its pairs.

    Args:
        centres: (S, T, D) by centre.
        contexts: (S, T + 2w, D) by position.
        negatives: (M, D) by negative.
        loss: sum over the pairs, in nats.
        pairs: how many there are.
    """

    centres: Array
    contexts: Array
    negatives: Array
    loss: float
    pairs: int


def gradients(batch: Batch, centres: Array, output: Array) -> Gradients:
    """Return minus the gradient of the loss: that of a pair is -log s(h u) - K times the mean over negatives of log s(-h v).

    Each pair has its own negatives in word2vec. Here a batch shares M of them, so that all is matrix products; what is
    expected of the gradient stays the same, as negatives do not depend on the pair.

    Args:
        batch: S segments of T positions.
        centres: the vectors h of its centres.
        output: the vectors u and v of all tokens as contexts.
    Shapes:
        centres: (S, T, D) float32; output: (V, D) float32
    Source:
        Mikolov et al. (2013), Distributed Representations of Words and Phrases, equation 4; shared negatives as Ji et al.
        (2016), Parallelizing Word2Vec in Shared and Distributed Memory, section 3
    """
    width = centres.shape[-1]
    around, apart = output[batch.contexts], output[batch.negatives]
    near = _sigmoid(centres @ around.transpose(0, 2, 1))
    flat = centres.reshape(-1, width)
    far = _sigmoid(flat @ apart.T)
    weight = batch.pairs.sum(axis=2).reshape(-1, 1).astype(np.float32) * np.float32(batch.ratio / len(batch.negatives))
    loss = -float(np.log(np.maximum(near[batch.pairs], _SURE)).sum(dtype=np.float64))
    loss -= float((weight * np.log(np.maximum(1.0 - far, _SURE))).sum(dtype=np.float64))
    pull: Array = (1.0 - near) * batch.pairs
    push: Array = far * -weight
    own = pull @ around + (push @ apart).reshape(centres.shape)
    return Gradients(own, pull.transpose(0, 2, 1) @ centres, push.T @ flat, loss, int(batch.pairs.sum()))


def _sigmoid(values: Array) -> Array:
    # Beyond 30 float32 is 0 or 1 anyway, and exp must not overflow.
    np.clip(values, -30.0, 30.0, out=values)
    np.negative(values, out=values)
    np.exp(values, out=values)
    values += 1.0
    return np.reciprocal(values, out=values)


def sums_by_row(rows: Ids, values: Array) -> tuple[Ids, Array]:
    """Add up the values that belong to the same row, by halves; about twice as fast here as numpy's reduceat.

    Shapes:
        rows: (N,) int64; values: (N, D) float32; returns: (U,) the rows, rising, and (U, D) their sums
    """
    order = np.argsort(rows, kind="stable")
    rows, sums, at = rows[order], values[order], np.arange(len(rows))
    while True:
        first = np.flatnonzero(np.concatenate([[True], rows[1:] != rows[:-1]]))
        if len(first) == len(rows):
            return rows, sums[at]
        rank = np.arange(len(rows)) - np.repeat(first, np.diff(first, append=len(rows)))
        second, kept = np.flatnonzero(rank & 1), np.flatnonzero(rank & 1 == 0)
        sums[at[second - 1]] += sums[at[second]]
        rows, at = rows[kept], at[kept]


class Rows:
    """A table whose rows are moved by AdaGrad, with one sum of squares for a row.

    A batch sums many pairs of a frequent token and few of a rare one; divided by what the row has met so far, neither the size
    of the batch nor the frequency lets a step overshoot.

    Args:
        table: (R, D) float32, changed in place.
    Source:
        Duchi, Hazan and Singer (2011), Adaptive Subgradient Methods, section 1.1, with the mean over a row for each of its
        values, and sums that do not begin at 0
    """

    def __init__(self, table: Array) -> None:
        self.table = table
        self._squares = np.full(len(table), _FIRST_SQUARES)

    def move(self, rows: Ids, steps: Array, *, learning_rate: float) -> None:
        """Add steps, each row once; with a learning rate of 0 only what was met is noted."""
        self._squares[rows] += np.einsum("rd,rd->r", steps, steps) / np.float32(steps.shape[1])
        if learning_rate:
            self.table[rows] += steps * (np.float32(learning_rate) / np.sqrt(self._squares[rows]))[:, None]


@dataclasses.dataclass(frozen=True)
class Parts:
    """Which rows make up the vector of each token: its own one, and those of its n-grams.

    Args:
        rows: of all tokens, one after the other.
        first: (V + 1,) where those of each token begin.
    """

    rows: Ids
    first: Ids

    @cached_property
    def whole(self) -> bool:
        """Whether no token has any row but its own."""
        return bool(np.array_equal(self.rows, np.arange(len(self.first) - 1)))

    def of(self, tokens: Ids) -> tuple[Ids, Ids]:
        """Return the rows of these tokens one after the other, and how many each has."""
        counts = self.first[tokens + 1] - self.first[tokens]
        begin = np.cumsum(counts) - counts
        positions = np.arange(counts.sum()) - np.repeat(begin - self.first[tokens], counts)
        return self.rows[positions], counts

    def vectors(self, tokens: Ids, table: Array) -> Array:
        """Return the mean of the rows of each token.

        Shapes:
            tokens: (U,) int64; table: (R, D) float32; returns: (U, D) float32
        """
        if self.whole:
            return table[tokens]
        rows, counts = self.of(tokens)
        sums: Array = np.add.reduceat(table[rows], np.cumsum(counts) - counts, axis=0)
        sums /= counts[:, None].astype(np.float32)
        return sums

    def spread(self, tokens: Ids, values: Array) -> tuple[Ids, Array]:
        """Distribute the steps of vectors equally over their rows; return unique rows and their steps.

        Shapes:
            tokens: (U,) int64, each once; values: (U, D) float32
        """
        if self.whole:
            return tokens, values
        rows, counts = self.of(tokens)
        return sums_by_row(rows, np.repeat(values / counts[:, None].astype(np.float32), counts, axis=0))
