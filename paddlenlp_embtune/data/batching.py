"""Batches of texts of similar length, in an order that only the seed and the epoch decide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import host
from paddlenlp_embtune.text import pad

paddle = host.require_paddle()

__all__ = ["EncodedDataset", "LengthBatchSampler", "collate"]


class EncodedDataset(paddle.io.Dataset):  # type: ignore[misc, name-defined]
    """Texts as ids, with labels as class numbers.

    Args:
        ids: N lists of ids.
        labels: N class numbers.
    """

    def __init__(self, ids: Sequence[Sequence[int]], labels: Sequence[int]) -> None:
        super().__init__()
        self.ids = ids
        self.labels = labels
        self.lengths = np.array([len(sequence) for sequence in ids], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[Sequence[int], int]:
        return self.ids[index], self.labels[index]

    def by_length(self) -> EncodedDataset:
        """Return the same rows, shortest first; for evaluation, where the order does not matter."""
        order = np.argsort(self.lengths, kind="stable")
        return EncodedDataset([self.ids[i] for i in order], [self.labels[i] for i in order])


def collate(rows: Sequence[tuple[Sequence[int], int]]) -> dict[str, npt.NDArray[np.int64]]:
    """Make one batch.

    Shapes:
        returns: ``input_ids`` (B, L) int64 padded with 0 on the right, ``labels`` (B,) int64
    """
    ids, labels = zip(*rows, strict=True)
    return {"input_ids": pad(ids), "labels": np.array(labels, dtype=np.int64)}


class LengthBatchSampler(paddle.io.DistributedBatchSampler):  # type: ignore[misc, name-defined]
    """Shuffles, then sorts by length within pools of batches, then shuffles the batches.

    Padding shrinks and the order stays random. Every rank computes the same order from ``seed`` and the epoch and takes its
    share of it; the last rows are filled up from the first so that all ranks take the same number of steps.

    Args:
        dataset: has a ``lengths`` array.
        batch_size: rows of a batch on one rank.
        seed: seeds every epoch's order, together with the epoch's number.
        pool_batches: how many global batches are sorted together; 1 turns sorting off.
    """

    def __init__(
        self,
        dataset: EncodedDataset,
        *,
        batch_size: int,
        seed: int,
        pool_batches: int = 20,
        num_replicas: int | None = None,
        rank: int | None = None,
    ) -> None:
        super().__init__(dataset, batch_size, num_replicas=num_replicas, rank=rank, shuffle=True, drop_last=False)
        self.seed = seed
        self.pool_batches = pool_batches

    def __iter__(self) -> Iterator[list[int]]:
        generator = np.random.default_rng((self.seed, self.epoch))
        order = generator.permutation(len(self.dataset))
        short = self.total_size - len(order)
        order = np.concatenate([order, np.resize(order, short)]) if short else order
        step = self.batch_size * self.nranks
        pools = [order[i : i + step * self.pool_batches] for i in range(0, len(order), step * self.pool_batches)]
        ordered = np.concatenate([pool[np.argsort(self.dataset.lengths[pool], kind="stable")] for pool in pools])
        batches = [ordered[i : i + step] for i in range(0, len(ordered), step)]
        for index in generator.permutation(len(batches)):
            yield batches[index][self.local_rank :: self.nranks].tolist()

    def __len__(self) -> int:
        step: int = self.batch_size * self.nranks
        return -(-int(self.total_size) // step)
