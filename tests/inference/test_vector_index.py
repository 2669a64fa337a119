"""The nearest rows of an index."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from paddlenlp_embtune.errors import DataError, MissingDependencyError
from paddlenlp_embtune.inference import VectorIndex


def test_the_nearest_come_first_and_equals_by_their_number() -> None:
    vectors = np.array([[1, 0], [0, 1], [1, 0], [0.6, 0.8]], dtype=np.float32)
    products, rows = VectorIndex(vectors).search(np.array([[1, 0], [0, 1]], dtype=np.float32), 4)
    assert rows.tolist() == [[0, 2, 3, 1], [1, 3, 0, 2]]
    np.testing.assert_allclose(products, [[1, 1, 0.6, 0], [1, 0.8, 0, 0]])
    assert VectorIndex(vectors).search(vectors[:1], 9)[1].shape == (1, 4)
    assert VectorIndex(vectors).search(vectors[:0], 2)[1].shape == (0, 2)


def test_queries_of_another_width_are_refused() -> None:
    index = VectorIndex(np.eye(3, dtype=np.float32))
    with pytest.raises(DataError, match=r"queries of the shape \(1, 2\) does not fit .* 3 values"):
        index.search(np.zeros((1, 2), np.float32), 1)
    with pytest.raises(DataError, match="shape"):
        VectorIndex(np.zeros((0, 3), np.float32))


def test_a_graph_needs_faiss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingDependencyError, match=r"paddlenlp-embtune\[index\]"):
        VectorIndex(np.eye(3, dtype=np.float32), exact=False)


def test_a_graph_finds_nearly_all_of_what_is_nearest() -> None:
    pytest.importorskip("faiss")
    vectors = np.random.default_rng(0).normal(size=(500, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    exact, graph = (VectorIndex(vectors, exact=exact).search(vectors[:50], 5)[1] for exact in (True, False))
    assert np.mean([len({*a} & {*b}) / 5 for a, b in zip(exact.tolist(), graph.tolist(), strict=True)]) > 0.95
