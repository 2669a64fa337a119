"""A regression on vectors as a linear head."""

from __future__ import annotations

import numpy as np
import pytest

from paddlenlp_embtune.models import fit_head

sklearn = pytest.importorskip("sklearn.linear_model")


def rows(number: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    labels = np.arange(number) % classes
    centres = generator.normal(size=(classes, 8))
    return (centres[labels] + generator.normal(0, 1.0, (number, 8)) + 3.0).astype(np.float32), labels


@pytest.mark.parametrize("classes", [2, 3])
def test_it_is_the_regression_of_scikit_learn(classes: int) -> None:
    vectors, labels = rows(60, classes)
    found = fit_head(vectors, labels, np.ones(60), num_labels=classes, inverse_regularization=0.1)
    scaled = vectors.astype(np.float64) - vectors.mean(axis=0)
    scaled /= np.sqrt(np.square(scaled).mean())
    expected = sklearn.LogisticRegression(C=0.1, max_iter=5000, tol=1e-10).fit(scaled, labels).predict_proba(scaled)
    logits = found(vectors)
    answers = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(answers, expected, atol=2e-3)


def test_the_penalty_is_chosen_out_of_fold() -> None:
    vectors, labels = rows(60, 3)
    noise = np.random.default_rng(1).permutation(labels)
    assert fit_head(vectors, noise, np.ones(60), num_labels=3).inverse_regularization <= 0.1
    found = fit_head(vectors, labels, np.ones(60), num_labels=3)
    assert found.inverse_regularization == 1.0
    assert found.out_of_fold is not None
    assert (found.out_of_fold.argmax(axis=1) == labels).mean() > 0.6
    again = fit_head(vectors, labels, np.ones(60), num_labels=3)
    np.testing.assert_array_equal(found.weight, again.weight)


def test_too_few_rows_take_the_usual_penalty() -> None:
    vectors, labels = rows(6, 3)
    found = fit_head(vectors, labels, np.ones(6), num_labels=3)
    assert (found.inverse_regularization, found.out_of_fold) == (0.1, None)
