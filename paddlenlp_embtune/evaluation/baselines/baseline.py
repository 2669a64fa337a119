"""Baselines by name, and answers to rows that they were not fitted on."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.config import BASELINES
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.evaluation._significance import macro_f1
from paddlenlp_embtune.evaluation.baselines._fasttext import FasttextBaseline
from paddlenlp_embtune.evaluation.baselines._tfidf import TfidfBaseline, linear_svm, logistic_regression
from paddlenlp_embtune.utils.schema import require_name

__all__ = ["Baseline", "build_baseline", "out_of_fold_f1", "predict_labels"]

_FOLDS = 3
_ENOUGH_ROWS = 2000


class Baseline(Protocol):
    """A classifier that needs no embedding."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels that it was fitted on, sorted: the columns of the scores."""

    @property
    def size_bytes(self) -> int:
        """The bytes of what it has learned."""

    def fit(self, texts: Sequence[str], labels: Sequence[str]) -> Baseline:
        """Learn from N texts and their labels, two different ones at least."""

    def scores(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """Return (N, C) float64; the largest of a row decides."""


def build_baseline(name: str, texts: Sequence[str] = (), labels: Sequence[str] = (), *, seed: int = 0) -> Baseline:
    """Build a baseline that has not been fitted.

    Args:
        name: one of ``config.BASELINES``.
        texts: the training texts, on which fastText chooses characters or words out of fold; without any, characters.
        labels: their labels.
        seed: seeds what is random in it.
    Raises:
        RecipeError: there is no such baseline.
        MissingDependencyError: its package is not installed.
    """
    require_name("baseline", name, BASELINES, error=RecipeError)
    if name == "tfidf":
        return TfidfBaseline(2, lambda: logistic_regression(seed=seed))
    if name == "tfidf-svm":
        return TfidfBaseline(3, lambda: linear_svm(seed=seed))
    if not texts:
        return FasttextBaseline(seed=seed)
    scores = {
        kind: out_of_fold_f1(functools.partial(FasttextBaseline, kind, seed=seed), texts, labels, seed=seed)
        for kind in ("char", "word")
    }
    return FasttextBaseline(max(scores, key=scores.__getitem__), seed=seed)


def predict_labels(baseline: Baseline, texts: Sequence[str]) -> list[str]:
    """Return the label of each text."""
    return [baseline.classes[index] for index in baseline.scores(texts).argmax(axis=1)]


def out_of_fold_f1(build: Callable[[], Baseline], texts: Sequence[str], labels: Sequence[str], *, seed: int = 0) -> float:
    """Return the macro-F1 of a baseline on rows that it was not fitted on, by three folds, stratified by label.

    Folds are fitted until 2,000 rows have been answered, which tells two baselines apart as well as all would.

    Args:
        build: makes a baseline that has not been fitted.
        texts: N texts.
        labels: their labels.
        seed: seeds the folds.
    """
    names, numbers = np.unique(np.asarray(labels, dtype=object), return_inverse=True)
    folds = _stratified_folds(numbers, seed=seed)
    answered = np.full(len(numbers), -1)
    for fold in range(_FOLDS):
        inside, outside = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        if len(set(numbers[inside].tolist())) < 2 or not len(outside):
            continue
        learned = inside.tolist()
        fitted = build().fit([texts[row] for row in learned], [labels[row] for row in learned])
        answers = predict_labels(fitted, [texts[row] for row in outside.tolist()])
        answered[outside] = np.searchsorted(names, np.asarray(answers, dtype=object))
        if np.count_nonzero(answered >= 0) >= _ENOUGH_ROWS:
            break
    known = answered >= 0
    return macro_f1(numbers[known], answered[known], len(names))


def _stratified_folds(numbers: npt.NDArray[np.int64], *, seed: int) -> npt.NDArray[np.int64]:
    """Return the fold of each row, (N,): rows of a label are dealt out in turn, shuffled."""
    generator = np.random.default_rng(seed)
    folds = np.empty(len(numbers), dtype=np.int64)
    order = generator.permutation(len(numbers))
    folds[order[np.argsort(numbers[order], kind="stable")]] = np.arange(len(numbers)) % _FOLDS
    return folds
