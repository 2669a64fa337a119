"""Losses over the pairs of a batch."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from paddlenlp_embtune.config import CONTRASTIVE_LOSSES, ContrastiveSpec
from paddlenlp_embtune.models import pair_loss

LABELS = np.array([0, 0, 1, 1, 1])


def value(spec: ContrastiveSpec, vectors: np.ndarray, labels: np.ndarray = LABELS) -> float:
    return float(pair_loss(spec)(paddle.to_tensor(vectors.astype(np.float32)), paddle.to_tensor(labels)))


def drawn(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(5, 4))


def test_the_supervised_loss_is_that_of_the_paper() -> None:
    unit = drawn() / np.linalg.norm(drawn(), axis=1, keepdims=True)
    logits = unit @ unit.T / 0.2
    rows = []
    for row in range(5):
        others = [other for other in range(5) if other != row]
        total = np.log(np.exp(logits[row, others]).sum())
        rows.append(-np.mean([logits[row, other] - total for other in others if LABELS[other] == LABELS[row]]))
    assert value(ContrastiveSpec(loss="supervised_contrastive", temperature=0.2), drawn()) == pytest.approx(
        np.mean(rows), rel=1e-5
    )


def test_the_cosine_loss_weighs_both_kinds_of_pairs_alike() -> None:
    unit = drawn() / np.linalg.norm(drawn(), axis=1, keepdims=True)
    cosines, same = unit @ unit.T, LABELS[:, None] == LABELS[None]
    off = ~np.eye(5, dtype=bool)
    expected = 0.5 * (np.square(1 - cosines[same & off]).mean() + np.square(cosines[~same]).mean())
    assert value(ContrastiveSpec(loss="cosine"), drawn()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", CONTRASTIVE_LOSSES)
def test_parted_labels_are_better_than_mixed_ones(loss: str) -> None:
    parted = np.array([[1, 0], [1, 0], [0, 1], [0, 1], [0, 1]]) * 3.0
    spec = ContrastiveSpec(loss=loss)
    assert value(spec, parted) < value(spec, parted[[0, 2, 1, 3, 4]]) - 0.1
    assert value(spec, parted) == pytest.approx(value(spec, parted * 0.1), abs=1e-5)  # of any length


@pytest.mark.parametrize("loss", CONTRASTIVE_LOSSES)
def test_rows_without_a_partner_leave_the_loss_finite(loss: str) -> None:
    assert np.isfinite(value(ContrastiveSpec(loss=loss), drawn(), np.arange(5)))
    assert np.isfinite(value(ContrastiveSpec(loss=loss), drawn(), np.zeros(5, np.int64)))
