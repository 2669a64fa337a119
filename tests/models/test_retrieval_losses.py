"""Each loss against the formula of sentence-transformers, written out in numpy."""

from __future__ import annotations

from itertools import combinations, permutations
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_embtune.config import RetrievalSpec
from paddlenlp_embtune.models import (
    cosent_loss,
    cosine_loss,
    labelled_loss,
    paired_cosines,
    ranking_loss,
    semi_hard_triplet_loss,
    triplet_loss,
    twin_loss,
    with_dimensions,
)

LABELS = np.array([0, 1, 0, 2, 1, 0, 3])


def drawn(rows: int = 7, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, 5)).astype(np.float32)


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def of(loss: Any, *arrays: np.ndarray, **options: Any) -> float:
    return float(loss(*map(paddle.to_tensor, arrays), **options))


def cross_entropy(logits: np.ndarray, wanted: np.ndarray) -> float:
    shifted = logits - logits.max(axis=1, keepdims=True)
    found = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return float(-found[np.arange(len(wanted)), wanted].mean())


@pytest.mark.parametrize("margin", [0.0, 0.2, 1.5])
def test_semi_hard_triplets(margin: float) -> None:
    vectors = drawn()
    distances = 1 - unit(vectors) @ unit(vectors).T
    terms = []
    for anchor, positive in permutations(range(7), 2):
        if LABELS[anchor] != LABELS[positive]:
            continue
        others = distances[anchor, LABELS[anchor] != LABELS]
        outside = others[others > distances[anchor, positive]]
        negative = outside.min() if len(outside) else others.max()
        terms.append(max(0.0, distances[anchor, positive] - negative + margin))
    assert of(semi_hard_triplet_loss, vectors, LABELS, margin=margin) == pytest.approx(np.mean(terms), abs=1e-5)


def test_triplets_of_one_label_or_without_partners() -> None:
    vectors = drawn(3)
    distances = 1 - unit(vectors) @ unit(vectors).T
    # Without a negative, the formula takes the distance of a row to itself.
    expected = np.mean([distances[pair] + 0.1 for pair in permutations(range(3), 2)])
    assert of(semi_hard_triplet_loss, vectors, np.zeros(3, np.int64), margin=0.1) == pytest.approx(expected, abs=1e-5)
    assert of(semi_hard_triplet_loss, vectors, np.arange(3), margin=0.1) == 0.0


@pytest.mark.parametrize("margin", [0.0, 0.5])
def test_triplets_of_a_file(margin: float) -> None:
    anchors, positives, negatives = (drawn(4, seed) for seed in range(3))
    near, far = (1 - (unit(anchors) * unit(side)).sum(axis=1) for side in (positives, negatives))
    expected = np.maximum(near - far + margin, 0).mean()
    assert of(triplet_loss, anchors, positives, negatives, margin=margin) == pytest.approx(expected, abs=1e-6)
    assert of(triplet_loss, anchors, positives, positives, margin=0.0) == pytest.approx(0.0, abs=1e-6)


def test_ranking_is_the_cross_entropy_over_the_candidates_of_a_batch() -> None:
    anchors, candidates = drawn(4), drawn(6, 1)
    groups, owners = np.arange(4), np.arange(6)
    expected = cross_entropy(unit(anchors) @ unit(candidates).T * 20.0, groups)

    def found(groups: np.ndarray, owners: np.ndarray) -> float:
        tensors = {"groups": paddle.to_tensor(groups), "candidate_groups": paddle.to_tensor(owners)}
        return of(ranking_loss, anchors, candidates, temperature=0.05, **tensors)

    assert found(groups, owners) == pytest.approx(expected, rel=1e-5)
    # A candidate of the anchor's group is no negative of it.
    logits = unit(anchors) @ unit(candidates).T * 20.0
    logits[0, 2], logits[2, 0] = -np.inf, -np.inf
    same = np.array([0, 1, 0, 3]), np.array([0, 1, 0, 3, 8, 9])
    assert found(*same) == pytest.approx(cross_entropy(logits, groups), rel=1e-5)


