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

__all__ = ["Baseline", "build_baseline", "out_of_fold_f1", "out_of_fold_scores", "predict_labels"]

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
    scores = out_of_fold_scores(build, texts, labels, folds=_FOLDS, enough_rows=_ENOUGH_ROWS, seed=seed)
    known = ~np.isnan(scores[:, 0])
    return macro_f1(numbers[known], scores[known].argmax(axis=1), len(names))


def out_of_fold_scores(
    build: Callable[[], Baseline],
    texts: Sequence[str],
    labels: Sequence[str],
    *,
    folds: int,
    groups: npt.NDArray[np.int64] | None = None,
    most_rows: int | None = None,
    enough_rows: int | None = None,
    seed: int = 0,
) -> npt.NDArray[np.float64]:
    """Fit a baseline on all folds but one and let it answer that one, for each fold in turn.

    Args:
        build: makes a baseline that has not been fitted.
        texts: N texts.
        labels: their labels, C different ones.
        folds: how many, stratified by label.
        groups: (N,); rows with the same number stay in one fold. None keeps none together.
        most_rows: rows that are learned from at most, drawn from the folds; None for all.
        enough_rows: stop when so many rows have been answered; None for all.
        seed: seeds the folds.
    Shapes:
        returns: (N, C) float64, columns by sorted label; NaN for a row that was not answered, minus infinity for a label that
            its fold had not learned
    """
    names, numbers = np.unique(np.asarray(labels, dtype=object), return_inverse=True)
    generator = np.random.default_rng(seed)
    fold_of = _stratified_folds(numbers, np.arange(len(numbers)) if groups is None else groups, folds, generator)
    found = np.full((len(numbers), len(names)), np.nan)
    for fold in range(folds):
        inside, outside = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        if len(set(numbers[inside].tolist())) < 2 or not len(outside):
            continue
        if most_rows is not None and len(inside) > most_rows:
            inside = np.sort(generator.choice(inside, most_rows, replace=False))
        learned = inside.tolist()
        fitted = build().fit([texts[row] for row in learned], [labels[row] for row in learned])
        found[outside] = -np.inf
        columns = np.searchsorted(names, np.asarray(fitted.classes, dtype=object))
        found[outside[:, None], columns[None]] = fitted.scores([texts[row] for row in outside.tolist()])
        if enough_rows is not None and np.count_nonzero(~np.isnan(found[:, 0])) >= enough_rows:
            break
    return found


def _stratified_folds(
    numbers: npt.NDArray[np.int64], groups: npt.NDArray[np.int64], count: int, generator: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Return the fold of each row, (N,): groups are dealt out in turn, those of each label shuffled."""
    _, first, group_of = np.unique(groups, return_index=True, return_inverse=True)
    order = generator.permutation(len(first))
    folds = np.empty(len(first), dtype=np.int64)
    folds[order[np.argsort(numbers[first][order], kind="stable")]] = np.arange(len(first)) % count
    dealt: npt.NDArray[np.int64] = folds[group_of.reshape(-1)]
    return dealt
