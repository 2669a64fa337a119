"""Retrieval figures against what can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.evaluation import alignment, class_alignment, retrieval_metrics, spearman, uniformity


def at(*degrees: float) -> np.ndarray:
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_figures_are_those_of_the_ranks() -> None:
    # From 0 degrees, the index lies in its order: b, a, b, a.
    found = retrieval_metrics(at(0, 0), at(10, 20, 30, 40), ["a", "b"], ["b", "a", "b", "a"], k=3)
    assert (found["queries"], found["rows"], found["without_relevant"]) == (2, 4, 0)
    assert found["mrr"] == pytest.approx((1 / 2 + 1) / 2)
    assert found["median_rank"] == 1.5
    assert found["recall_at_k"] == pytest.approx((1 / 2 + 2 / 2) / 2)
    assert found["hit_rate_at_k"] == 1.0
    best = 1 + 1 / np.log2(3)
    assert found["ndcg_at_k"] == pytest.approx(np.mean([(1 / np.log2(3)) / best, (1 + 1 / np.log2(4)) / best]))


def test_equal_products_count_against_the_relevant() -> None:
    found = retrieval_metrics(at(0), at(30, 30, 30), ["a"], ["b", "a", "b"], k=1)
    assert (found["mrr"], found["recall_at_k"]) == (pytest.approx(1 / 3), 0.0)


def test_a_row_does_not_find_itself() -> None:
    vectors = at(0, 1, 50, 52)
    found = retrieval_metrics(vectors, vectors, list("abab"), list("abab"), k=10, leave_one_out=True)
    assert found["mrr"] == pytest.approx((1 / 2 + 1 / 3 + 1 / 3 + 1 / 2) / 4)
    assert found["recall_at_k"] == 1.0


def test_queries_without_anything_relevant_are_left_out_and_counted() -> None:
    found = retrieval_metrics(at(0, 0), at(10, 20), ["a", "z"], ["a", "b"])
    assert (found["without_relevant"], found["mrr"]) == (1, 1.0)
    with pytest.raises(DataError, match="no query has a relevant row"):
        retrieval_metrics(at(0), at(10), ["z"], ["a"])
    with pytest.raises(DataError, match="k is 0"):
        retrieval_metrics(at(0), at(10), ["a"], ["a"], k=0)


def test_many_queries_are_ranked_as_one_by_one() -> None:
    generator = np.random.default_rng(0)
    queries, index = generator.normal(size=(300, 4)), generator.normal(size=(50, 4))
    groups = generator.integers(0, 5, 300).tolist(), generator.integers(0, 5, 50).tolist()
    ranks = []
    for query, group in zip(queries, groups[0], strict=True):
        order = np.argsort(-(index @ query))
        ranks.append(1 + next(rank for rank, row in enumerate(order) if groups[1][row] == group))
    assert retrieval_metrics(queries, index, *groups)["mrr"] == pytest.approx(np.mean(1 / np.array(ranks)))


def test_alignment_and_uniformity_are_those_of_the_paper() -> None:
    assert alignment(at(0, 90), at(180, 90)) == pytest.approx(2.0)
    distances = [2 - 2 * np.cos(np.radians(angle)) for angle in (90, 180, 90)]
    assert uniformity(at(0, 90, 180)) == pytest.approx(np.log(np.mean(np.exp(-2 * np.array(distances)))), abs=1e-6)
    assert class_alignment(at(0), at(180, 90), ["a"], ["a", "b"]) == pytest.approx(4.0)
    assert class_alignment(at(0), at(180), ["a"], ["b"]) is None


def test_spearman_needs_pairs_that_differ() -> None:
    assert spearman(np.array([0.1, 0.5, 0.9]), [1, 2, 3]) == pytest.approx(1.0)
    for cosines, scores in (([0.5], [1.0]), ([0.1, 0.2], [1.0, 1.0])):
        with pytest.raises(DataError, match="two or more"):
            spearman(np.array(cosines), scores)
