"""The regression on vectors, and how much each expert counts."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from paddlenlp_embtune.training._linear_experts import Rows, _folds, fit_linear_experts
from paddlenlp_embtune.training._opinion_pool import log_likelihoods, pool_weights
from paddlenlp_embtune.training._vector_regression import fit_vector_regression


@pytest.mark.parametrize("classes", [2, 3])
def test_the_regression_on_vectors_is_that_of_scikit_learn_on_scaled_ones(classes: int) -> None:
    generator = np.random.default_rng(classes)
    vectors = (generator.normal(size=(200, 5)) * [1, 10, 0.1, 3, 1] + 4).astype(np.float32)
    labels = (vectors[:, 0] + vectors[:, 3] > np.quantile(vectors[:, 0] + vectors[:, 3], 0.5)).astype(np.int64)
    labels[:20] = classes - 1
    weights, bias = fit_vector_regression(vectors, labels, np.ones(200), num_labels=classes, penalty=5.0)
    found = vectors @ weights + bias
    scaled = StandardScaler().fit_transform(vectors.astype(np.float64))
    # Of two classes, scikit-learn has one plane, which is penalized as two mirrored ones are at half.
    expected = LogisticRegression(C=1 / 5 if classes > 2 else 2 / 5, tol=1e-8, max_iter=5000).fit(scaled, labels)
    logits = expected.decision_function(scaled)
    ours = found[:, 1] - found[:, 0] if classes == 2 else found - found.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(ours, logits if classes == 2 else logits - logits.mean(axis=1, keepdims=True), atol=0.02)


def test_constant_vectors_one_class_and_classes_without_rows() -> None:
    constant = np.full((6, 3), 7.0, np.float32)
    weights, bias = fit_vector_regression(constant, np.array([0, 0, 0, 0, 1, 1]), np.ones(6), num_labels=3, penalty=1.0)
    assert not weights.any()
    assert bias[0] > bias[1] > bias[2]
    weights, bias = fit_vector_regression(constant, np.ones(6, np.int64), np.ones(6), num_labels=3, penalty=1.0)
    assert not weights.any()
    assert not bias.any()


def test_a_useless_expert_counts_for_nothing_and_a_good_one_for_as_much_as_it_is_sure() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 2000)
    good = np.eye(3)[labels] * 2 + generator.gumbel(size=(2000, 3))
    wrong = -good + generator.normal(size=(2000, 3))
    weights = pool_weights([good, wrong], labels)
    assert weights[1] < 0.05 < weights[0]
    assert log_likelihoods(good * 7, labels).mean() == pytest.approx(log_likelihoods(good, labels).mean(), abs=1e-6)
    np.testing.assert_array_equal(pool_weights([np.zeros((4, 2))] * 2, np.array([0, 1, 0, 1])), [0.5, 0.5])


def some_rows(counts: list[int], *, windows: int = 1) -> Rows:
    labels = np.repeat(np.repeat(np.arange(len(counts)), counts), windows)
    texts = np.repeat(np.arange(sum(counts)), windows)
    ones = np.ones(len(labels), np.float32)
    return Rows(labels=labels, texts=texts, weights=ones, class_weights=np.ones(len(counts), np.float32))


def test_folds_keep_windows_together_and_leave_each_label_of_two_texts_one_to_learn_from() -> None:
    rows = some_rows([2, 9, 30], windows=3)
    held_out: list[int] = []
    for known, held in list(_folds(rows, 0))[:5]:
        assert not set(rows.texts[known]) & set(rows.texts[held])
        assert set(rows.labels[known]) == {0, 1, 2}
        held_out += held.tolist()
    assert sorted(held_out) == list(range(len(rows.labels)))


def test_the_layer_that_tells_the_labels_is_chosen() -> None:
    rows = some_rows([150, 150])
    vectors = np.random.default_rng(0).normal(size=(300, 3, 4)).astype(np.float32)
    vectors[:, 1, 0] += 4 * rows.labels
    vectors[:, 2] *= 10
    fitted = fit_linear_experts(rows, vectors=vectors, layers=(5, 6, 7), characters=None, seed=0)
    assert fitted.layers == (6,)
    assert fitted.figures["out_of_fold"]["vectors"] > 0.95
