"""The nearest of many vectors: exactly by numpy, or by a graph of faiss where there are a hundred thousand rows or more."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.errors import DataError, MissingDependencyError

__all__ = ["EXACT_ROWS", "VectorIndex"]

EXACT_ROWS = 100_000
"""Below as many rows, an index looks at all of them."""

_QUERIES_AT_ONCE = 256
_LINKS, _BUILDING, _SEARCHING = 32, 200, 128

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]


class VectorIndex:
    """Finds the rows whose product with a vector is highest: the cosine, for vectors of length 1.

    Args:
        vectors: what is searched in.
        exact: whether all rows are looked at; None does so below 100,000 rows. Otherwise a graph is searched, which may miss
            a few of the nearest: HNSW of faiss-cpu, with 32 links a row.
    Shapes:
        vectors: (N, d) float32
    Raises:
        DataError: there are no vectors, or they are not finite.
        MissingDependencyError: a graph is wanted, and faiss-cpu is not installed.
    Source:
        Malkov and Yashunin 2020, "Efficient and robust approximate nearest neighbor search using Hierarchical Navigable Small
        World graphs"
    """

    def __init__(self, vectors: Floats, *, exact: bool | None = None) -> None:
        self.vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        if self.vectors.ndim != 2 or not len(self.vectors) or not np.isfinite(self.vectors).all():
            raise DataError(
                f"the vectors of an index have the shape {np.shape(vectors)}, or hold values that are not finite; expected (N, "
                "d) finite numbers of one row or more"
            )
        self.exact = len(self.vectors) < EXACT_ROWS if exact is None else exact
        self._graph: Any = None if self.exact else _graph_of(self.vectors)

    def __len__(self) -> int:
        return len(self.vectors)

    def search(self, queries: Floats, k: int) -> tuple[Floats, Ids]:
        """Return the products of the k best rows for each query, the highest first, and their numbers.

        Args:
            queries: Q vectors.
            k: 1 or more; where the index has fewer rows, these are all that come.
        Shapes:
            queries: (Q, d) float32; returns: (Q, k) float32 and (Q, k) int64
        Raises:
            DataError: the queries have another width, or ``k`` is below 1.
        """
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        if queries.ndim != 2 or queries.shape[1] != self.vectors.shape[1] or k < 1:
            raise DataError(
                f"a search for {k} rows with queries of the shape {queries.shape} does not fit an index of vectors of "
                f"{self.vectors.shape[1]} values; expected (Q, {self.vectors.shape[1]}), and 1 or more rows; embed both by one "
                "bundle with the same dimensions"
            )
        k = min(k, len(self.vectors))
        if self._graph is not None:
            products, rows = self._graph.search(queries, k)
            return products, rows
        parts = [self._search(queries[at : at + _QUERIES_AT_ONCE], k) for at in range(0, len(queries), _QUERIES_AT_ONCE)]
        if not parts:
            return np.zeros((0, k), np.float32), np.zeros((0, k), np.int64)
        products, rows = (np.concatenate(side) for side in zip(*parts, strict=True))
        return products, rows

    def _search(self, queries: Floats, k: int) -> tuple[Floats, Ids]:
        products = queries @ self.vectors.T
        rows = np.argpartition(-products, k - 1, axis=1)[:, :k]
        found = np.take_along_axis(products, rows, axis=1)
        order = np.lexsort((rows, -found), axis=1)
        return np.take_along_axis(found, order, axis=1), np.take_along_axis(rows, order, axis=1)


def _graph_of(vectors: Floats) -> Any:
    try:
        faiss: Any = importlib.import_module("faiss")
    except ModuleNotFoundError:
        raise MissingDependencyError(
            f"an index of {len(vectors):,} vectors that is not exact needs faiss-cpu; install it with: pip install "
            '"paddlenlp-embtune[index]", or ask for exact=True'
        ) from None
    graph = faiss.IndexHNSWFlat(vectors.shape[1], _LINKS, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction, graph.hnsw.efSearch = _BUILDING, _SEARCHING
    graph.add(vectors)
    return graph
