"""A logistic regression over n-grams that has been fitted, fitted further to other rows as a change that costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.models._ngram_regression import (
    _INVERSE_REGULARIZATION,
    _MANY_ROWS,
    _codes,
    _frequent,
    _log_count_ratios,
    _targets,
)
from paddlenlp_embtune.models._softmax_regression import fit_softmax_regression, mirrored_penalty, sparse_matrices

__all__ = ["continue_ngrams"]

_KEPT = 0.8
"""What the former weights of n-grams that the new rows have count, before they change: chosen on development rows."""

Table = npt.NDArray[np.float32]


def continue_ngrams(
    ids: Sequence[Sequence[int]],
    labels: Sequence[int],
    *,
    former: tuple[Table, Table],
    class_weights: npt.NDArray[np.float32],
    row_weights: npt.NDArray[np.float32] | None = None,
    longest: int = 2,
    ratios: bool = True,
    answers: npt.NDArray[np.float32] | None = None,
) -> tuple[Table, Table]:
    """Fit a regression to further rows by its change: the penalty falls on the squares of the change, not of the weights.

    An n-gram that the rows lack keeps its weights and its scale. One that they have is scaled by the geometric mean of its
    former scale and its scale in these rows, so that it counts for much where it tells much in both; its former weights, of
    which a fifth is dropped, add to the logits what they added, before these are divided by the length. Only the labels that
    the rows have change; of a label that the regression has not met, everything is new.

    Args:
        ids: N lists of token ids.
        labels: N class numbers below C; negative for a row without a label, which needs answers.
        former: table and bias as :func:`fit_ngrams` returns them.
        class_weights: (C,) float32, as for :func:`fit_ngrams`, and so are the others.
        row_weights: (N,) float32, or None.
        longest: tokens of the longest n-grams.
        ratios: whether an n-gram weighs by how far it leans to a class.
        answers: (N, C) probabilities of a teacher, or None.
    Shapes:
        returns: table (buckets, C + 1) float32 and bias (C,) float32
    Raises:
        MissingDependencyError: scipy is not installed.
    Source:
        the penalty: Li, Grandvalet and Davoine 2018, "Explicit Inductive Bias for Transfer Learning with Convolutional
        Networks", equation 2; the scale is ours: on development rows, the larger of both, their mean square, the former and
        the new one forgot more or learnt less
    """
    sparse = sparse_matrices()
    table, bias = former[0].astype(np.float64), former[1].astype(np.float64)
    texts, columns, used = _known_or_frequent(ids, longest, table)
    counts = sparse.csr_matrix((np.ones(len(texts)), (texts, columns)), shape=(len(ids), len(used)))
    counts.sum_duplicates()
    rows, classes, shares = _targets(np.asarray(labels), class_weights, answers, row_weights)
    scale = np.log((1 + len(ids)) / (1 + np.bincount(counts.indices, minlength=len(used)))) + 1
    if ratios:
        scale = scale * _log_count_ratios(counts[rows], classes, shares)
    former_scale = np.sqrt(table[used, -1])
    scale = np.where(former_scale > 0, np.sqrt(scale * former_scale), scale)
    present, numbers = np.unique(classes, return_inverse=True)
    if len(present) > 1:
        table[used, :-1] *= _KEPT
    lengths = np.sqrt(counts @ np.square(scale) + 1e-6)
    offsets = (counts @ table[used, :-1]) / lengths[:, None] + bias
    features = counts.copy()
    features.data *= scale[features.indices] / np.repeat(lengths, np.diff(features.indptr))
    if len(present) > 1:
        change, shift = fit_softmax_regression(
            features[rows],
            numbers,
            shares,
            num_labels=len(present),
            penalty=mirrored_penalty(_INVERSE_REGULARIZATION, len(present)),
            offsets=offsets[rows][:, present],
        )
        table[np.ix_(used, present)] += change * scale[:, None]
        bias[present] += shift
    table[used, -1] = np.square(scale)
    return table.astype(np.float32), bias.astype(np.float32)


def _known_or_frequent(
    ids: Sequence[Sequence[int]], longest: int, table: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[Any]]:
    """Return text and column of every n-gram that counts, (M,) each, and the bucket of each column.

    Of many rows, an n-gram that one alone has counts only if the table knows it.
    """
    texts, codes = _codes(ids, longest)
    buckets = codes % (len(table) - 1) + 1  # bucket 0 stays free for padding
    if len(ids) >= _MANY_ROWS:
        frequent = np.unique(_frequent(texts, codes)[1])
        kept = np.isin(codes, frequent) | (table[buckets, -1] > 0)
        texts, buckets = texts[kept], buckets[kept]
    used, columns = np.unique(buckets, return_inverse=True)
    return texts, columns, used
