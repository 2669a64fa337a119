"""TF-IDF of characters with a linear classifier: logistic regression or a linear SVM."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.errors import MissingDependencyError
from paddlenlp_embtune.evaluation.baselines._character_ngrams import CharacterNgrams

__all__ = ["TfidfBaseline", "linear_svm", "logistic_regression"]


class TfidfBaseline:
    """TF-IDF of character n-grams and a linear classifier.

    Args:
        longest: characters of the longest n-grams, 1 to 3.
        classifier: makes the classifier, one of scikit-learn's.
    """

    def __init__(self, longest: int, classifier: Callable[[], Any]) -> None:
        self.features = CharacterNgrams(longest)
        self._classifier = classifier()

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels, sorted: the columns of the scores."""
        return tuple(map(str, self._classifier.classes_))

    @property
    def size_bytes(self) -> int:
        """The bytes of the n-grams, their weights, and the classifier's coefficients."""
        return self.features.size_bytes + int(self._classifier.coef_.nbytes)

    def fit(self, texts: Sequence[str], labels: Sequence[str]) -> TfidfBaseline:
        """Learn from N texts and their labels, two different ones at least."""
        self._classifier.fit(self.features.fit_transform(texts), np.asarray(labels, dtype=object))
        return self

    def scores(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """Return (N, C) float64: probabilities of a logistic regression, signed distances of an SVM; the largest decides."""
        features = self.features.transform(texts)
        if hasattr(self._classifier, "predict_proba"):
            probabilities: npt.NDArray[np.float64] = self._classifier.predict_proba(features)
            return probabilities
        distances: npt.NDArray[np.float64] = self._classifier.decision_function(features)
        return np.stack([-distances, distances], axis=1) if distances.ndim == 1 else distances


def logistic_regression(*, seed: int = 0) -> Any:
    """Return a multinomial logistic regression with C = 4.

    Raises:
        MissingDependencyError: scikit-learn is not installed.
    Source:
        SAGA (Defazio et al. 2014) reaches the answers of L-BFGS on sparse features in a tenth of its time
    """
    return _sklearn("linear_model").LogisticRegression(C=4.0, solver="saga", tol=1e-3, max_iter=1000, random_state=seed)


def linear_svm(*, seed: int = 0) -> Any:
    """Return a linear support vector machine with C = 1, one class against the rest.

    Raises:
        MissingDependencyError: scikit-learn is not installed.
    """
    return _sklearn("svm").LinearSVC(C=1.0, max_iter=5000, random_state=seed)


def _sklearn(part: str) -> Any:
    try:
        return importlib.import_module(f"sklearn.{part}")
    except ModuleNotFoundError:
        raise MissingDependencyError(
            'a baseline needs scikit-learn; install it with: pip install "paddlenlp-embtune[cpu]", or: pip install scikit-learn'
        ) from None
