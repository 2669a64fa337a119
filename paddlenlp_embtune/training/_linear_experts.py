"""Regressions on sentence vectors and on n-grams: their settings and weights chosen out of fold, then fitted on all rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.models import fit_character_ngrams, ngram_logits
from paddlenlp_embtune.training._opinion_pool import log_likelihoods, pool_weights, pooled
from paddlenlp_embtune.training._vector_regression import PENALTIES, fit_vector_regression

__all__ = ["LinearExperts", "Rows", "fit_linear_experts"]

_FOLDS = 5
_FEW_ROWS, _REPEATS = 1000, 3
_ROWS_OF_CHOICE = 2000
_TOLERANCE_OF_CHOICE = 1e-4
_ROWS_OF_WEIGHTS = 20_000

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Labelled rows, each a text or a window of one.

    Args:
        labels: (N,) class numbers.
        texts: (N,) number of the text that a row belongs to, ascending.
        weights: (N,) of each row beside that of its class.
        class_weights: (C,) float32.
    """

    labels: Ids
    texts: Ids
    weights: npt.NDArray[np.float32]
    class_weights: npt.NDArray[np.float32]

    def take(self, rows: Ids) -> Rows:
        """Return some of the rows."""
        return dataclasses.replace(self, labels=self.labels[rows], texts=self.texts[rows], weights=self.weights[rows])


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LinearExperts:
    """What was fitted.

    Args:
        weights: how much each expert counts, by name.
        layers: those whose means the regression reads; empty without one.
        penalty: of its weights; None without one.
        vectors: weights (H, C) and bias (C,) of the regression on vectors; None without one.
        ngrams: table and bias of the one over n-grams; None without one.
        figures: accuracy out of fold of each expert and of all together.
    """

    weights: Mapping[str, float]
    layers: tuple[int, ...]
    penalty: float | None
    vectors: tuple[Floats, Floats] | None
    ngrams: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None
    figures: Mapping[str, Any]


def fit_linear_experts(
    rows: Rows,
    *,
    vectors: npt.NDArray[np.float32] | None,
    layers: Sequence[int],
    characters: Sequence[Sequence[int]] | None,
    seed: int,
) -> LinearExperts:
    """Choose layers and penalty by likelihood out of fold, weigh the two regressions, and fit both on all rows.

    Args:
        rows: what they learn from.
        vectors: (N, layers, H) means above each of ``layers``; None for no regression on vectors.
        layers: numbers of the layers, ascending.
        characters: N lists of characters; None for no regression on n-grams.
        seed: of the folds.
    """
    held_out: dict[str, npt.NDArray[Any]] = {}
    sample = _sample(rows, _ROWS_OF_WEIGHTS, seed)
    part = rows.take(sample)
    folds = list(_folds(part, seed))
    places = np.concatenate([held for _, held in folds])
    chosen: tuple[int, ...] = ()
    penalty, fitted, ngrams = None, None, None
    if vectors is not None:
        chosen, penalty = _choose(rows, vectors, layers, seed)
        read = _read(vectors, layers, chosen)
        known = read[sample]
        held_out["vectors"] = np.concatenate([_vector_answers(part, known, *fold, penalty)[0] for fold in folds])
        fitted = _fit_vectors(rows, read, penalty)
    if characters is not None:
        texts = [characters[row] for row in sample]
        held_out["ngrams"] = np.concatenate([_ngram_answers(part, texts, *fold) for fold in folds])
        ngrams = _fit_ngrams(rows, characters)
    truth = part.labels[places]
    names = list(held_out)
    weights = pool_weights([held_out[name] for name in names], truth) if names else np.zeros(0)
    figures = {name: _accuracy(held_out[name], truth) for name in names}
    if len(names) > 1:
        figures["together"] = _accuracy(pooled([held_out[name] for name in names], weights), truth)
    return LinearExperts(
        weights=dict(zip(names, weights.tolist(), strict=True)),
        layers=chosen,
        penalty=penalty,
        vectors=fitted,
        ngrams=ngrams,
        figures={"rows": len(np.unique(part.texts)), "out_of_fold": figures},
    )


def _choose(rows: Rows, vectors: npt.NDArray[np.float32], layers: Sequence[int], seed: int) -> tuple[tuple[int, ...], float]:
    """Return the layers and the penalty whose answers out of fold make the labels most likely.

    The second highest layer stays unless others are better by more than a standard error: for few rows the differences are
    mostly noise, and the highest layer is the one that is shaped most by what the encoder was trained for.

    Source:
        Breiman et al. 1984, "Classification and Regression Trees", section 3.4.3: the rule of one standard error
    """
    sample = _sample(rows, _ROWS_OF_CHOICE, seed)
    part, known = rows.take(sample), vectors[sample]
    folds = list(_folds(part, seed))
    truth = part.labels[np.concatenate([held for _, held in folds])]
    usual = (layers[max(0, len(layers) - 2)],)
    found = {
        candidate: _best_penalty(part, _read(known, layers, candidate), folds, truth)
        for candidate in dict.fromkeys([usual, (layers[-1],), tuple(layers)])
    }
    best = max(found, key=lambda candidate: float(found[candidate][1].mean()))
    gain = found[best][1] - found[usual][1]
    chosen = best if gain.mean() > gain.std() / np.sqrt(len(np.unique(part.texts))) else usual
    return chosen, found[chosen][0]


