"""Pairs of texts as rows of a data set, and batches of them in an order that only the seed and the epoch decide."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from paddlenlp_embtune import compat
from paddlenlp_embtune.data.dataset import EncodedDataset
from paddlenlp_embtune.data.mined_rows import MinedRows
from paddlenlp_embtune.data.pairs import Pairs
from paddlenlp_embtune.data.windowed_dataset import encode_texts
from paddlenlp_embtune.text import Tokenizer

paddle = compat.require_paddle()

__all__ = ["ROLES", "PairBatchSampler", "encode_pairs", "split_role"]

ROLES = 4
"""The label of a row of pairs is its group times 4, plus its role: 0 first, 1 second, 2 negative, 3 mined."""


def split_role(labels: Any) -> tuple[Any, Any]:
    """Return group and role of labels, (B,) int64 each."""
    return paddle.floor_divide(labels, paddle.full_like(labels, ROLES)), paddle.remainder(
        labels, paddle.full_like(labels, ROLES)
    )


def encode_pairs(pairs: Pairs, tokenizer: Tokenizer, *, max_length: int) -> EncodedDataset:
    """Encode pairs as rows: all first texts, all second ones, all negatives, and the second ones again, to be mined from.

    Pairs with one first text are of one group, and each pair with a score of its own; a negative has a group of its own.

    Args:
        pairs: N pairs.
        tokenizer: of the model.
        max_length: the most ids of a text.
    """
    groups: dict[str, int] = {}
    numbers = [groups.setdefault(text, len(groups)) for text in pairs.first]
    if pairs.scores is not None:
        numbers = list(range(len(pairs)))
    sides = [(pairs.first, numbers, 0), (pairs.second, numbers, 1)]
    if pairs.negatives is not None:
        sides.append((pairs.negatives, [len(groups) + row for row in range(len(pairs))], 2))
    sides.append((pairs.second, numbers, 3))
    texts = [text for side, _, _ in sides for text in side]
    labels = [ROLES * group + role for _, owners, role in sides for group in owners]
    return encode_texts(texts, labels, tokenizer, max_length=max_length, windows=None)


class PairBatchSampler(paddle.io.DistributedBatchSampler):  # type: ignore[misc, name-defined]
    """Draws pairs without putting one back before all have come: first texts, second texts, negatives, mined rows.

    Args:
        dataset: as :func:`encode_pairs` makes it.
        pairs: N, how many there are.
        sides: 2 for pairs, 3 for triples.
        batch_size: texts of a batch, without mined ones.
        steps: batches of an epoch.
        seed: seeds every epoch's order, together with the epoch's number.
        mined: rows that are near, by the number of the pair.
    """

    def __init__(
        self, dataset: Any, *, pairs: int, sides: int, batch_size: int, steps: int, seed: int, mined: MinedRows
    ) -> None:
        super().__init__(dataset, batch_size, num_replicas=1, rank=0, shuffle=True, drop_last=False)
        self.steps, self.seed = steps, seed
        self._pairs, self._sides, self._mined = pairs, sides, mined
        self._each = max(1, min(pairs, batch_size // sides))

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[int]]:
        generator = np.random.default_rng((self.seed, self.epoch))
        waiting: list[int] = []
        for _ in range(self.steps):
            if len(waiting) < self._each:
                waiting = [*waiting, *(row for row in generator.permutation(self._pairs).tolist() if row not in waiting)]
            drawn, waiting = waiting[: self._each], waiting[self._each :]
            rows = [side * self._pairs + pair for side in range(self._sides) for pair in drawn]
            yield [*rows, *(self._sides * self._pairs + pair for pair in self._mined.of(drawn))]
