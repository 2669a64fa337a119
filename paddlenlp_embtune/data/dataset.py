"""Batches of texts of similar length, in an order that only the seed and the epoch decide."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.text import pad

paddle = compat.require_paddle()

__all__ = [
    "ROW_WEIGHTS",
    "TEACHER_LOGITS",
    "TEACHER_VECTORS",
    "UNLABELLED",
    "EncodedDataset",
    "LengthBatchSampler",
    "collate",
    "compact",
    "joined_weights",
]

UNLABELLED = -100
"""The class number of a row without a label."""

ROW_WEIGHTS = "row_weights"
TEACHER_LOGITS, TEACHER_VECTORS = "teacher_logits", "teacher_vectors"


Row = tuple[Any, ...]
"""Ids, the class number, and further columns by name, if there are any: the row's weight, what a teacher predicted."""


class EncodedDataset(paddle.io.Dataset):  # type: ignore[misc, name-defined]
    """Texts as ids, with labels as class numbers.

    Args:
        ids: N lists of ids.
        labels: N class numbers; -100 for a row without a label, for which only a teacher has a target. Of rows that may have
            several labels, (N, C) with 1 for each that a row has, and 0 for the others.
        teacher_outputs: teacher's outputs for each row, by name: ``teacher_logits`` (N, C), ``teacher_vectors`` (N, H).
        weights: (N,) of each row in the loss, above 0; they are scaled to a mean of 1. None weighs all rows the same.
        cut: how many of the texts had more ids, which were left out.
    """

    def __init__(
        self,
        ids: Sequence[Sequence[int]],
        labels: Sequence[int],
        *,
        teacher_outputs: Mapping[str, npt.NDArray[Any]] | None = None,
        weights: Sequence[float] | npt.NDArray[np.float32] | None = None,
        cut: int = 0,
    ) -> None:
        super().__init__()
        self.cut = cut
        self.ids = ids
        self.labels = labels
        self.teacher_outputs = dict(teacher_outputs or {})
        self.weights = None if weights is None else _with_mean_1(np.asarray(weights, dtype=np.float64))
        self._columns = self.teacher_outputs if self.weights is None else {**self.teacher_outputs, ROW_WEIGHTS: self.weights}
        self.lengths = np.array([len(sequence) for sequence in ids], dtype=np.int64)

    @property
    def truth(self) -> Sequence[int]:
        """Class numbers of the texts: those of the rows, where a row is a text."""
        return self.labels

    @property
    def text_weights(self) -> npt.NDArray[np.float32] | None:
        """Weights of the texts in the loss; None where all weigh the same."""
        return self.weights

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Row:
        row = (self.ids[index], self.labels[index])
        return (*row, {name: values[index] for name, values in self._columns.items()}) if self._columns else row

    def epoch_rows(self, *, seed: int, epoch: int) -> npt.NDArray[np.int64]:
        """Numbers of the rows that an epoch takes: one for each text."""
        return np.arange(len(self), dtype=np.int64)

    def by_text(
        self, logits: npt.NDArray[np.float32], labels: Sequence[int] | npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Turn logits (M, C) float32 and class numbers (M,) of rows in order into those of the texts that they belong to."""
        return logits, np.asarray(labels, dtype=np.int64)

    def with_soft_targets(self, others: EncodedDataset, teacher_outputs: Mapping[str, npt.NDArray[Any]]) -> EncodedDataset:
        """Return the texts followed by others of weight 1, with what a teacher predicted for all of them in this order."""
        ids, cut = [*self.ids, *compact(others.ids)], self.cut + others.cut
        weights = joined_weights(self.weights, len(others))
        labels = [*self.labels, *others.labels]
        return EncodedDataset(ids, labels, teacher_outputs=teacher_outputs, weights=weights, cut=cut)

    def by_length(self) -> EncodedDataset:
        """Return the same rows, shortest first; for evaluation, where the order does not matter."""
        order = np.argsort(self.lengths, kind="stable")
        outputs = {name: values[order] for name, values in self.teacher_outputs.items()}
        ids, labels = [self.ids[i] for i in order], [self.labels[i] for i in order]
        weights = None if self.weights is None else self.weights[order]
        return EncodedDataset(ids, labels, teacher_outputs=outputs, weights=weights, cut=self.cut)


def joined_weights(weights: npt.NDArray[np.float32] | None, others: int) -> npt.NDArray[np.float32] | None:
    """Return the weights of rows that are followed by others of weight 1, (N + others,); None where all weigh the same."""
    return None if weights is None else np.concatenate([weights, np.ones(others, dtype=np.float32)])


def _with_mean_1(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Return (N,) float32."""
    scaled: npt.NDArray[np.float64] = weights / weights.mean() if len(weights) else weights
    return scaled.astype(np.float32)


def compact(ids: Sequence[Sequence[int]]) -> list[Any]:
    """Return lists of ids as (L,) int32 arrays, which take half of the memory or less."""
    return [np.asarray(row, dtype=np.int32) for row in ids]


def collate(rows: Sequence[Row]) -> dict[str, npt.NDArray[Any]]:
    """Make one batch.

    Shapes:
        returns: ``input_ids`` (B, L) int64 padded with 0 on the right, ``labels`` (B,) int64, or (B, C) where rows may have
            several; further columns by name, (B, ...) float32
    """
    ids, labels, *columns = zip(*rows, strict=True)
    batch: dict[str, npt.NDArray[Any]] = {"input_ids": pad(ids), "labels": np.array(labels, dtype=np.int64)}
    for name in columns[0][0] if columns else ():
        batch[name] = np.stack([row[name] for row in columns[0]]).astype(np.float32)
    return batch


class LengthBatchSampler(paddle.io.DistributedBatchSampler):  # type: ignore[misc, name-defined]
    """Shuffles, then sorts by length within pools of batches, then shuffles the batches.

    Padding shrinks and the order stays random. The dataset says which rows an epoch takes. Every rank computes the same order
    from ``seed`` and the epoch and takes its share of it; the last rows are filled up from the first so that all ranks take the
    same number of steps.

    Where several batches make one step, the rows of a step are those of one batch of that size, and every epoch has whole
    steps: a short last step has short batches, and repeats a row, with the share 0, where it has fewer rows than batches.

    Args:
        dataset: the rows.
        batch_size: rows of a batch on one rank.
        seed: seeds every epoch's order, together with the epoch's number.
        pool_batches: how many steps are sorted together; 1 turns sorting off.
        accumulation_steps: how many batches make one step.
    """

    def __init__(
        self,
        dataset: EncodedDataset,
        *,
        batch_size: int,
        seed: int,
        pool_batches: int = 20,
        accumulation_steps: int = 1,
        num_replicas: int | None = None,
        rank: int | None = None,
    ) -> None:
        super().__init__(dataset, batch_size, num_replicas=num_replicas, rank=rank, shuffle=True, drop_last=False)
        self.seed = seed
        self.pool_batches = pool_batches
        self.accumulation_steps = accumulation_steps
        self.num_samples = -(-len(dataset.truth) // self.nranks)
        self.total_size = self.num_samples * self.nranks

    def __iter__(self) -> Iterator[list[int]]:
        for step in self._steps():
            yield from (rows for rows, _ in self._batches(step))

    def __len__(self) -> int:
        return -(-int(self.total_size) // self._step_rows) * self.accumulation_steps

    def shares(self, weights: npt.NDArray[np.float64]) -> list[float]:
        """Tell for each batch of the epoch what part of the weight of its step's rows it holds; those of a step add up to 1.

        Args:
            weights: of each row of the dataset, above 0.
        """
        found: list[float] = []
        for step in self._steps():
            held = [float(weights[rows].sum()) * counted for rows, counted in self._batches(step)]
            found += [each / sum(held) for each in held]
        return found

    @property
    def _step_rows(self) -> int:
        return int(self.batch_size * self.nranks * self.accumulation_steps)

    def _steps(self) -> Iterator[npt.NDArray[np.int64]]:
        """The rows of each step of the epoch, over all ranks."""
        generator = np.random.default_rng((self.seed, self.epoch))
        order = generator.permutation(self.dataset.epoch_rows(seed=self.seed, epoch=self.epoch))
        short = self.total_size - len(order)
        order = np.concatenate([order, np.resize(order, short)]) if short else order
        step = self._step_rows
        pools = [order[i : i + step * self.pool_batches] for i in range(0, len(order), step * self.pool_batches)]
        ordered = np.concatenate([pool[np.argsort(self.dataset.lengths[pool], kind="stable")] for pool in pools])
        steps = [ordered[i : i + step] for i in range(0, len(ordered), step)]
        for index in generator.permutation(len(steps)):
            yield steps[index]

    def _batches(self, step: npt.NDArray[np.int64]) -> Iterator[tuple[list[int], bool]]:
        """This rank's batches of a step, and whether they count."""
        mine = step[self.local_rank :: self.nranks]
        for part in np.array_split(mine, self.accumulation_steps):
            yield (part if len(part) else mine[:1]).tolist(), bool(len(part))