def _best_penalty(
    rows: Rows, vectors: npt.NDArray[np.float32], folds: Sequence[tuple[Ids, Ids]], truth: Ids
) -> tuple[float, Floats]:
    """Return the penalty that makes the labels of held-out rows most likely, and their log-likelihoods."""
    best, penalty_of_best = np.full(len(truth), -np.inf), PENALTIES[0]
    starts: list[tuple[Floats, Floats] | None] = [None] * len(folds)
    for penalty in PENALTIES:
        fits = [
            _vector_answers(rows, vectors, *fold, penalty, start=start, tolerance=_TOLERANCE_OF_CHOICE)
            for fold, start in zip(folds, starts, strict=True)
        ]
        starts = [fitted for _, fitted in fits]
        found = log_likelihoods(np.concatenate([answers for answers, _ in fits]), truth)
        if found.mean() < best.mean():  # weaker ones are worse still
            break
        best, penalty_of_best = found, penalty
    return penalty_of_best, best


def _read(vectors: npt.NDArray[np.float32], layers: Sequence[int], chosen: Sequence[int]) -> npt.NDArray[np.float32]:
    """Average the means above the chosen layers, (N, layers, H) to (N, H), as the network does."""
    found: npt.NDArray[np.float32] = vectors[:, [list(layers).index(layer) for layer in chosen]].mean(axis=1)
    return found


def _sample(rows: Rows, most: int, seed: int) -> Ids:
    """Return the numbers of all rows, or of those of so many texts, ascending."""
    texts = np.unique(rows.texts)
    if len(texts) <= most:
        return np.arange(len(rows.labels))
    drawn = np.random.default_rng(seed).choice(texts, most, replace=False)
    return np.flatnonzero(np.isin(rows.texts, drawn))


def _folds(rows: Rows, seed: int) -> Iterator[tuple[Ids, Ids]]:
    """Yield the rows to learn from and those that are held out, several times for few rows.

    Each label's texts are dealt to the folds in turn, so that a label of two texts or more is never without one to learn from;
    windows of a text stay together.
    """
    texts, first = np.unique(rows.texts, return_index=True)
    labels = rows.labels[first]
    for repeat in range(_REPEATS if len(texts) < _FEW_ROWS else 1):
        generator, fold_of, dealt = np.random.default_rng((seed, repeat)), np.zeros(len(texts), np.int64), 0
        for label in np.unique(labels):
            mine = generator.permutation(np.flatnonzero(labels == label))
            fold_of[mine] = (dealt + np.arange(len(mine))) % _FOLDS
            dealt += len(mine)
        fold_of_row = fold_of[np.searchsorted(texts, rows.texts)]
        for fold in range(_FOLDS):
            held = np.flatnonzero(fold_of_row == fold)
            if 0 < len(held) < len(rows.texts):
                yield np.flatnonzero(fold_of_row != fold), held


def _vector_answers(
    rows: Rows, vectors: npt.NDArray[np.float32], known: Ids, held: Ids, penalty: float, **options: Any
) -> tuple[Floats, tuple[Floats, Floats]]:
    """Return the logits of held-out rows, (R, C), and what gave them."""
    fitted = _fit_vectors(rows.take(known), vectors[known], penalty, **options)
    return vectors[held] @ fitted[0] + fitted[1], fitted


def _fit_vectors(rows: Rows, vectors: npt.NDArray[np.float32], penalty: float, **options: Any) -> tuple[Floats, Floats]:
    weights = rows.class_weights[rows.labels].astype(np.float64) * rows.weights
    return fit_vector_regression(vectors, rows.labels, weights, num_labels=len(rows.class_weights), penalty=penalty, **options)


def _ngram_answers(rows: Rows, characters: Sequence[Sequence[int]], known: Ids, held: Ids) -> npt.NDArray[np.float32]:
    """Return the logits of held-out rows, (R, C)."""
    fitted = _fit_ngrams(rows.take(known), [characters[row] for row in known])
    return ngram_logits([characters[row] for row in held], *fitted)


def _fit_ngrams(rows: Rows, characters: Sequence[Sequence[int]]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    return fit_character_ngrams(characters, rows.labels, class_weights=rows.class_weights, row_weights=rows.weights)


def _accuracy(logits: npt.NDArray[Any], truth: Ids) -> float:
    return round(float((logits.argmax(axis=1) == truth).mean()), 4)