def test_one_pair_ranks_itself_first() -> None:
    group = paddle.to_tensor(np.zeros(1, np.int64))
    options = {"groups": group, "candidate_groups": group, "temperature": 0.05}
    assert of(ranking_loss, drawn(1), drawn(1, 1), **options) == pytest.approx(0.0, abs=1e-6)
    assert of(twin_loss, drawn(1), drawn(1, 1), temperature=0.05) == pytest.approx(0.0, abs=1e-6)
    assert of(cosent_loss, np.float32([0.3]), np.float32([1.0]), temperature=0.05) == pytest.approx(0.0, abs=1e-6)


def test_twins_are_unsupervised_simcse() -> None:
    first, second = drawn(), drawn(7, 1)
    expected = cross_entropy(unit(first) @ unit(second).T / 0.05, np.arange(7))
    assert of(twin_loss, first, second, temperature=0.05) == pytest.approx(expected, rel=1e-5)


def test_scored_pairs() -> None:
    cosines, scores = np.float32([0.9, 0.1, 0.4, 0.5]), np.float32([1.0, 0.0, 0.5, 0.5])
    total = sum(
        np.exp(20.0 * (cosines[low] - cosines[high])) for low, high in permutations(range(4), 2) if scores[low] < scores[high]
    )
    assert of(cosent_loss, cosines, scores, temperature=0.05) == pytest.approx(np.log1p(total), abs=1e-6)
    assert of(cosine_loss, cosines, scores) == pytest.approx(np.square(cosines - scores).mean(), abs=1e-7)
    left, right = drawn(), drawn(7, 1)
    found = paired_cosines(paddle.to_tensor(left), paddle.to_tensor(right)).numpy()
    np.testing.assert_allclose(found, (unit(left) * unit(right)).sum(axis=1), atol=1e-6)


def test_labels_make_pairs_for_cosent_and_ranking() -> None:
    vectors = drawn()
    cosines = unit(vectors) @ unit(vectors).T
    pairs = list(combinations(range(7), 2))
    flat = np.float32([cosines[pair] for pair in pairs])
    same = np.float32([LABELS[one] == LABELS[other] for one, other in pairs])
    expected = of(cosent_loss, flat, same, temperature=0.05)
    assert of(labelled_loss(RetrievalSpec(loss="cosent")), vectors, LABELS) == pytest.approx(expected, rel=1e-5)
    partner = {0: 2, 2: 5, 5: 0, 1: 4, 4: 1}
    terms = []
    for anchor, own in partner.items():
        candidates = [own, *(row for row in range(7) if LABELS[row] != LABELS[anchor])]
        terms.append(cross_entropy(cosines[[anchor]][:, candidates] / 0.05, np.array([0])))
    assert of(labelled_loss(RetrievalSpec(loss="ranking")), vectors, LABELS) == pytest.approx(np.mean(terms), rel=1e-5)


@pytest.mark.parametrize("loss", ["supervised_contrastive", "ranking", "triplet", "cosent", "cosine"])
def test_gradients_stay_finite_without_partners_and_with_one_row(loss: str) -> None:
    for labels in (np.arange(3), np.zeros(3, np.int64), np.zeros(1, np.int64)):
        vectors = paddle.to_tensor(drawn(len(labels)), stop_gradient=False)
        labelled_loss(RetrievalSpec(loss=loss))(vectors, paddle.to_tensor(labels)).backward()
        assert np.isfinite(vectors.grad.numpy()).all()


def test_shorter_vectors_count_as_much_as_whole_ones() -> None:
    vectors = paddle.to_tensor(drawn())
    found = with_dimensions(lambda cut: paddle.square(cut(vectors)).sum(), (1, 3))
    whole = np.square(drawn()).sum(axis=0)
    assert float(found) == pytest.approx((whole.sum() + whole[:1].sum() + whole[:3].sum()) / 3, rel=1e-5)
