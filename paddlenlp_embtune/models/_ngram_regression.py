"""A logistic regression over hashed token n-grams, weighted by TF-IDF and by class, as one table that a network can look up."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.models._one_vs_rest import fit_one_vs_rest
from paddlenlp_embtune.models._softmax_regression import fit_softmax_regression, mirrored_penalty, sparse_matrices
from paddlenlp_embtune.utils.memory import require_memory

__all__ = ["CHECK_MODULUS", "MULTIPLIER", "fit_ngrams", "ngram_codes"]

MULTIPLIER = 7919
CHECK_MODULUS = 8_388_593
"""A prime below 2**23. The remainders of an n-gram's number by it and by the buckets tell n-grams apart, and it is exact in
float32."""
_INVERSE_REGULARIZATION = 4.0
_LEAST_SHARE = 0.01
_LEAST_RATIO = 1e-3
_MANY_ROWS = 1_000
_ROOM = 2
"""Buckets for each n-gram that is known, at least, where so many are allowed."""
_VECTORS_OF_SOLVER = 25  # L-BFGS keeps ten pairs of steps, and works on a few more


def fit_ngrams(
    ids: Sequence[Sequence[int]],
    labels: Sequence[int],
    *,
    class_weights: npt.NDArray[np.float32],
    row_weights: npt.NDArray[np.float32] | None = None,
    buckets: int,
    longest: int = 2,
    ratios: bool = True,
    checked: bool = False,
    answers: npt.NDArray[np.float32] | None = None,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Fit a logistic regression on hashed n-grams, with the features that TextCNN computes.

    From 1,000 rows on, n-grams that one text alone has are left out: they tell little of others, and crowd the buckets.

    Args:
        ids: N lists of token ids.
        labels: N class numbers below C; negative for a row without a label, which needs answers. (N, C) with 1 for each label
            of rows that may have several: then there is a regression for each label against the rest, without class weights.
        class_weights: (C,) float32, the weight of a labelled row by its class.
        row_weights: (N,) float32, of each row beside that of its class; None for 1. Document frequencies count rows.
        buckets: rows of the table; where it is checked the most, of which it takes a power of two with room for the n-grams.
        longest: tokens of the longest n-grams, 1 or more.
        checked: whether a bucket is for one n-gram alone, the most frequent one, and says which.
        ratios: whether an n-gram weighs by how far it leans to a class, beside its inverse document frequency.
        answers: (N, C) probabilities of a teacher, which rows without a label are fitted to.
    Shapes:
        returns: table (buckets, C + 1) float32 and bias (C,) float32. A row of the table is the weights of its n-gram times its
            scale, then its scale squared: inverse document frequency times log-count ratio; zero for n-grams that no row has.
            Where the table is checked, it is (buckets, C + 2), and ends with the check number of the n-gram.
    Raises:
        MissingDependencyError: scipy is not installed.
        RecipeError: there is no memory for so many buckets.
    Source:
        Salton and Buckley 1988, "Term-weighting approaches in automatic text retrieval", with the smoothed frequencies of
        scikit-learn's ``TfidfTransformer``
    """
    sparse = sparse_matrices()
    num_labels = len(class_weights)
    needed = 8 * min(buckets, longest * sum(map(len, ids))) * num_labels * _VECTORS_OF_SOLVER
    require_memory(needed, f"a regression over {buckets:,} buckets", "lower ngram_buckets", error=RecipeError)
    texts, numbers = _codes(ids, longest)
    if len(ids) >= _MANY_ROWS:
        texts, numbers = _frequent(texts, numbers)
    known, columns = np.unique(numbers, return_inverse=True)
    if checked:
        buckets = _rows_for(len(known), buckets)
        kept = _one_for_each_bucket(known, np.bincount(columns), buckets)
        texts, columns = texts[kept[columns]], (np.cumsum(kept) - 1)[columns[kept[columns]]]
        known = known[kept]
    used = known % (buckets - 1) + 1  # bucket 0 stays free for padding
    if not checked:
        used, columns = np.unique(used[columns], return_inverse=True)
    features = sparse.csr_matrix((np.ones(len(texts)), (texts, columns)), shape=(len(ids), len(used)))
    features.sum_duplicates()
    idf = np.log((1 + len(ids)) / (1 + np.bincount(features.indices, minlength=len(used)))) + 1
    numbers_of = np.asarray(labels)
    several = numbers_of.ndim == 2
    if several:
        rows, classes = np.nonzero(numbers_of)
        shares = np.ones(len(rows)) if row_weights is None else row_weights[rows].astype(np.float64)
    else:
        rows, classes, shares = _targets(numbers_of, class_weights, answers, row_weights)
    scale = idf * _log_count_ratios(features[rows], classes, shares) if ratios else idf
    lengths = np.sqrt(features @ np.square(scale) + 1e-6)
    features.data *= scale[features.indices] / np.repeat(lengths, np.diff(features.indptr))
    if several:
        penalty = 1 / _INVERSE_REGULARIZATION
        weights, bias = fit_one_vs_rest(features, numbers_of, penalty=penalty, row_weights=row_weights)
    else:
        weights, bias = _per_class(features[rows], classes, shares, num_labels)
    table = np.zeros((buckets, num_labels + 1 + checked), np.float32)
    table[used, :num_labels] = weights * scale[:, None]
    table[used, num_labels] = np.square(scale)
    if checked:
        table[used, -1] = known % CHECK_MODULUS
    return table, bias.astype(np.float32)


