"""Kinds of labels: from logits to scores, decisions and answers."""

from __future__ import annotations

import dataclasses

import numpy as np

from paddlenlp_embtune.inference import MULTI, SINGLE
from paddlenlp_embtune.text import TokenizedTexts, WindowSpec

LOGITS = np.array([[2.0, -1.0, 0.0], [-3.0, -3.0, -3.0]], dtype=np.float32)
NAMES = ("a", "b", "c")


def test_each_of_several_labels_has_a_score_of_its_own() -> None:
    scores = MULTI.probabilities(LOGITS)
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-LOGITS)), rtol=1e-6)
    np.testing.assert_allclose(SINGLE.probabilities(LOGITS).sum(axis=1), 1, rtol=1e-6)
    assert MULTI.decide(scores).tolist() == [[1, 0, 1], [0, 0, 0]]
    assert MULTI.decide(scores, np.array([0.9, 0.2, 1.0], np.float32)).tolist() == [[0, 1, 0], [0, 0, 0]]


def test_answers_list_the_surest_first_and_may_be_empty() -> None:
    columns = MULTI.columns(MULTI.probabilities(LOGITS), NAMES, thresholds=None, all_scores=True)
    assert [[each["label"] for each in row] for row in columns["labels"]] == [["a", "c"], []]
    assert list(next(iter(columns["scores"]))) == list(NAMES)
    blank = {"text": "", "labels": [{"label": "a", "score": 0.9}], "scores": {"a": 0.9}}
    MULTI.clear(blank)
    assert blank == {"text": "", "labels": [], "scores": {"a": 0.0}}


def test_windows_are_combined_and_the_decisive_one_has_the_best_label() -> None:
    tokenized = TokenizedTexts([[1], [2], [3]], np.array([0, 2, 3]), spans=((0, 1), (1, 2), (0, 1)))
    logits = np.array([[-2.0, 0.0], [3.0, -1.0], [1.0, 1.0]], dtype=np.float32)
    scores = 1 / (1 + np.exp(-logits))
    mean, decisive = MULTI.combine(logits, tokenized, windows=WindowSpec(aggregate="mean"))
    np.testing.assert_allclose(mean, [scores[:2].mean(axis=0), scores[2]], atol=1e-6)
    highest, _ = MULTI.combine(logits, tokenized, windows=WindowSpec(aggregate="max"))
    np.testing.assert_allclose(highest[0], scores[:2].max(axis=0), atol=1e-6)
    assert decisive.tolist() == [1, 2]


def test_calibration_moves_scores_and_log_odds_alike() -> None:
    scale, offset = (np.array(each, dtype=np.float32) for each in ([2.0, 1.0, 1.0], [0.0, 1.0, -1.0]))
    kind = dataclasses.replace(MULTI, scale=scale, offset=offset)
    scores = kind.probabilities(LOGITS)
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-(LOGITS * scale + offset))), rtol=1e-5)
    odds = kind.log_odds(LOGITS, label=1)
    np.testing.assert_allclose(odds, np.log(scores[:, 1] / (1 - scores[:, 1])), rtol=1e-4)


def test_labels_are_encoded_as_they_are_decided() -> None:
    assert MULTI.encode([("c", "a"), ()], NAMES).tolist() == [[1, 0, 1], [0, 0, 0]]
    assert SINGLE.encode([("c",), ("a",)], NAMES).tolist() == [2, 0]
