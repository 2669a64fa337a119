"""Labels for unlabelled vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from paddlenlp_embtune.config import SelfTrainingSpec
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.models import PseudoLabels, pseudo_labels

SPEC = SelfTrainingSpec(unlabelled=("texts.txt",))


def drawn(number: int, *, apart: float, seed: int, share: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of two labels, so far apart, the first with a share."""
    generator = np.random.default_rng(seed)
    labels = (np.arange(number) >= share * number).astype(np.int64)
    vectors = generator.normal(size=(number, 16)) + np.outer(labels - 0.5, np.full(16, apart))
    return vectors.astype(np.float32), labels


def answered(
    *, apart: float, rows: int = 24, share: float = 0.5, spec: SelfTrainingSpec = SPEC
) -> tuple[PseudoLabels, np.ndarray]:
    vectors, labels = drawn(rows, apart=apart, seed=0)
    texts, truth = drawn(400, apart=apart, seed=1, share=share)
    return pseudo_labels(vectors, labels, np.ones(rows), texts, spec, num_labels=2), truth


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_the_surest_answers_of_each_label_are_taken(share: float) -> None:
    found, truth = answered(apart=0.6, share=share)
    assert found.left_out == ""
    assert (found.labels == truth[found.rows]).mean() > 0.9
    assert len(found.rows) == pytest.approx(0.7 * len(truth), abs=2)
    assert np.bincount(found.labels, minlength=2).min() > 0.5 * np.bincount(truth, minlength=2).min()


def test_labels_keep_their_balance() -> None:
    found, _ = answered(apart=0.6, share=0.8)
    weights = np.bincount(found.labels, weights=found.weights)
    np.testing.assert_allclose(weights, [3.0 * 12, 3.0 * 12])


def test_answers_no_better_than_chance_are_refused() -> None:
    found, _ = answered(apart=0.0)
    assert len(found.rows) == 0
    assert "which is not beyond the 50% of the largest label" in found.left_out


def test_too_few_rows_to_check_are_refused() -> None:
    found, _ = answered(apart=2.0, rows=6)
    assert len(found.rows) == 0
    assert "fewer than 4 rows" in found.left_out


def test_the_same_seed_gives_the_same() -> None:
    one, other = answered(apart=0.6)[0], answered(apart=0.6)[0]
    np.testing.assert_array_equal(one.rows, other.rows)
    np.testing.assert_array_equal(one.weights, other.weights)


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"unlabelled": ()}, "self_training.unlabelled must be paths of files"),
        ({"rounds": 0}, "self_training.rounds must be 1 to 10, got 0"),
        ({"weight": 0.0}, "self_training.weight must be above 0"),
        ({"share": 1.5}, "self_training.share must be above 0 and at most 1"),
        ({"most": 0}, "self_training.most must be 1 or more"),
    ],
)
def test_what_is_refused(stated: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        SelfTrainingSpec(**{"unlabelled": ("texts.txt",), **stated})
