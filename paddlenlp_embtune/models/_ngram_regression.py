"""A logistic regression over hashed token n-grams with TF-IDF weights, as one table that a network can look up."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.errors import MissingDependencyError, RecipeError
from paddlenlp_embtune.utils.memory import require_memory

__all__ = ["MULTIPLIER", "fit_ngrams"]

MULTIPLIER = 7919
_INVERSE_REGULARIZATION = 4.0
_MIN_TEXTS = 2
_LEAST_SHARE = 0.01
_VECTORS_OF_SOLVER = 25  # L-BFGS keeps ten pairs of steps, and works on a few more


def fit_ngrams(
    ids: Sequence[Sequence[int]],
    labels: Sequence[int],
    *,
    class_weights: npt.NDArray[np.float32],
    row_weights: npt.NDArray[np.float32] | None = None,
    buckets: int,
    answers: npt.NDArray[np.float32] | None = None,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Fit a logistic regression on the n-grams that two texts or more have, with the features that TextCNN computes.

    Args:
        ids: N lists of token ids.
        labels: N class numbers below C; negative for a row without a label, which needs answers.
        class_weights: (C,) float32, the weight of a labelled row by its class.
        row_weights: (N,) float32, of each row beside that of its class; None for 1. Document frequencies count rows.
        buckets: rows of the table.
        answers: (N, C) probabilities of a teacher, which rows without a label are fitted to.
    Shapes:
        returns: table (buckets, C + 1) float32 and bias (C,) float32. A row of the table is the weights of its n-gram times the
            inverse document frequency, then the inverse document frequency squared; zero for n-grams that no row has.
    Raises:
        MissingDependencyError: scikit-learn is not installed.
        RecipeError: there is no memory for so many buckets.
    Source:
        Salton and Buckley 1988, "Term-weighting approaches in automatic text retrieval", with the smoothed frequencies of
        scikit-learn's ``TfidfTransformer``
    """
    try:
        linear: Any = importlib.import_module("sklearn.linear_model")
        sparse: Any = importlib.import_module("scipy.sparse")
    except ModuleNotFoundError:
        raise MissingDependencyError(
            'training needs scikit-learn; install it with: pip install "paddlenlp-embtune[cpu]"'
        ) from None
    needed = 8 * buckets * len(class_weights) * _VECTORS_OF_SOLVER
    require_memory(needed, f"a regression over {buckets:,} buckets", "lower ngram_buckets", error=RecipeError)
    rows = _frequent([_codes(text) for text in ids])
    rows = [row % (buckets - 1) + 1 for row in rows]  # bucket 0 stays free for padding
    frequencies = np.zeros(buckets, dtype=np.float64)
    for row in rows:
        frequencies[np.unique(row)] += 1
    idf = np.where(frequencies > 0, np.log((1 + len(rows)) / (1 + frequencies)) + 1, 0.0)
    lengths = [np.sqrt(np.square(idf[row]).sum() + 1e-6) for row in rows]
    values = np.concatenate([idf[row] / length for row, length in zip(rows, lengths, strict=True)])
    ends = np.cumsum([0, *map(len, rows)])
    features = sparse.csr_matrix((values, np.concatenate(rows), ends), shape=(len(rows), buckets))
    features.sum_duplicates()
    model = linear.LogisticRegression(C=_INVERSE_REGULARIZATION, max_iter=2000)
    rows_of, numbers, shares = _targets(np.asarray(labels), class_weights, answers, row_weights)
    model.fit(features[rows_of], numbers, sample_weight=shares)
    weights, bias = _per_class(model, len(class_weights))
    table = np.concatenate([weights.T * idf[:, None], np.square(idf)[:, None]], axis=1)
    return table.astype(np.float32), bias.astype(np.float32)


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


def _codes(ids: Sequence[int]) -> npt.NDArray[np.int64]:
    """Numbers of the single tokens and of the neighbouring pairs of a text, (2 L - 1,); empty for an empty text."""
    tokens = np.asarray(ids, dtype=np.int64)
    codes: npt.NDArray[np.int64] = np.concatenate([tokens * MULTIPLIER, tokens[:-1] * MULTIPLIER + tokens[1:]])
    return codes


def _frequent(rows: list[npt.NDArray[np.int64]]) -> list[npt.NDArray[np.int64]]:
    """Leave out what only one text has: it tells nothing of others, and crowds the buckets."""
    codes, texts = np.unique(np.concatenate([np.unique(row) for row in rows]), return_counts=True)
    kept = codes[texts >= _MIN_TEXTS]
    return [row[np.isin(row, kept)] for row in rows]


def _per_class(model: Any, num_labels: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Weights (C, buckets) and bias (C,); two classes share one plane in scikit-learn, here each gets half of it."""
    if len(model.classes_) == 2:
        coefficients = np.concatenate([-model.coef_, model.coef_]) / 2
        intercepts = np.concatenate([-model.intercept_, model.intercept_]) / 2
    else:
        coefficients, intercepts = model.coef_, model.intercept_
    weights = np.zeros((num_labels, coefficients.shape[1]))
    bias = np.full(num_labels, intercepts.min())
    weights[model.classes_], bias[model.classes_] = coefficients, intercepts
    return weights, bias
