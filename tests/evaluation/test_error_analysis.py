"""Figures from probabilities, against counts made by hand and against scikit-learn."""

from __future__ import annotations

import json

import numpy as np
import pytest

from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.evaluation import classification_report
from paddlenlp_embtune.evaluation.error_analysis import analyze_predictions

LABELS = ("bad", "so-so", "good")
SHARES = [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.9, 0.05, 0.05], [0.35, 0.34, 0.31], [0.2, 0.2, 0.6]]
TRUTH = [0, 1, 2, 1, 2]
TEXTS = ["a", "b", "c", "d", "e"]


def random_case(rows: int, classes: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[str], list[str]]:
    generator = np.random.default_rng(seed)
    shares = generator.dirichlet(np.full(classes, 0.4), size=rows)
    return shares, generator.integers(classes, size=rows), [f"c{n}" for n in range(classes)], ["x"] * rows


def test_figures_by_hand() -> None:
    found = analyze_predictions(SHARES, TRUTH, LABELS, TEXTS, bins=5)
    assert found["confusion"] == [[1, 0, 0], [1, 1, 0], [1, 0, 1]]
    assert found["accuracy"] == pytest.approx(0.6)
    assert found["per_class"]["bad"] == {
        "precision": pytest.approx(1 / 3),
        "recall": 1.0,
        "f1": 0.5,
        "support": 1,
        "predicted": 3,
    }
    squares = [0.09 + 0.04 + 0.01, 0.01 + 0.04 + 0.01, 0.81 + 0.0025 + 0.9025, 0.1225 + 0.4356 + 0.0961, 0.04 + 0.04 + 0.16]
    assert found["brier"] == pytest.approx(sum(squares) / 5)
    bins = found["calibration"]["bins"]
    assert [one["count"] for one in bins] == [0, 1, 1, 2, 1]  # 0.6 and 0.8 end their bins, they do not begin the next
    assert bins[3]["accuracy"] == 1.0
    assert bins[3]["confidence"] == pytest.approx(0.75)
    assert bins[0]["accuracy"] is None
    assert found["calibration"]["ece"] == pytest.approx((0.35 + 0.4 + 2 * 0.25 + 0.9) / 5)


@pytest.mark.parametrize(("rows", "classes"), [(1, 2), (40, 2), (500, 7)])
def test_they_agree_with_scikit_learn(rows: int, classes: int) -> None:
    shares, truth, labels, texts = random_case(rows, classes)
    found = analyze_predictions(shares, truth.tolist(), labels, texts)
    other = classification_report(truth.tolist(), shares.argmax(axis=1).tolist(), labels)
    assert found["confusion"] == other["confusion"]
    assert found["accuracy"] == pytest.approx(other["accuracy"])
    assert found["f1_macro"] == pytest.approx(other["f1_macro"])
    for label in labels:
        for key in ("precision", "recall", "f1", "support"):
            assert found["per_class"][label][key] == pytest.approx(other["per_class"][label][key])


def test_calibration_is_that_of_a_plain_loop() -> None:
    shares, truth, labels, texts = random_case(800, 4)
    found = analyze_predictions(shares, truth.tolist(), labels, texts)["calibration"]
    confidence, right = shares.max(axis=1), shares.argmax(axis=1) == truth
    error = 0.0
    for number in range(15):
        inside = (confidence > number / 15) & (confidence <= (number + 1) / 15)
        assert found["bins"][number]["count"] == inside.sum()
        if inside.any():
            error += inside.sum() / 800 * abs(right[inside].mean() - confidence[inside].mean())
    assert found["ece"] == pytest.approx(error)


def test_answers_that_are_sure_and_right_have_no_error() -> None:
    found = analyze_predictions(np.eye(3), [0, 1, 2], LABELS, TEXTS[:3])
    assert found["calibration"]["ece"] == found["brier"] == 0.0
    assert found["calibration"]["bins"][-1]["count"] == 3
    assert found["hardest"] == []
    assert analyze_predictions(np.eye(3), [1, 2, 0], LABELS, TEXTS[:3])["brier"] == 2.0


def test_the_hardest_are_wrong_and_sure_and_the_uncertain_have_a_close_second() -> None:
    found = analyze_predictions(SHARES, TRUTH, LABELS, TEXTS, hardest=5, uncertain=2)
    assert [(row["row"], row["text"], row["true"], row["predicted"]) for row in found["hardest"]] == [
        (2, "c", "good", "bad"),
        (3, "d", "so-so", "bad"),
    ]
    assert found["hardest"][0]["probability"] == 0.9
    assert found["hardest"][0]["true_probability"] == 0.05
    assert [row["row"] for row in found["uncertain"]] == [3, 4]
    assert (found["uncertain"][0]["second"], found["uncertain"][0]["second_probability"]) == ("so-so", 0.34)


def test_it_is_plain_json_with_texts_cut_and_surrogates_gone() -> None:
    found = analyze_predictions(SHARES, TRUTH, LABELS, ["", "x", "长" * 500, "\ud800", "y"])
    again = json.loads(json.dumps(found, ensure_ascii=False, allow_nan=False).encode("utf-8"))
    assert again == found
    assert found["hardest"][0]["text"] == "长" * 400 + "…"
    assert found["hardest"][1]["text"] == "?"


def test_limits_hold() -> None:
    shares, truth, labels, texts = random_case(200, 3)
    found = analyze_predictions(shares, truth.tolist(), labels, texts, hardest=0, uncertain=7)
    assert (len(found["hardest"]), len(found["uncertain"])) == (0, 7)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"truth": [0]}, "do not belong together"),
        ({"texts": []}, "do not belong together"),
        ({"labels": ("a", "b")}, "do not belong together"),
        ({"labels": ("a", "a", "b")}, "each once"),
        ({"bins": 0}, "1 bin or more"),
        ({"truth": [0, 1, 2, 1, 3]}, "0 to 2"),
        ({"truth": [0, 1, 2, 1, -1]}, "0 to 2"),
        ({"truth": [0.0, 1.0, 2.0, 1.0, 0.5]}, "whole numbers"),
        ({"probabilities": [[float("nan")] * 3] * 5}, "row 0 of the probabilities"),
        ({"probabilities": [[0.5, 0.5, 0.5]] * 5}, "adding up to 1"),
        ({"probabilities": [[-0.5, 1.0, 0.5]] * 5}, "row 0"),
        ({"probabilities": [], "truth": [], "texts": []}, "1 row or more"),
    ],
)
def test_what_is_no_answer_is_refused(change: dict[str, object], told: str) -> None:
    given: dict[str, object] = {"probabilities": SHARES, "truth": TRUTH, "labels": LABELS, "texts": TEXTS, **change}
    with pytest.raises(DataError, match=told):
        analyze_predictions(**given)  # type: ignore[arg-type]
