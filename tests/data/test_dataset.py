from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from paddlenlp_embtune.data.dataset import EncodedDataset, LengthBatchSampler, collate


def dataset(rows: int) -> EncodedDataset:
    lengths = np.random.default_rng(0).integers(1, 200, rows)
    return EncodedDataset([[2] * length for length in lengths], [index % 3 for index in range(rows)])


def sampler(
    data: EncodedDataset, *, ranks: int = 1, rank: int = 0, seed: int = 0, pool_batches: int = 20
) -> LengthBatchSampler:
    return LengthBatchSampler(data, batch_size=4, seed=seed, pool_batches=pool_batches, num_replicas=ranks, rank=rank)


def waste(data: EncodedDataset, batches: list[list[int]]) -> float:
    """Share of padding among all cells."""
    cells = sum(max(data.lengths[batch]) * len(batch) for batch in batches)
    return float(1 - data.lengths.sum() / cells)


@pytest.mark.parametrize("rows", [1, 3, 4, 5, 79, 80, 81, 331])
def test_one_process_sees_every_row_once(rows: int) -> None:
    batches = sampler(dataset(rows))
    seen = list(batches)
    assert sorted(index for batch in seen for index in batch) == list(range(rows))
    assert len(batches) == len(seen)
    assert all(1 <= len(batch) <= 4 for batch in seen)


@pytest.mark.parametrize("ranks", [2, 3])
@pytest.mark.parametrize("rows", [1, 2, 7, 8, 9, 15, 160, 161, 331])
def test_ranks_share_the_rows_in_step(rows: int, ranks: int) -> None:
    data = dataset(rows)
    samplers = [sampler(data, ranks=ranks, rank=rank) for rank in range(ranks)]
    shares = [list(one) for one in samplers]
    counts = Counter(index for share in shares for batch in share for index in batch)
    assert set(counts) == set(range(rows))
    assert counts.total() - rows < ranks  # no more is repeated than it takes to fill up
    assert {len(one) for one in samplers} == {len(share) for share in shares}
    for step in zip(*shares, strict=True):
        assert len({len(batch) for batch in step}) == 1
        assert 1 <= len(step[0]) <= 4


@pytest.mark.parametrize("ranks", [1, 2])
def test_the_epoch_and_the_seed_decide_the_order(ranks: int) -> None:
    data = dataset(101)
    one, twin = sampler(data, ranks=ranks), sampler(data, ranks=ranks)
    first = list(one)
    assert list(one) == first  # iterating does not move the epoch on by itself
    one.set_epoch(1)
    second = list(one)
    assert second != first
    assert {tuple(sorted(batch)) for batch in second} != {tuple(sorted(batch)) for batch in first}
    twin.set_epoch(1)
    assert list(twin) == second
    one.set_epoch(0)
    assert list(one) == first
    assert list(sampler(data, ranks=ranks, seed=1)) != first


def test_ranks_agree_in_every_epoch() -> None:
    data = dataset(100)
    samplers = [sampler(data, ranks=2, rank=rank) for rank in (0, 1)]
    for epoch in range(3):
        for one in samplers:
            one.set_epoch(epoch)
        assert sorted(index for one in samplers for batch in one for index in batch) == list(range(100))


@pytest.mark.parametrize("ranks", [1, 2])
def test_batches_are_of_similar_length_in_random_order(ranks: int) -> None:
    data = dataset(2000)
    batches = [batch for rank in range(ranks) for batch in sampler(data, ranks=ranks, rank=rank)]
    unsorted = list(sampler(data, pool_batches=1))
    assert waste(data, batches) < 0.1
    assert waste(data, unsorted) > 0.3
    longest = [max(data.lengths[batch]) for batch in batches]
    rising = np.mean(np.diff(longest) > 0)
    assert 0.4 < rising < 0.6


def test_ranks_work_on_batches_of_similar_length_in_the_same_step() -> None:
    data = dataset(800)
    steps = zip(*(sampler(data, ranks=2, rank=rank) for rank in (0, 1)), strict=True)
    assert np.mean([abs(max(data.lengths[left]) - max(data.lengths[right])) for left, right in steps]) < 10


def test_by_length_keeps_pairs_together() -> None:
    data = EncodedDataset([[2, 2, 2], [3], [4, 4], [5]], [0, 1, 2, 3])
    ordered = data.by_length()
    assert [ordered[index] for index in range(len(ordered))] == [([3], 1), ([5], 3), ([4, 4], 2), ([2, 2, 2], 0)]
    assert ordered.lengths.tolist() == [1, 1, 2, 3]


def test_collate() -> None:
    batch = collate([([2, 3, 4], 1), ([5], 0), ([], 2)])
    assert batch["input_ids"].tolist() == [[2, 3, 4], [5, 0, 0], [0, 0, 0]]
    assert batch["labels"].tolist() == [1, 0, 2]
    assert {array.dtype for array in batch.values()} == {np.dtype("int64")}
