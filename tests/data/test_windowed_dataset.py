"""Texts in windows as rows: their labels, what an epoch takes of them, and answers put back together."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle
import pytest

from paddlenlp_embtune.data.dataset import UNLABELLED, EncodedDataset, LengthBatchSampler, collate
from paddlenlp_embtune.data.windowed_dataset import WindowedDataset, encode_texts
from paddlenlp_embtune.errors import HostError
from paddlenlp_embtune.text import CharTokenizer, Vocabulary, WordPieceTokenizer
from paddlenlp_embtune.text.windows import WindowSpec, split_windows

Floats = npt.NDArray[Any]
SPEC = WindowSpec(overlap_tokens=3, aggregate="mean")
LENGTH = 10
TEXTS = ["公司拟回购股份。", "公司被调查。股份减持。" * 3, "", "回购", "公司回购股份。公司减持股份，被调查。" * 4]
TRUTH = [0, 1, 1, 0, 2]
CHARACTERS = tuple(sorted(set("".join(TEXTS))))
CHAR = CharTokenizer(Vocabulary(("[PAD]", "[UNK]", *CHARACTERS)))
PIECES = WordPieceTokenizer(Vocabulary(("[PAD]", "[UNK]", "[CLS]", "[SEP]", *CHARACTERS)))


def windowed(texts: list[str] = TEXTS, truth: list[int] = TRUTH, spec: WindowSpec = SPEC) -> WindowedDataset:
    data = encode_texts(texts, truth, CHAR, max_length=LENGTH, windows=spec)
    assert isinstance(data, WindowedDataset)
    return data


def texts_of(data: WindowedDataset) -> list[int]:
    """The number of the text of each row."""
    return [text for text, count in enumerate(np.diff(data.tokenized.first)) for _ in range(count)]


def some_logits(rows: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(size=(rows, 3)).astype(np.float32)


def softmax(logits: Floats) -> Floats:
    exponents = np.exp(logits.astype(np.float64))
    return exponents / exponents.sum(axis=1, keepdims=True)


def by_hand(logits: Floats, lengths: list[int], method: str) -> Floats:
    """One text's probabilities from the logits of its windows."""
    parts = softmax(logits)
    if len(parts) == 1:
        return parts[0]
    if method == "max":
        return parts.max(axis=0) / parts.max(axis=0).sum()
    return np.average(parts, axis=0, weights=lengths if method == "length" else None)


@pytest.mark.parametrize("tokenizer", [CHAR, PIECES], ids=["char", "wordpiece"])
@pytest.mark.parametrize("overlap", [0, 3, LENGTH, 100])
def test_rows_are_the_windows_that_the_bundle_reads_with_the_label_of_their_text(
    tokenizer: CharTokenizer | WordPieceTokenizer, overlap: int
) -> None:
    data = encode_texts(TEXTS, TRUTH, tokenizer, max_length=LENGTH, windows=WindowSpec(overlap_tokens=overlap))
    expected = [
        (list(tokenizer.encode(text[begin:end])), label)
        for text, label in zip(TEXTS, TRUTH, strict=True)
        for begin, end in split_windows(text, tokenizer, max_length=LENGTH, overlap=overlap)
    ]
    assert len(data) == len(expected) > len(TEXTS)
    assert [(list(ids), label) for ids, label in (data[row] for row in range(len(data)))] == expected
    assert list(data.truth) == TRUTH
    assert data.lengths.max() <= LENGTH


def test_without_windows_texts_are_cut() -> None:
    data = encode_texts(TEXTS, TRUTH, CHAR, max_length=LENGTH, windows=None)
    assert type(data) is EncodedDataset
    assert [list(ids) for ids in data.ids] == [list(CHAR.encode(text, max_length=LENGTH)) for text in TEXTS]
    assert list(data.truth) == list(data.labels) == TRUTH
    logits = some_logits(len(TEXTS))
    found, truth = data.by_text(logits, data.labels)
    np.testing.assert_array_equal(found, logits)
    assert truth.tolist() == TRUTH


def test_what_is_not_a_text_is_refused() -> None:
    with pytest.raises(TypeError, match="text number 1 must be a str, got 3"):
        encode_texts(["公司", 3], [0, 1], CHAR, max_length=LENGTH, windows=SPEC)  # type: ignore[list-item]


@pytest.mark.parametrize("method", ["mean", "max", "length"])
def test_answers_of_windows_become_those_of_texts(method: str) -> None:
    data = windowed(spec=dataclasses.replace(SPEC, aggregate=method))
    logits, owner = some_logits(len(data)), np.array(texts_of(data))
    found, truth = data.by_text(logits, data.labels)
    lengths = np.maximum(data.lengths, 1)
    expected = [by_hand(logits[owner == text], lengths[owner == text].tolist(), method) for text in range(len(TEXTS))]
    np.testing.assert_allclose(softmax(found), expected, atol=1e-6)
    assert truth.tolist() == TRUTH


def test_the_first_answers_alone_become_those_of_the_texts_that_are_there() -> None:
    data = windowed()
    logits = some_logits(len(data))
    for seen in range(1, len(data) + 1):
        found, truth = data.by_text(logits[:seen], data.labels[:seen])
        begun = int((data.tokenized.first[:-1] < seen).sum())
        assert truth.tolist() == TRUTH[:begun]
        whole = int((data.tokenized.first[1:] <= seen).sum())
        np.testing.assert_array_equal(found[:whole], data.by_text(logits, data.labels)[0][:whole])


