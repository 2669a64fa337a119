"""The baseline of rows with several labels: TF-IDF of characters, and a logistic regression of each label against the rest."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.errors import MissingDependencyError
from paddlenlp_embtune.evaluation.baselines._character_ngrams import CharacterNgrams
from paddlenlp_embtune.evaluation.several_labels import best_threshold, several_labels_report

__all__ = ["NAME", "OneVsRestBaseline", "compare_several", "fit_several"]

NAME = "tfidf"
_FOLDS = 3
_RESAMPLES = 2000
_LEVEL = 0.05

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class OneVsRestBaseline:
    """TF-IDF of single characters and pairs, and a logistic regression with C = 4 for each label against the rest.

    Args:
        longest: characters of the longest n-grams, 1 to 3.
    """

    def __init__(self, longest: int = 2) -> None:
        self.features = CharacterNgrams(longest)
        self._classifiers: list[Any] = []

    def fit(self, texts: Sequence[str], truth: Ids) -> OneVsRestBaseline:
        """Learn from N texts and their labels, (N, C) of 0 and 1.

        Raises:
            MissingDependencyError: scikit-learn is not installed.
        """
        features = self.features.fit_transform(texts)
        self._classifiers = [_fitted(features, truth[:, label]) for label in range(truth.shape[1])]
        return self

    def scores(self, texts: Sequence[str]) -> Floats:
        """Return the probability of each label of N texts, (N, C)."""
        features = self.features.transform(texts)
        columns = [
            np.full(len(texts), each) if isinstance(each, float) else each.predict_proba(features)[:, 1]
            for each in self._classifiers
        ]
        return np.stack(columns, axis=1)


def _fitted(features: Any, labels: Ids) -> Any:
    """Return a fitted classifier, or the probability of a label that all rows have, or none."""
    if labels.min() == labels.max():
        return float(labels[0])
    try:
        linear = importlib.import_module("sklearn.linear_model")
    except ModuleNotFoundError:
        raise MissingDependencyError(
            'a baseline needs scikit-learn; install it with: pip install "paddlenlp-embtune[cpu]", or: pip install scikit-learn'
        ) from None
    return linear.LogisticRegression(C=4.0, solver="liblinear", max_iter=1000).fit(features, labels)


def fit_several(texts: Sequence[str], truth: Ids, dev_texts: Sequence[str], *, seed: int = 0) -> tuple[Ids, float, float]:
    """Fit the baseline and let it answer, from the threshold on that has the highest micro-F1 out of fold.

    Args:
        texts: N training texts.
        truth: (N, C) of 0 and 1.
        dev_texts: the M texts to answer.
        seed: of the folds.
    Returns:
        the answers, (M, C) of 0 and 1; the threshold; and the micro-F1 out of fold
    """
    fold_of = np.random.default_rng(seed).permutation(len(texts)) % _FOLDS
    held_out = np.zeros(truth.shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of scikit-learn, about few rows
        for fold in range(_FOLDS):
            inside, outside = (np.flatnonzero(chosen).tolist() for chosen in (fold_of != fold, fold_of == fold))
            fitted = OneVsRestBaseline().fit([texts[row] for row in inside], truth[inside])
            held_out[outside] = fitted.scores([texts[row] for row in outside])
        limit, f1 = best_threshold(held_out, truth)
        scores = OneVsRestBaseline().fit(texts, truth).scores(dev_texts)
    return (scores >= limit).astype(np.int64), limit, f1


def compare_several(
    name: str, seconds: float, truth: Ids, ours: Ids, theirs: Ids, labels: Sequence[str], *, chosen_on_them: bool
) -> dict[str, Any]:
    """Compare a model with its baseline on rows with several labels.

    Args:
        name: of the baseline.
        seconds: that it took.
        truth: (N, C) of 0 and 1.
        ours: what the baseline gives, (N, C).
        theirs: what the model gives, (N, C).
        labels: C names.
        chosen_on_them: whether the model was chosen on these rows, which favours it.
    Returns:
        what :func:`compare_with_baseline` does, with ``f1_micro`` among the figures
    Source:
        Berg-Kirkpatrick, Burkett and Klein 2012, "An Empirical Investigation of Statistical Significance in NLP", for the
        paired bootstrap
    """
    report = several_labels_report(truth, ours, labels)
    figures = {key: report[key] for key in ("accuracy", "f1_macro", "f1_micro")}
    model = several_labels_report(truth, theirs, labels)
    counts = np.stack([_counts(truth, each) for each in (ours, theirs)])  # (2, N, 2)
    drawn = np.random.default_rng(0).multinomial(len(truth), np.full(len(truth), 1 / len(truth)), size=_RESAMPLES)
    sums = np.einsum("rn,anc->rac", drawn.astype(np.float64), counts)
    f1 = sums[..., 0] / np.maximum(sums[..., 1], 1)
    differences = f1[:, 1] - f1[:, 0]
    value = model["f1_micro"] - figures["f1_micro"]
    p = float(min(1.0, 2 * min((differences <= 0).mean(), (differences >= 0).mean()) + 1 / _RESAMPLES))
    low, high = (float(each) for each in np.percentile(differences, (2.5, 97.5)))
    ahead = None if p >= _LEVEL else "model" if value > 0 else "baseline"
    first = {
        "model": f"the model is ahead of the baseline {name}",
        "baseline": f"the baseline {name} (fitted in {seconds:.1f} s) is ahead of the model",
        None: f"the difference between the model and the baseline {name} is within noise",
    }[ahead]
    favoured = "; weights and thresholds of the model were chosen on these rows, which favours it" if chosen_on_them else ""
    return {
        "name": name,
        "seconds": round(seconds, 2),
        **figures,
        "candidates": {name: figures},
        "difference": {"f1_micro": {"value": value, "interval": [low, high], "p": p}},
        "ahead": ahead,
        "summary": f"{first}: micro F1 {model['f1_micro']:.4f} against {figures['f1_micro']:.4f}, difference "
        f"{100 * value:+.2f} points (95% interval {100 * low:.2f} to {100 * high:.2f}), p = {p:.2g} on "
        f"{len(truth)} rows{favoured}",
    }


def _counts(truth: Ids, given: Ids) -> Floats:
    """Return of each row twice the labels that are right, and the sizes of both sets, (N, 2)."""
    columns = 2 * (truth * given).sum(axis=1), truth.sum(axis=1) + given.sum(axis=1)
    found: Floats = np.stack(columns, axis=1).astype(np.float64)
    return found