def _log_count_ratios(
    features: Any, classes: npt.NDArray[np.int64], shares: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """How far each n-gram leans to a class: the largest of its log-count ratios of a class to the others, (F,) above 0.

    Their mean square is 1. An n-gram that leans nowhere nearly vanishes, so the penalty falls on those that tell nothing.

    Args:
        features: (N, F) counts in CSR format.
        classes: (N,) class of each row.
        shares: (N,) weight of each row.
    Source:
        Wang and Manning 2012, "Baselines and Bigrams: Simple, Good Sentiment and Topic Classification", with presence for
        counts; the largest ratio in place of one for each class is ours, for the network looks up one vector length
    """
    found: npt.NDArray[np.float64] = np.zeros(features.shape[1])
    present = features.copy()
    present.data = np.ones_like(present.data)
    counts = [present[classes == label].T @ shares[classes == label] for label in np.unique(classes)]
    total = np.sum(counts, axis=0)
    for count in counts:
        inside, outside = count + 1, total - count + 1
        ratio = np.log(inside / inside.sum()) - np.log(outside / outside.sum())
        np.maximum(found, np.abs(ratio), out=found)
    np.maximum(found, _LEAST_RATIO, out=found)
    found /= np.sqrt(np.square(found).mean())
    return found


def _targets(
    labels: npt.NDArray[np.int64],
    class_weights: npt.NDArray[np.float32],
    answers: npt.NDArray[np.float32] | None,
    row_weights: npt.NDArray[np.float32] | None = None,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return rows, their classes and their weights: one for a labelled row, and for others one for each likely class."""
    labelled, others = np.flatnonzero(labels >= 0), np.flatnonzero(labels < 0)
    weights = class_weights[labels[labelled]].astype(np.float64)
    if row_weights is not None:
        weights = weights * row_weights[labelled]
    if answers is None or not len(others):
        return labelled, labels[labelled], weights
    told = answers[others].astype(np.float64)
    if row_weights is not None:
        told = told * row_weights[others, None]
    place, classes = np.nonzero(told >= _LEAST_SHARE)
    numbers = np.concatenate([labels[labelled], classes])
    return np.concatenate([labelled, others[place]]), numbers, np.concatenate([weights, told[place, classes]])


def ngram_codes(tokens: npt.NDArray[np.int64], longest: int) -> list[npt.NDArray[np.int64]]:
    """Return the number of the n-gram that begins at each place, for n from 1 to ``longest``: (L,), (L - 1,) and so on.

    A single token has the number of the pair that it makes with padding, as bundles of the first form have it.
    """
    found, codes = [tokens * MULTIPLIER], tokens
    for later in range(1, longest):
        codes = codes[:-1] * MULTIPLIER + tokens[later:]
        found.append(codes)
    return found


def _codes(ids: Sequence[Sequence[int]], longest: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the text and the number of every n-gram of all texts, (M,) each."""
    texts = np.repeat(np.arange(len(ids)), [len(row) for row in ids])
    tokens = np.fromiter(chain.from_iterable(ids), dtype=np.int64, count=len(texts))
    of_texts, numbers = [], []
    for later, codes in enumerate(ngram_codes(tokens, longest)):
        first = np.flatnonzero(texts[: len(codes)] == texts[later:])
        of_texts.append(texts[first])
        numbers.append(codes[first])
    return np.concatenate(of_texts), np.concatenate(numbers)


def _frequent(
    texts: npt.NDArray[np.int64], codes: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Leave out what only one text has."""
    known, places = np.unique(codes, return_inverse=True)
    first, last = np.full(len(known), len(codes)), np.full(len(known), -1)
    np.minimum.at(first, places, texts)
    np.maximum.at(last, places, texts)
    kept = (first < last)[places]
    return texts[kept], codes[kept]


def _rows_for(known: int, most: int) -> int:
    """Return the rows of a checked table for so many n-grams: a power of two with room, at most ``most``."""
    return min(most, max(2, 1 << (_ROOM * known - 1).bit_length()))


def _one_for_each_bucket(codes: npt.NDArray[np.int64], counts: npt.NDArray[np.int64], buckets: int) -> npt.NDArray[np.bool_]:
    """Return which n-grams keep their bucket, (F,): of those that share one, the most frequent."""
    order = np.lexsort((codes, -counts))
    _, first = np.unique(codes[order] % (buckets - 1), return_index=True)
    kept = np.zeros(len(codes), bool)
    kept[order[first]] = True
    return kept


def _per_class(
    features: Any, labels: npt.NDArray[np.int64], shares: npt.NDArray[np.float64], num_labels: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Fit the classes that have rows: weights (F, C) and bias (C,); a class without any is as unlikely as the unlikeliest."""
    present, numbers = np.unique(labels, return_inverse=True)
    penalty = mirrored_penalty(_INVERSE_REGULARIZATION, len(present))
    fitted, offsets = fit_softmax_regression(features, numbers, shares, num_labels=len(present), penalty=penalty)
    weights, bias = np.zeros((fitted.shape[0], num_labels)), np.full(num_labels, offsets.min())
    weights[:, present], bias[present] = fitted, offsets
    return weights, bias
