"""Metrics, thresholds and calibration of several labels a text, against scikit-learn and against planted truths."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, label_ranking_average_precision_score

from paddlenlp_embtune.evaluation import (
    best_threshold,
    fit_label_scaling,
    fit_label_thresholds,
    measures_of,
    ordinal_metrics,
    several_labels_report,
)
from paddlenlp_embtune.inference import MULTI, ORDERED

LABELS = ("a", "b", "c", "d")


def planted(rows: int = 400, *, seed: int = 0, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and logits from which they are drawn, moved by ``shift``."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(rows, 4)) * 2 - 1
    truth = (generator.random((rows, 4)) < 1 / (1 + np.exp(-logits))).astype(np.int64)
    return truth, (logits + shift).astype(np.float32)


def test_metrics_are_those_of_scikit_learn() -> None:
    truth, logits = planted()
    scores = np.round(MULTI.probabilities(logits), 1)  # with ties
    given = (scores >= 0.5).astype(np.int64)
    found = several_labels_report(truth, given, LABELS, scores)
    for average in ("micro", "macro", "weighted"):
        assert found[f"f1_{average}"] == pytest.approx(f1_score(truth, given, average=average))
    assert found["f1_samples"] == pytest.approx(f1_score(truth, given, average="samples", zero_division=1))
    assert found["ranking"] == pytest.approx(label_ranking_average_precision_score(truth, scores))
    assert found["accuracy"] == pytest.approx((truth == given).all(axis=1).mean())
    assert found["rows_without"]["truth"] == int((truth.sum(axis=1) == 0).sum())


def test_rows_without_labels_alone_are_measured() -> None:
    nothing = np.zeros((3, 2), dtype=np.int64)
    found = several_labels_report(nothing, nothing, ("a", "b"), np.zeros((3, 2)))
    assert (found["accuracy"], found["f1_samples"], found["ranking"], found["f1_micro"]) == (1.0, 1.0, 1.0, 0.0)
    assert best_threshold(np.full((3, 2), 0.9), nothing) == (1.0, 0.0)


def test_the_best_threshold_is_that_of_trying_all() -> None:
    truth, logits = planted(60)
    scores = MULTI.probabilities(logits)
    limit, f1 = best_threshold(scores, truth)
    tried = [f1_score(truth.ravel(), scores.ravel() >= each) for each in np.unique(scores)]
    assert f1 == pytest.approx(max(tried))
    assert f1_score(truth.ravel(), scores.ravel() >= limit) == pytest.approx(f1)


def test_labels_that_need_thresholds_of_their_own_get_them() -> None:
    truth, logits = planted(600)
    logits[:, 0] -= 3
    thresholds, held_out = fit_label_thresholds(MULTI.probabilities(logits), truth)
    assert thresholds[0] < thresholds[1:].min()
    assert held_out.shape == truth.shape
    same, _ = fit_label_thresholds(MULTI.probabilities(planted(40)[1]), planted(40)[0])
    assert len(set(same.tolist())) == 1, "few rows share one threshold"


def test_calibration_undoes_a_shift_and_few_rows_are_calibrated_alike() -> None:
    truth, logits = planted(1500, shift=2.0)
    found = fit_label_scaling(logits, truth)
    assert np.abs(found.offset + 2).max() < 0.6
    assert abs(found.scores(logits).mean() - truth.mean()) < 0.01
    generator = np.random.default_rng(3)
    exact = generator.normal(size=(60, 4)) * 4
    found = fit_label_scaling(exact, (generator.random((60, 4)) < 1 / (1 + np.exp(-exact))).astype(np.int64))
    assert len(set(found.scale.tolist())) == 1, "few rows are calibrated alike, or not at all"


def test_ordinal_metrics_weigh_mistakes_by_their_distance() -> None:
    truth, near, far = (np.array(each) for each in ([0, 1, 2, 3], [0, 1, 2, 2], [0, 1, 2, 0]))
    one, three = ordinal_metrics(truth, near, 4), ordinal_metrics(truth, far, 4)
    assert (one["mean_absolute_error"], three["mean_absolute_error"]) == (0.25, 0.75)
    assert 1 > one["quadratic_kappa"] > three["quadratic_kappa"]
    assert ordinal_metrics(truth, truth, 4) == {"mean_absolute_error": 0.0, "quadratic_kappa": 1.0}
    assert "quadratic_kappa" in measures_of(ORDERED, LABELS).report(truth, near)