def test_probabilities_of_zero_and_half_precision_stay_finite() -> None:
    data = windowed()
    found, _ = data.by_text(np.array([[60000.0, -60000.0, 0.0]] * len(data), dtype=np.float16), data.labels)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()


def test_answers_in_another_order_are_refused() -> None:
    data = windowed()
    with pytest.raises(HostError, match=rf"{len(data)} answers of the Trainer are not in the order of the {len(data)} windows"):
        data.by_text(some_logits(len(data)), data.labels[::-1])


def test_by_length_keeps_the_windows_of_a_text_together() -> None:
    data, ordered = windowed(), windowed().by_length()
    longest = np.maximum.reduceat(ordered.lengths, ordered.tokenized.first[:-1])
    assert (np.diff(longest) >= 0).all()
    whole = [
        Counter((tuple(map(tuple, one.ids[a:b])), label) for a, b, label in zip(first, first[1:], one.truth, strict=False))
        for one in (data, ordered)
        for first in [one.tokenized.first]
    ]
    assert whole[0] == whole[1]
    assert Counter(ordered.labels) == Counter(data.labels)


@pytest.mark.parametrize("seed", [0, 7])
def test_an_epoch_takes_one_window_of_each_text_and_all_of_them_in_turn(seed: int) -> None:
    data = windowed()
    counts, owner = np.diff(data.tokenized.first), np.array(texts_of(data))
    epochs = int(np.lcm.reduce(counts))
    taken = [data.epoch_rows(seed=seed, epoch=epoch) for epoch in range(epochs)]
    assert all(owner[rows].tolist() == list(range(len(TEXTS))) for rows in taken)
    times = Counter(np.concatenate(taken).tolist())
    assert times == {row: epochs // counts[text] for row, text in enumerate(owner)}
    first = data.epoch_rows(seed=seed, epoch=0)
    assert (first == taken[0]).all()


def test_seeds_begin_with_other_windows() -> None:
    data = windowed([TEXTS[4]] * 20, [0] * 20)
    assert len({tuple(data.epoch_rows(seed=seed, epoch=0)) for seed in range(3)}) == 3


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_the_sampler_counts_texts(ranks: int) -> None:
    data = windowed([TEXTS[index % 5] for index in range(17)], [index % 3 for index in range(17)])
    owner = texts_of(data)
    for epoch in range(3):
        samplers = [LengthBatchSampler(data, batch_size=4, seed=3, num_replicas=ranks, rank=rank) for rank in range(ranks)]
        for one in samplers:
            one.set_epoch(epoch)
        shares = [list(one) for one in samplers]
        counts = Counter(owner[row] for share in shares for batch in share for row in batch)
        assert set(counts) == set(range(17))
        assert counts.total() - 17 < ranks
        assert {len(one) for one in samplers} == {len(share) for share in shares}
        assert set(np.concatenate([row for share in shares for row in share])) <= set(data.epoch_rows(seed=3, epoch=epoch))


def test_rows_without_windows_come_in_the_order_that_they_had_before_there_were_windows() -> None:
    data = EncodedDataset([[2] * (1 + index % 9) for index in range(30)], [0] * 30)
    rows = np.random.default_rng((5, 2)).permutation(30)
    again = np.random.default_rng((5, 2)).permutation(data.epoch_rows(seed=5, epoch=2))
    np.testing.assert_array_equal(rows, again)


@pytest.mark.parametrize("rows", [1, 5, 8])
def test_two_ranks_give_answers_in_the_order_of_the_rows(rows: int) -> None:
    data = windowed(TEXTS[:rows] if rows <= 5 else TEXTS + TEXTS[:3], (TRUTH + TRUTH[:3])[:rows]).by_length()
    logits = some_logits(len(data))
    samplers = [
        list(paddle.io.DistributedBatchSampler(data, 3, num_replicas=2, rank=rank, shuffle=False, drop_last=False))
        for rank in range(2)
    ]
    gathered = [row for step in zip(*samplers, strict=True) for share in step for row in share][: len(data)]
    found, truth = data.by_text(logits[gathered], np.array(data.labels)[gathered])
    np.testing.assert_array_equal(found, data.by_text(logits, data.labels)[0])
    assert truth.tolist() == list(data.truth)


def test_windows_learn_what_a_teacher_said_of_their_text() -> None:
    data, other = windowed(), windowed(["公司减持。" * 8, "股份"], [UNLABELLED] * 2)
    said = {"teacher_logits": np.arange(21, dtype=np.float32).reshape(7, 3)}
    both = data.with_soft_targets(other, said)
    assert list(both.truth) == [*TRUTH, UNLABELLED, UNLABELLED]
    assert [list(ids) for ids in both.ids] == [list(ids) for ids in [*data.ids, *other.ids]]
    assert both.labels == [*data.labels, *other.labels]
    owner = texts_of(both)
    assert max(owner) == 6
    for row in range(len(both)):
        np.testing.assert_array_equal(both[row][2]["teacher_logits"], said["teacher_logits"][owner[row]])
    assert collate([both[0], both[len(both) - 1]])["teacher_logits"].shape == (2, 3)


def test_whole_texts_go_behind_whole_texts() -> None:
    data = EncodedDataset([[2, 3], [4]], [0, 1])
    none = encode_texts([], [], CHAR, max_length=LENGTH, windows=None)
    said = {"teacher_logits": np.ones((2, 3), dtype=np.float32)}
    both = data.with_soft_targets(none, said)
    assert both.ids == data.ids
    assert len(windowed().with_soft_targets(windowed([], []), {"teacher_logits": np.ones((5, 3))}).truth) == 5
