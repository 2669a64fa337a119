"""Figures, against counts made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.evaluation import agreement, classification_report

LABELS = ("bad", "so-so", "good")


def test_figures_are_those_of_the_confusion_matrix() -> None:
    report = classification_report([0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 2, 2], LABELS)
    assert report["confusion"] == [[2, 1, 0], [0, 1, 1], [0, 0, 1]]
    assert report["accuracy"] == pytest.approx(4 / 6)
    assert report["per_class"]["bad"] == {
        "precision": 1.0,
        "recall": pytest.approx(2 / 3),
        "f1": pytest.approx(0.8),
        "support": 3,
    }
    assert report["f1_macro"] == pytest.approx((0.8 + 0.5 + 2 / 3) / 3)
    assert report["n"] == 6


def test_a_class_that_never_occurs_counts_as_zero() -> None:
    assert classification_report([0, 1], [0, 1], LABELS)["f1_macro"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(("truth", "predicted"), [([], []), ([0], [0, 1])])
def test_nothing_to_compare_is_refused(truth: list[int], predicted: list[int]) -> None:
    with pytest.raises(DataError, match="as many of each"):
        classification_report(truth, predicted, LABELS)


@pytest.mark.parametrize("num_labels", [2, 3, 7])
@pytest.mark.parametrize("absent", [False, True])
def test_the_report_is_that_of_scikit_learn(num_labels: int, absent: bool) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(num_labels)
    truth, predicted = generator.integers(0, num_labels, (2, 150))
    numbers = list(range(num_labels + 2 * absent))  # the last two are neither there nor predicted
    report = classification_report(truth.tolist(), predicted.tolist(), [str(number) for number in numbers])
    reference = metrics.classification_report(truth, predicted, labels=numbers, output_dict=True, zero_division=0.0)
    for number in numbers:
        theirs, ours = reference[str(number)], report["per_class"][str(number)]
        assert (ours["precision"], ours["recall"], ours["f1"], ours["support"]) == pytest.approx(
            (theirs["precision"], theirs["recall"], theirs["f1-score"], theirs["support"]), abs=1e-15
        )
    assert report["f1_macro"] == pytest.approx(reference["macro avg"]["f1-score"], abs=1e-15)
    assert report["f1_weighted"] == pytest.approx(reference["weighted avg"]["f1-score"], abs=1e-15)
    assert report["accuracy"] == metrics.accuracy_score(truth, predicted)
    assert report["confusion"] == metrics.confusion_matrix(truth, predicted, labels=numbers).tolist()


@pytest.mark.parametrize("num_labels", [2, 3, 7])
@pytest.mark.parametrize("noise", [0.0, 0.3, 1.0])
def test_kappa_is_that_of_scikit_learn(num_labels: int, noise: float) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(num_labels)
    truth = generator.integers(0, num_labels, 200)
    drawn = generator.integers(0, num_labels, 200)
    predicted = np.where(generator.random(200) < noise, drawn, truth)
    found = agreement(truth.tolist(), predicted.tolist(), num_labels)
    assert found["kappa"] == pytest.approx(metrics.cohen_kappa_score(truth, predicted), abs=1e-9)
    assert found["largest_predicted_share"] == pytest.approx(np.bincount(predicted).max() / 200)


def test_agreement_by_chance_is_about_standard_normal() -> None:
    generator = np.random.default_rng(0)
    truth = generator.choice(4, 300, p=[0.5, 0.3, 0.15, 0.05])
    predicted = generator.choice(4, 300, p=[0.6, 0.2, 0.15, 0.05])
    found = np.array([agreement(generator.permutation(truth), predicted, 4)["agreement_z"] for _ in range(2000)])
    assert abs(found.mean()) < 0.1
    assert 0.93 < found.std() < 1.07
    assert 0.92 < np.mean(np.abs(found) < 1.96) < 0.98


def test_agreement_that_is_there_stands_out_and_one_sided_predictions_agree_with_nothing() -> None:
    truth = [0, 1, 2] * 20
    assert agreement(truth, truth, 3)["agreement_z"] > 8
    assert agreement(truth, [0] * 60, 3) == {"kappa": 0.0, "largest_predicted_share": 1.0, "agreement_z": 0.0}
    assert agreement([0] * 60, [0] * 60, 3)["kappa"] == 0.0


def test_too_few_rows_have_no_standard_error() -> None:
    assert "agreement_z" not in agreement([0, 1] * 24 + [0], [0, 1] * 24 + [0], 2)
    assert "agreement_z" in agreement([0, 1] * 25, [0, 1] * 25, 2)
