"""How well vectors find what is alike: ranks, recall and nDCG, alignment and uniformity, and Spearman for scored pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.evaluation._scipy import import_scipy

__all__ = ["alignment", "class_alignment", "retrieval_metrics", "spearman", "uniformity"]

Floats = npt.NDArray[np.floating[Any]]
_QUERIES_AT_ONCE = 256
_MOST_ROWS = 2000
_TIE = 1e-9


def retrieval_metrics(
    queries: Floats,
    index: Floats,
    query_groups: Sequence[Any],
    index_groups: Sequence[Any],
    *,
    k: int = 10,
    leave_one_out: bool = False,
) -> dict[str, Any]:
    """Rank an index for every query by the product of vectors, and say where the relevant rows stand.

    Relevant is what has the group of the query: its label, or the pair that it is of. Of rows with the same product, those that
    are not relevant come first.

    Args:
        queries: Q vectors; of length 1 for cosines.
        index: N vectors.
        query_groups: group of each query.
        index_groups: group of each row of the index.
        k: how many rows are looked at.
        leave_one_out: the queries are the index, in order, and no row finds itself.
    Shapes:
        queries: (Q, d); index: (N, d)
    Returns:
        ``queries``, ``rows``, ``without_relevant`` (queries that nothing is relevant to; left out of all means), ``k``, ``mrr``
        (mean of 1 over the rank of the first relevant row), ``median_rank``, ``recall_at_k`` (relevant rows among the first k,
        of those that there are, k at most), ``hit_rate_at_k`` (queries with one or more) and ``ndcg_at_k`` (a relevant row
        counts 1, by its rank).
    Raises:
        DataError: nothing is relevant to any query, or ``k`` is below 1.
    Source:
        recall with at most k in the denominator is R_cap@k of Thakur et al. 2021, "BEIR", section 4; nDCG of Järvelin and
        Kekäläinen 2002, with binary gains
    """
    if k < 1:
        raise DataError(f"k is {k}; expected 1 or more rows to look at")
    numbers: dict[Any, int] = {}
    rows = np.array([numbers.setdefault(group, len(numbers)) for group in index_groups], dtype=np.int64)
    wanted = np.array([numbers.get(group, -1) for group in query_groups], dtype=np.int64)
    first, recall, gain = np.zeros(len(wanted)), np.zeros(len(wanted)), np.zeros(len(wanted))
    counts = np.bincount(rows, minlength=len(numbers))
    relevant = np.where(wanted >= 0, counts[wanted] if len(counts) else 0, 0) - int(leave_one_out)
    discounts = 1.0 / np.log2(np.arange(min(k, len(rows))) + 2.0)
    for start in range(0, len(wanted), _QUERIES_AT_ONCE):
        part = slice(start, start + _QUERIES_AT_ONCE)
        scores = (queries[part] @ index.T).astype(np.float64)
        own = rows[None, :] == wanted[part, None]
        scores -= _TIE * own
        if leave_one_out:
            places = np.arange(len(scores))
            scores[places, start + places], own[places, start + places] = -np.inf, False
        first[part] = 1 + (scores > np.where(own, scores, -np.inf).max(axis=1, keepdims=True)).sum(axis=1)
        found = np.take_along_axis(own, _highest(scores, len(discounts)), axis=1)
        recall[part], gain[part] = found.sum(axis=1), found @ discounts
    kept = relevant > 0
    if not kept.any():
        raise DataError("no query has a relevant row in the index; expected labels, or pairs, that both have")
    within = np.minimum(relevant[kept], len(discounts))
    return {
        "queries": len(wanted),
        "rows": len(rows),
        "without_relevant": int((~kept).sum()),
        "k": k,
        "mrr": float((1.0 / first[kept]).mean()),
        "median_rank": float(np.median(first[kept])),
        "recall_at_k": float((recall[kept] / within).mean()),
        "hit_rate_at_k": float((recall[kept] > 0).mean()),
        "ndcg_at_k": float((gain[kept] / np.cumsum(discounts)[within - 1]).mean()),
    }


def _highest(scores: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.int64]:
    """Return the places of the highest scores of each row, the highest first: (Q, N) to (Q, count)."""
    places = np.argpartition(-scores, count - 1, axis=1)[:, :count]
    order = np.argsort(-np.take_along_axis(scores, places, axis=1), axis=1, kind="stable")
    found: npt.NDArray[np.int64] = np.take_along_axis(places, order, axis=1)
    return found


def alignment(first: Floats, second: Floats) -> float:
    """Return the mean squared distance of pairs that belong together: 0 where they are the same, 4 at most.

    Shapes:
        first, second: (P, d), rows of length 1
    Source:
        Wang and Isola 2020, "Understanding Contrastive Representation Learning through Alignment and Uniformity", equation 2
        with alpha = 2
    """
    return float(np.square(first.astype(np.float64) - second).sum(axis=1).mean())


def uniformity(vectors: Floats, *, seed: int = 0) -> float:
    """Return the logarithm of the mean of exp(-2 d^2) over pairs of rows: lower where they cover the sphere more evenly.

    Args:
        vectors: of more than 2,000 rows, as many are drawn.
        seed: of the draw.
    Shapes:
        vectors: (N, d), rows of length 1; 2 or more
    Source:
        Wang and Isola 2020, section 4.2, with t = 2
    """
    chosen = np.random.default_rng(seed).permutation(len(vectors))[:_MOST_ROWS]
    part = vectors[chosen].astype(np.float64)
    norms = np.square(part).sum(axis=1)
    distances = np.maximum(norms[:, None] + norms[None, :] - 2.0 * part @ part.T, 0.0)
    return float(np.log(np.exp(-2.0 * distances[np.triu_indices(len(part), 1)]).mean()))


def class_alignment(
    queries: Floats, index: Floats, query_groups: Sequence[Any], index_groups: Sequence[Any], *, seed: int = 0
) -> float | None:
    """Return the :func:`alignment` of up to 2,000 queries, each with a row of the index of its group, drawn by a seed.

    Returns:
        None where no query has one.
    """
    generator = np.random.default_rng(seed)
    places: dict[Any, list[int]] = {}
    for place, group in enumerate(index_groups):
        places.setdefault(group, []).append(place)
    pairs = [
        (query, places[group][int(generator.integers(len(places[group])))])
        for query in generator.permutation(len(query_groups))[:_MOST_ROWS].tolist()
        if (group := query_groups[query]) in places
    ]
    if not pairs:
        return None
    left, right = np.array(pairs).T
    return alignment(queries[left], index[right])


def spearman(cosines: Floats, scores: Sequence[float]) -> float:
    """Return the rank correlation of cosines with the scores of pairs.

    Raises:
        DataError: there are fewer than two pairs, or one of the two sides is constant, so that there is no rank.
        MissingDependencyError: scipy is not installed.
    """
    if len(scores) < 2 or len(set(scores)) < 2 or np.ptp(cosines) == 0:
        raise DataError(
            f"Spearman's correlation of {len(scores)} scored pairs needs two or more of different scores and cosines; give "
            "more pairs, or evaluate on classes with --data and --index"
        )
    stats = import_scipy("stats", what="Spearman's correlation")
    return float(stats.spearmanr(cosines, scores).statistic)
