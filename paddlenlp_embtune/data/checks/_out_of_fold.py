"""Probabilities of each row's label from a model that has not seen the row: TF-IDF and logistic regression, in folds."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.errors import MissingDependencyError
from paddlenlp_embtune.text import clean

__all__ = ["out_of_fold_probabilities"]

_FOLDS, _FOLDS_OF_MANY = 5, 2
_MOST_ROWS = 20_000
"""Rows that a fold is fitted on at most, which bounds the time; with twice as many, two folds are enough for that."""
_MOST_FEATURES = 30_000
_STEPS = 40  # of the solver; the order of the probabilities hardly changes after 20
_INVERSE_REGULARIZATION = 4.0


def out_of_fold_probabilities(
    texts: Sequence[str], classes: npt.NDArray[np.int64], groups: npt.NDArray[np.int64], *, seed: int
) -> npt.NDArray[np.float64]:
    """Fit a model on all folds but one, and let it answer that one.

    Args:
        texts: N texts.
        classes: (N,) int64 class numbers 0 to C - 1, each with two groups or more.
        groups: (N,) int64; rows with the same number stay in one fold.
        seed: of the folds.
    Shapes:
        returns: (N, C) float64
    Raises:
        MissingDependencyError: scikit-learn is not installed.
    """
    try:
        features: Any = importlib.import_module("sklearn.feature_extraction.text")
        linear: Any = importlib.import_module("sklearn.linear_model")
    except ModuleNotFoundError:
        raise MissingDependencyError(
            'suspected label errors need scikit-learn; install it with: pip install "paddlenlp-embtune[cpu]", or leave them '
            "out with --no-suspects"
        ) from None
    vectorizer = features.TfidfVectorizer(
        analyzer="char",
        ngram_range=(1, 2),
        min_df=2 if len(texts) > 100 else 1,
        max_features=_MOST_FEATURES,
        sublinear_tf=True,
        dtype=np.float32,
    )
    table = vectorizer.fit_transform([clean(text, lowercase=True) for text in texts])
    generator = np.random.default_rng(seed)
    count = _FOLDS if len(texts) < 2 * _MOST_ROWS else _FOLDS_OF_MANY
    folds = _folds(classes, groups, count, generator)
    found = np.zeros((len(texts), int(classes.max()) + 1))
    for fold in range(count):
        inside, outside = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        if not len(outside):
            continue
        if len(inside) > _MOST_ROWS:
            inside = np.sort(generator.choice(inside, _MOST_ROWS, replace=False))
        model = linear.LogisticRegression(C=_INVERSE_REGULARIZATION, max_iter=_STEPS, tol=1e-3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the solver, that it could take more steps
            model.fit(table[inside], classes[inside])
        found[outside[:, None], model.classes_[None]] = model.predict_proba(table[outside])
    return found


def _folds(
    classes: npt.NDArray[np.int64], groups: npt.NDArray[np.int64], count: int, generator: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Deal groups to folds, those of each class in turn, (N,) int64."""
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    order = np.lexsort((generator.permutation(len(first)), classes[first]))
    of_group = np.empty(len(first), dtype=np.int64)
    of_group[order] = np.arange(len(first)) % count
    found: npt.NDArray[np.int64] = of_group[inverse.reshape(-1)]
    return found
