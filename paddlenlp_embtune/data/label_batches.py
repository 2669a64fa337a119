"""Batches with as many rows of one label as of another, in an order that only the seed and the epoch decide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.data.mined_rows import MinedRows

paddle = compat.require_paddle()

__all__ = ["LabelBatchSampler"]


class LabelBatchSampler(paddle.io.DistributedBatchSampler):  # type: ignore[misc, name-defined]
    """Draws two rows or more of each label that a batch has, so that every row has a partner.

    A label's rows come in random order, all of them before one comes again. Where a batch has no room for two rows of every
    label, the labels take turns.

    Args:
        dataset: the rows; its ``labels`` are class numbers.
        batch_size: rows of a batch, 4 or more.
        steps: batches of an epoch.
        seed: seeds every epoch's order, together with the epoch's number.
        mined: hard negatives that join the rows of a batch; None for none.
        anchors: rows at the end of the dataset, one for each label, that are in every batch with a row of their label beside
            its others.
    """

    def __init__(
        self, dataset: Any, *, batch_size: int, steps: int, seed: int, anchors: int = 0, mined: MinedRows | None = None
    ) -> None:
        super().__init__(dataset, batch_size, num_replicas=1, rank=0, shuffle=True, drop_last=False)
        self.steps = steps
        self.seed = seed
        self._mined = mined or MinedRows()
        labels = np.asarray(dataset.labels, dtype=np.int64)
        self._anchors = {int(labels[row]): row for row in range(len(labels) - anchors, len(labels))}
        drawn = labels[: len(labels) - anchors]
        self._rows = [np.flatnonzero(drawn == label) for label in np.unique(drawn)]
        self._labels = [int(labels[row[0]]) for row in self._rows]

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[int]]:
        generator = np.random.default_rng((self.seed, self.epoch))
        drawn = [_Deck(rows, generator) for rows in self._rows]
        turns = _Deck(np.arange(len(self._rows)), generator)
        for _ in range(self.steps):
            labels, each = self._share(turns)
            batch = [row for number, label in enumerate(labels) for row in drawn[label].take(each[number])]
            batch += self._mined.of(batch)
            yield [*batch, *(self._anchors[self._labels[label]] for label in labels if self._labels[label] in self._anchors)]

    def _share(self, turns: _Deck) -> tuple[list[int], list[int]]:
        """Which labels a batch has, and how many rows of each."""
        count = min(len(self._rows), max(1, self.batch_size // 2))
        labels = turns.take(count)
        return labels, [len(part) for part in np.array_split(np.arange(max(self.batch_size, 2 * count)), count)]


class _Deck:
    """Numbers that are dealt in random order, all of them before one comes again."""

    def __init__(self, numbers: npt.NDArray[np.int64], generator: np.random.Generator) -> None:
        self._numbers, self._generator = numbers, generator
        self._left: list[int] = []

    def take(self, count: int) -> list[int]:
        """Return the next numbers, each at most once as far as there are so many."""
        count = min(count, len(self._numbers))
        taken: list[int] = []
        while len(taken) < count:
            if not self._left:
                order: Sequence[int] = self._generator.permutation(self._numbers).tolist()
                # What has just been taken goes to the end, so that no batch has a row twice.
                self._left = [*(row for row in order if row not in taken), *taken]
            taken.append(self._left.pop(0))
        return taken
