"""Batches by label."""

from __future__ import annotations

from collections import Counter

import pytest

from paddlenlp_embtune.data import EncodedDataset, LabelBatchSampler

LABELS = [0] * 20 + [1] * 5 + [2] * 2


def batches(
    labels: list[int] = LABELS, *, batch_size: int = 9, steps: int = 6, seed: int = 0, anchors: int = 0, epoch: int = 0
) -> list[list[int]]:
    rows = EncodedDataset([[1, 2]] * len(labels), labels)
    sampler = LabelBatchSampler(rows, batch_size=batch_size, steps=steps, seed=seed, anchors=anchors)
    sampler.set_epoch(epoch)
    found = list(sampler)
    assert len(found) == len(sampler) == steps
    return found


def test_labels_are_balanced_and_every_row_has_a_partner() -> None:
    for batch in batches():
        assert Counter(LABELS[row] for row in batch) == {0: 3, 1: 3, 2: 2}
        assert len(set(batch)) == len(batch)


def test_every_row_comes_before_one_comes_again() -> None:
    seen = [row for batch in batches(steps=5) for row in batch if LABELS[row] == 1]
    assert all(sorted(seen[start : start + 5]) == list(range(20, 25)) for start in (0, 5, 10))


def test_seed_and_epoch_alone_decide() -> None:
    assert batches() == batches()
    assert batches() != batches(seed=1)
    assert batches() != batches(epoch=1)


def test_many_labels_take_turns() -> None:
    labels = [number // 4 for number in range(40)]
    found = batches(labels, batch_size=8, steps=5)
    assert all(set(Counter(labels[row] for row in batch).values()) == {2} for batch in found)
    assert Counter(labels[row] for batch in found for row in batch) == dict.fromkeys(range(10), 4)


@pytest.mark.parametrize("size", [8, 12])
def test_a_label_s_anchor_is_with_its_rows(size: int) -> None:
    found = batches([*LABELS, 0, 1, 2], batch_size=size, anchors=3)
    for batch in found:
        labels = {LABELS[row] for row in batch if row < len(LABELS)}
        assert {row - len(LABELS) for row in batch if row >= len(LABELS)} == labels
