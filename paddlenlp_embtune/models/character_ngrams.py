"""The n-gram regression beside an encoder, over the characters that the encoder's pieces are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.models._ngram_regression import MULTIPLIER, fit_ngrams
from paddlenlp_embtune.text import PAD, UNK

paddle = compat.require_paddle()

__all__ = ["CharacterNgrams", "characters_of", "fit_character_ngrams", "ngram_logits", "piece_characters"]

LONGEST = 8
"""Characters that a piece counts with; longer ones are rows of signs, or Latin words."""
BUCKETS = 131072

_SPACE, _GOES_ON = "\u2581", "##"
_SPECIAL = (PAD, UNK, "[CLS]", "[SEP]", "[MASK]")


class CharacterNgrams(paddle.nn.Layer):  # type: ignore[misc, name-defined]
    """A logistic regression over the characters of a text and their pairs, which reads the ids of an encoder's pieces.

    Pieces are too many for a few thousand rows: where a word is cut differs from text to text, and on short queries a
    regression over pieces is 6 points of accuracy behind one over their characters.

    Args:
        vocabulary_size: V; id 0 is padding.
        num_labels: C.
        buckets: rows of the table of hashed single characters and pairs.
        longest: characters of a piece that count.
    Shapes:
        forward: (B, L) int64 ids to (B, C) float32 logits
    """

    def __init__(self, *, vocabulary_size: int, num_labels: int, buckets: int = BUCKETS, longest: int = LONGEST) -> None:
        super().__init__()
        self.num_labels = num_labels
        self.buckets = buckets
        self.longest = longest
        self.register_buffer("characters", paddle.zeros([vocabulary_size, longest], dtype="float32"))
        self.register_buffer("table", paddle.zeros([buckets, num_labels + 1]))
        self.register_buffer("bias", paddle.zeros([num_labels]))

    def forward(self, input_ids: Any) -> Any:
        """Map (B, L) int64 ids, padded with 0 on the right, to (B, C) float32 logits."""
        return self._logits(self._characters(input_ids))

    def _characters(self, ids: Any) -> Any:
        """Numbers of the characters of each text, (B, L) to (B, L x longest), those of all pieces side by side, 0 behind."""
        found = paddle.nn.functional.embedding(ids, self.characters).flatten(1).astype("int64")
        # Absent ones are sorted behind the others. All keys differ, so that every engine sorts alike.
        width = paddle.ones_like(found).cumsum(axis=1)
        order = paddle.argsort(paddle.where(found != 0, width, width + _BEHIND).astype("float32"), axis=1)
        return paddle.take_along_axis(found, order, axis=1)

    def _logits(self, ids: Any) -> Any:
        """Weighted n-grams over the length of their vector, as :class:`paddlenlp_embtune.models.TextCNN` has them."""
        second = paddle.concat([ids[:, 1:], paddle.zeros_like(ids[:, :1])], axis=1)
        ones = paddle.ones_like(ids)
        # Products with a tensor, not a number: Paddle multiplies integers by a number in float32, which loses digits.
        mixed = paddle.multiply(ids, paddle.full_like(ids, MULTIPLIER))
        modulus = paddle.full_like(ids, self.buckets - 1)
        single = paddle.multiply(paddle.remainder(mixed, modulus) + ones, (ids != 0).astype("int64"))
        pair = paddle.multiply(paddle.remainder(mixed + second, modulus) + ones, (second != 0).astype("int64"))
        rows = paddle.nn.functional.embedding(paddle.concat([single, pair], axis=1), self.table).sum(axis=1)
        length = paddle.sqrt(rows[:, self.num_labels :] + 1e-6)
        return rows[:, : self.num_labels] / length + self.bias


_BEHIND = 1 << 22  # more characters than any text has; whole numbers up to 2**24 are exact in float32


def piece_characters(tokens: Sequence[str], *, longest: int = LONGEST) -> npt.NDArray[np.int64]:
    """Return the numbers of the characters of each piece; 0 is for none, as in ``[CLS]`` and its like.

    Args:
        tokens: V pieces in the order of their ids.
        longest: characters of a piece that count.
    Shapes:
        returns: (V, longest) int64
    """
    numbers = dict[str, int]()
    table = np.zeros((len(tokens), longest), dtype=np.int64)
    for row, token in enumerate(tokens):
        text = "" if token in _SPECIAL else token.replace(_SPACE, "").removeprefix(_GOES_ON)
        for place, character in enumerate(text[:longest]):
            table[row, place] = numbers.setdefault(character, len(numbers) + 1)
    return table


def characters_of(ids: Sequence[Sequence[int]], table: npt.NDArray[np.int64]) -> list[list[int]]:
    """Turn lists of ids into lists of the numbers of their characters, as the layer does.

    Shapes:
        table: (V, longest) int64, as :func:`piece_characters` returns it
    """
    found = (table[np.asarray(row, dtype=np.int64)].ravel() for row in ids)
    return [row[row != 0].tolist() for row in found]


def fit_character_ngrams(
    characters: Sequence[Sequence[int]],
    labels: npt.NDArray[np.int64],
    *,
    class_weights: npt.NDArray[np.float32],
    row_weights: npt.NDArray[np.float32] | None = None,
    buckets: int = BUCKETS,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Fit the regression; where no two texts share a character, or all have one label, it says nothing.

    Args:
        characters: N lists, as :func:`characters_of` returns them.
        labels: (N,) class numbers.
        class_weights: (C,) float32.
        row_weights: (N,) float32; None for 1.
        buckets: rows of the table.
    Returns:
        the table (buckets, C + 1) and the bias (C,), float32
    """
    seen = np.concatenate([np.unique(row) for row in characters]) if characters else np.zeros(0)
    shared = len(np.unique(seen)) < len(seen)
    if not shared or len(np.unique(labels)) < 2:
        return np.zeros((buckets, len(class_weights) + 1), np.float32), np.zeros(len(class_weights), np.float32)
    return fit_ngrams(characters, labels.tolist(), class_weights=class_weights, row_weights=row_weights, buckets=buckets)


def ngram_logits(
    characters: Sequence[Sequence[int]], table: npt.NDArray[np.float32], bias: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Compute in numpy what the layer does, (N, C) float32; for rows that were held out."""
    found = np.empty((len(characters), len(bias)), np.float32)
    for number, row in enumerate(characters):
        ids = np.asarray(row, dtype=np.int64)
        codes = np.concatenate([ids * MULTIPLIER, ids[:-1] * MULTIPLIER + ids[1:]]) % (len(table) - 1) + 1
        sums = table[codes].sum(axis=0)
        found[number] = sums[:-1] / np.sqrt(sums[-1] + 1e-6) + bias
    return found
