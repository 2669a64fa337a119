"""A logistic regression over n-grams that has been fitted, fitted further to other rows as a change that costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.models._ngram_regression import (
    _INVERSE_REGULARIZATION,
    _MANY_ROWS,
    CHECK_MODULUS,
    MULTIPLIER,
    _codes,
    _frequent,
    _log_count_ratios,
    _one_for_each_bucket,
    _rows_for,
    _targets,
)
from paddlenlp_embtune.models._softmax_regression import fit_softmax_regression, mirrored_penalty, sparse_matrices

__all__ = ["aligned_table", "continue_ngrams", "with_more_labels"]

_KEPT = 0.8
"""What the former weights of n-grams that the new rows have count, before they change: chosen on development rows."""

Table = npt.NDArray[np.float32]
Weights = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]
AnyFloats = TypeVar("AnyFloats", Table, Weights)


def continue_ngrams(
    ids: Sequence[Sequence[int]],
    labels: Sequence[int],
    *,
    former: tuple[Table, Table],
    class_weights: npt.NDArray[np.float32],
    row_weights: npt.NDArray[np.float32] | None = None,
    buckets: int,
    vocabulary_size: int,
    longest: int = 2,
    ratios: bool = True,
    checked: bool = False,
    answers: npt.NDArray[np.float32] | None = None,
) -> tuple[Table, Table]:
    """Fit a regression to further rows by its change: the penalty falls on the squares of the change, not of the weights.

    An n-gram that the rows lack keeps its weights and its scale. One that they have is scaled by the geometric mean of its
    former scale and its scale in these rows, so that it counts for much where it tells much in both; its former weights, of
    which a fifth is dropped, add to the logits what they added, before these are divided by the length. Only the labels that
    the rows have change; of a label that the regression has not met, everything is new.

    A checked table grows where it has no room for the n-grams that are new. Of those whose bucket another one has, none counts.

    Args:
        ids: N lists of token ids.
        labels: N class numbers below C; negative for a row without a label, which needs answers.
        former: table and bias as :func:`fit_ngrams` returns them.
        class_weights: (C,) float32, as for :func:`fit_ngrams`, and so are the others.
        row_weights: (N,) float32, or None.
        buckets: most rows of a table that is checked.
        vocabulary_size: V, above every token id.
        longest: tokens of the longest n-grams.
        ratios: whether an n-gram weighs by how far it leans to a class.
        checked: whether a bucket says which n-gram it is for.
        answers: (N, C) probabilities of a teacher, or None.
    Shapes:
        returns: table (buckets, C + 1), or (buckets, C + 2) where it is checked, float32, and bias (C,) float32
    Raises:
        MissingDependencyError: scipy is not installed.
    Source:
        the penalty: Li, Grandvalet and Davoine 2018, "Explicit Inductive Bias for Transfer Learning with Convolutional
        Networks", equation 2; the scale is ours: on development rows, the larger of both, their mean square, the former and
        the new one forgot more or learnt less
    """
    sparse = sparse_matrices()
    table, bias = former[0].astype(np.float64), former[1].astype(np.float64)
    classes_known = len(bias)
    texts, codes = _codes(ids, longest)
    if checked:
        frequent = _frequent(texts, codes)[1] if len(ids) >= _MANY_ROWS else codes
        largest = 2 * vocabulary_size * MULTIPLIER ** max(1, longest - 1)
        table = _grown(table, np.unique(frequent), classes_known, most=buckets, largest=largest)
        texts, columns, known = _of_their_own_buckets(texts, codes, table, classes_known, many=len(ids) >= _MANY_ROWS)
        used = known % (len(table) - 1) + 1
        table[used, -1] = known % CHECK_MODULUS
    else:
        texts, columns, used = _known_or_frequent(texts, codes, table, many=len(ids) >= _MANY_ROWS)
    counts = sparse.csr_matrix((np.ones(len(texts)), (texts, columns)), shape=(len(ids), len(used)))
    counts.sum_duplicates()
    rows, classes, shares = _targets(np.asarray(labels), class_weights, answers, row_weights)
    scale = np.log((1 + len(ids)) / (1 + np.bincount(counts.indices, minlength=len(used)))) + 1
    if ratios:
        scale = scale * _log_count_ratios(counts[rows], classes, shares)
    former_scale = np.sqrt(table[used, classes_known])
    scale = np.where(former_scale > 0, np.sqrt(scale * former_scale), scale)
    present, numbers = np.unique(classes, return_inverse=True)
    if len(present) > 1:
        table[used, :classes_known] *= _KEPT
    lengths = np.sqrt(counts @ np.square(scale) + 1e-6)
    offsets = (counts @ table[used, :classes_known]) / lengths[:, None] + bias
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
    table[used, classes_known] = np.square(scale)
    return table.astype(np.float32), bias.astype(np.float32)


def _known_or_frequent(texts: Numbers, codes: Numbers, table: Weights, *, many: bool) -> tuple[Numbers, Numbers, Numbers]:
    """Return text and column of every n-gram that counts, (M,) each, and the bucket of each column.

    Of many rows, an n-gram that one alone has counts only if the table knows it.
    """
    buckets = codes % (len(table) - 1) + 1  # bucket 0 stays free for padding
    if many:
        kept = np.isin(codes, _frequent(texts, codes)[1]) | (table[buckets, -1] > 0)
        texts, buckets = texts[kept], buckets[kept]
    used, columns = np.unique(buckets, return_inverse=True)
    return texts, columns, used


def _of_their_own_buckets(
    texts: Numbers, codes: Numbers, table: Weights, classes: int, *, many: bool
) -> tuple[Numbers, Numbers, Numbers]:
    """Return text and column of every n-gram that a bucket is for, or can be, (M,) each, and the number of each column's.

    Of those that would share a free bucket, the most frequent one gets it.
    """
    known, columns = np.unique(codes, return_inverse=True)
    buckets = known % (len(table) - 1) + 1
    taken = table[buckets, classes] > 0
    kept = taken & (table[buckets, -1] == known % CHECK_MODULUS)
    free = ~taken
    if many:
        free &= np.isin(known, _frequent(texts, codes)[1])
    new = np.flatnonzero(free)
    kept[new] = _one_for_each_bucket(known[new], np.bincount(columns)[new], len(table))
    counts = kept[columns]
    return texts[counts], (np.cumsum(kept) - 1)[columns[counts]], known[kept]


def with_more_labels(table: Table, former: int, labels: int) -> Table:
    """Return a table with columns of zeros for new labels behind those of the former ones; scale and check stay behind all."""
    return np.concatenate([table[:, :former], np.zeros((len(table), labels - former), table.dtype), table[:, former:]], axis=1)


def aligned_table(former: Table, table: Table, labels: int) -> Table:
    """Lay a table out as the one that :func:`continue_ngrams` made of it, so that both can be averaged row by row.

    Args:
        former: (buckets, K + 1) or, where it is checked, (buckets, K + 2) float32, for K labels.
        table: (buckets, C + 1) or (buckets, C + 2) float32, perhaps of more buckets.
        labels: C.
    Shapes:
        returns: as ``table``, with its check numbers
    """
    checked = table.shape[1] == labels + 2
    found = with_more_labels(former, former.shape[1] - 1 - checked, labels)
    if checked:
        if len(found) < len(table):
            found = _relocated(found, len(table), labels)
        found[:, -1] = table[:, -1]
    return found


def _grown(table: Weights, codes: Numbers, classes: int, *, most: int, largest: int) -> Weights:
    """Return a checked table with room for further n-grams; one that is too small to tell its n-grams' numbers stays.

    Args:
        table: (buckets, C + 2).
        codes: numbers of the n-grams of the rows.
        classes: C.
        most: rows, at most.
        largest: above every number of an n-gram.
    """
    rows = _rows_for(len(np.union1d(_known_codes(table, classes)[1], codes)), most)
    if rows <= len(table) or largest > (len(table) - 1) * CHECK_MODULUS:
        return table
    return _relocated(table, rows, classes)


def _relocated(table: AnyFloats, rows: int, classes: int) -> AnyFloats:
    """Return a checked table of more rows; where two n-grams would share a bucket, the one with the larger scale stays."""
    used, known = _known_codes(table, classes)
    kept = _one_for_each_bucket(known, np.argsort(np.argsort(table[used, classes])), rows)
    found = np.zeros((rows, table.shape[1]), table.dtype)
    found[known[kept] % (rows - 1) + 1] = table[used[kept]]
    return found


def _known_codes(table: AnyFloats, classes: int) -> tuple[Numbers, Numbers]:
    """Return the buckets that a checked table uses and the numbers of their n-grams, (K,) each.

    Bucket and check number give the number by the Chinese remainder theorem, up to the product of both moduli.
    """
    modulus = len(table) - 1
    used = np.flatnonzero(table[:, classes] > 0)
    remainders, checks = used - 1, table[used, -1].astype(np.int64)
    return used, remainders + modulus * ((checks - remainders) * pow(modulus, -1, CHECK_MODULUS) % CHECK_MODULUS)
