"""The regression over n-grams fitted further, and classifiers with further labels."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.models import with_labels
from paddlenlp_embtune.models._ngram_continuation import aligned_table, continue_ngrams
from paddlenlp_embtune.models._ngram_regression import CHECK_MODULUS, fit_ngrams, ngram_codes
from tests.models.small_textcnn import model

BUCKETS = 20_011
ONES = np.ones(2, dtype=np.float32)
SIZES = {"buckets": 1 << 18, "vocabulary_size": 100}


def rows(first: int, last: int, *, seed: int, count: int = 80) -> tuple[list[list[int]], list[int]]:
    generator = np.random.default_rng(seed)
    ids = [generator.integers(first, last, 6).tolist() for _ in range(count)]
    return ids, [int(text[0] % 2) for text in ids]


def logits(table: np.ndarray, bias: np.ndarray, text: list[int]) -> np.ndarray:
    buckets = np.concatenate([codes % (len(table) - 1) + 1 for codes in ngram_codes(np.array(text), 2)])
    total = table[buckets].astype(np.float64).sum(axis=0)
    return total[:-1] / np.sqrt(total[-1] + 1e-6) + bias


@pytest.fixture(scope="module")
def former() -> tuple[np.ndarray, np.ndarray]:
    ids, labels = rows(1, 40, seed=0)
    return fit_ngrams(ids, labels, class_weights=ONES, buckets=BUCKETS)


def test_what_the_new_rows_lack_stays_bit_for_bit(former: tuple[np.ndarray, np.ndarray]) -> None:
    ids, labels = rows(40, 80, seed=1)
    table, bias = continue_ngrams(ids, labels, former=former, class_weights=ONES, **SIZES)
    used = np.unique(np.concatenate([c % (BUCKETS - 1) + 1 for text in ids for c in ngram_codes(np.array(text), 2)]))
    others = np.setdiff1d(np.arange(BUCKETS), used)
    np.testing.assert_array_equal(table[others], former[0][others])
    right = [int(logits(table, bias, text).argmax() == label) for text, label in zip(ids, labels, strict=True)]
    assert np.mean(right) > 0.9
    shift = np.ptp(bias - former[1])
    old, truth = rows(1, 40, seed=0)
    kept = [int(logits(table, bias, text).argmax() == label) for text, label in zip(old, truth, strict=True)]
    assert np.mean(kept) > 0.9, shift


def test_the_change_is_the_minimum_of_loss_and_penalty(former: tuple[np.ndarray, np.ndarray]) -> None:
    """The gradient of the mean cross-entropy plus the penalty on the change vanishes there."""
    ids, labels = rows(20, 60, seed=2)
    table, bias = continue_ngrams(ids, labels, former=former, class_weights=ONES, **SIZES, ratios=False)
    scale = np.sqrt(table[:, -1].astype(np.float64))
    features = np.zeros((len(ids), BUCKETS))
    for place, text in enumerate(ids):
        for codes in ngram_codes(np.array(text), 2):
            np.add.at(features[place], codes % (BUCKETS - 1) + 1, 1.0)
    features *= scale
    features /= np.sqrt(
        np.square(features / np.maximum(np.sqrt(features / np.maximum(scale, 1e-12)), 1e-12)).sum(axis=1) + 1e-6
    )[:, None]
    change = np.where(scale[:, None] > 0, (table[:, :-1] - 0.8 * former[0][:, :-1]) / np.maximum(scale, 1e-12)[:, None], 0.0)
    found = np.stack([logits(table, bias, text) for text in ids])
    probabilities = np.exp(found - found.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    error = (probabilities - np.eye(2)[labels]) / len(ids)
    gradient = features.T @ error + (2 / 4.0) / len(ids) * change
    assert np.abs(gradient).max() < 2e-3
    assert np.abs(error.sum(axis=0)).max() < 2e-3


def test_rows_of_one_label_change_no_weights(former: tuple[np.ndarray, np.ndarray]) -> None:
    table, bias = continue_ngrams([[1, 2], [3]], [0, 0], former=former, class_weights=ONES, **SIZES)
    np.testing.assert_array_equal(table[:, :-1], former[0][:, :-1])
    np.testing.assert_array_equal(bias, former[1])


def known(table: np.ndarray, text: list[int]) -> list[np.ndarray]:
    """Return the rows of a checked table that the n-grams of a text own."""
    codes = np.concatenate(ngram_codes(np.array(text), 2))
    found = table[codes % (len(table) - 1) + 1]
    return list(found[found[:, -1] == codes % CHECK_MODULUS])


@pytest.mark.parametrize("most", [1 << 18, 256], ids=["grows", "full"])
def test_a_checked_table_keeps_what_it_knows_where_it_grows_and_where_it_cannot(most: int) -> None:
    ids, labels = rows(1, 40, seed=0)
    former = fit_ngrams(ids, labels, class_weights=ONES, buckets=most, checked=True)
    more, truth = rows(40, 80, seed=1)
    sizes = {"buckets": most, "vocabulary_size": 100, "checked": True}

    table, bias = continue_ngrams(more, truth, former=former, class_weights=ONES, **sizes)

    assert (len(table) > len(former[0])) == (most > 256)
    kept = [len(known(table, text)) for text in ids]
    assert sum(kept) >= (0.85 if most > 256 else 1.0) * sum(len(known(former[0], text)) for text in ids)
    aligned = aligned_table(former[0], table, 2)
    assert aligned.shape == table.shape
    np.testing.assert_array_equal(aligned[:, -1], table[:, -1])
    assert np.abs(aligned[:, :3]).sum() == pytest.approx(np.abs(former[0][:, :3]).sum(), rel=0.15)

    def right(texts: list[list[int]], wanted: list[int]) -> float:
        found = [np.sum(known(table, text) or [np.zeros(4)], axis=0, dtype=np.float64) for text in texts]
        return float(np.mean([np.argmax(f[:2] / np.sqrt(f[2] + 1e-6) + bias) == w for f, w in zip(found, wanted, strict=True)]))

    assert right(more, truth) > (0.9 if most > 256 else 0.75)
    assert right(ids, labels) > 0.9


def test_a_classifier_gets_further_labels_and_answers_as_before() -> None:
    small = model()
    larger = with_labels(small, "textcnn", 5)
    ids = paddle.to_tensor([[3, 4, 5, 0], [7, 8, 9, 10]])
    np.testing.assert_array_equal(larger(ids).numpy()[:, :3], small(ids).numpy())
    np.testing.assert_array_equal(larger.ngram_table.numpy()[:, [0, 1, 2, 5, 6]], small.ngram_table.numpy())
    assert not larger.ngram_table.numpy()[:, 3:5].any()
    assert larger.ngram_bias.numpy()[3:].tolist() == [small.ngram_bias.numpy().min()] * 2
    assert larger.config()["num_labels"] == 5


def test_ordered_labels_do_not_grow() -> None:
    with pytest.raises(RecipeError, match="whose labels are ordered; train anew with all labels in their order"):
        with_labels(model(head="cumulative_link"), "textcnn", 4)
