"""Figures, against counts made by hand."""

from __future__ import annotations

import pytest

from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.evaluation import classification_report

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
