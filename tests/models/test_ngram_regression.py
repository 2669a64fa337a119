"""The regression over n-grams: features as counted by hand, a minimum that is one, classes without rows."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
import scipy.sparse

from paddlenlp_embtune.models._ngram_regression import MULTIPLIER, fit_ngrams
from paddlenlp_embtune.models._softmax_regression import fit_softmax_regression

BUCKETS = 10_000_019


def rows(count: int, *, classes: int, seed: int = 0) -> tuple[list[list[int]], list[int]]:
    generator = np.random.default_rng(seed)
    ids = [generator.integers(1, 40, generator.integers(1, 12)).tolist() for _ in range(count)]
    return ids, [text[0] % classes for text in ids]


def codes_of(text: list[int]) -> list[int]:
    """The numbers of single tokens, pairs and triples."""
    triples = zip(text, text[1:], text[2:], strict=False)
    return [
        *(token * MULTIPLIER for token in text),
        *(a * MULTIPLIER + b for a, b in itertools.pairwise(text)),
        *((a * MULTIPLIER + b) * MULTIPLIER + c for a, b, c in triples),
    ]


@pytest.mark.parametrize(("count", "least"), [(60, 1), (1000, 2)])
def test_scales_are_those_of_all_n_grams_or_with_many_rows_of_those_in_two_texts(count: int, least: int) -> None:
    ids, labels = rows(count, classes=3)
    ids = [*ids, [], [39]]  # a text without tokens, and one without pairs
    labels = [*labels, 0, 0]
    table, _ = fit_ngrams(ids, labels, class_weights=np.ones(3, dtype=np.float32), buckets=BUCKETS, longest=3)
    counts = Counter(code for text in ids for code in set(codes_of(text)))
    kept = [code for code, texts in counts.items() if texts >= least]
    within = [Counter(code for text, label in zip(ids, labels, strict=True) if label == each for code in set(codes_of(text)))
              for each in range(3)]  # fmt: skip
    ratios = np.zeros(len(kept))
    for each in range(3):
        inside = np.array([within[each][code] + 1 for code in kept])
        outside = np.array([counts[code] - within[each][code] + 1 for code in kept])
        ratios = np.maximum(ratios, np.abs(np.log(inside / inside.sum()) - np.log(outside / outside.sum())))
    ratios = np.maximum(ratios, 1e-3)
    expected = np.zeros(BUCKETS)
    for code, ratio in zip(kept, ratios / np.sqrt(np.square(ratios).mean()), strict=True):
        expected[code % (BUCKETS - 1) + 1] = ((math.log((1 + len(ids)) / (1 + counts[code])) + 1) * ratio) ** 2
    np.testing.assert_allclose(table[:, -1], expected, rtol=1e-6)
    assert (expected > 0).sum() > 100
    assert not table[expected == 0].any()


def test_the_same_rows_give_the_same_bits() -> None:
    ids, labels = rows(200, classes=4)
    options = {"class_weights": np.ones(4, dtype=np.float32), "buckets": 4096}
    first, second = (fit_ngrams(ids, labels, **options) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


def test_a_class_without_rows_is_as_unlikely_as_the_unlikeliest_and_has_no_weights() -> None:
    ids, labels = rows(200, classes=3)
    table, bias = fit_ngrams(ids, labels, class_weights=np.ones(4, dtype=np.float32), buckets=4096)
    assert not table[:, 3].any()
    assert bias[3] == bias[:3].min()


@pytest.mark.parametrize("classes", [2, 5])
def test_the_minimum_is_flat_and_no_step_from_it_is_better(classes: int) -> None:
    generator = np.random.default_rng(classes)
    dense = generator.random((80, 30)) * (generator.random((80, 30)) < 0.2)
    labels, weights = generator.integers(0, classes, 80), generator.random(80) + 0.5
    found, bias = fit_softmax_regression(scipy.sparse.csr_matrix(dense), labels, weights, num_labels=classes, penalty=0.5)

    def loss(table: np.ndarray, offsets: np.ndarray) -> float:
        logits = dense @ table + offsets
        logits -= logits.max(axis=1, keepdims=True)
        losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(80), labels]
        return float(weights @ losses + 0.25 * np.square(table).sum())

    least = loss(found, bias)
    for _ in range(20):
        step, shift = generator.standard_normal(found.shape), generator.standard_normal(bias.shape)
        assert loss(found + 0.05 * step, bias + 0.05 * shift) > least
        slope = (loss(found + 1e-5 * step, bias + 1e-5 * shift) - loss(found - 1e-5 * step, bias - 1e-5 * shift)) / 2e-5
        assert abs(slope) < 0.02 * weights.sum()
