"""Each loss moves the logits as its formula says: against hand-made gradients, and numeric ones in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.inference import softmax
from paddlenlp_embtune.models import CrossEntropy, Focal, SquaredEMD

CLASSES = np.array([0.5, 1.0, 2.5, 1.5], dtype=np.float32)
LABELS = np.array([0, 3, 1, 2, 2, 1, 0])
ROWS = np.array([1.0, 2.0, 0.25, 3.0, 1.0, 0.5, 7.0])
LOGITS = np.random.default_rng(0).normal(size=(len(LABELS), len(CLASSES))) * 2
TRUE = np.eye(len(CLASSES))[LABELS]

Formula = Callable[[np.ndarray], np.ndarray]


def of_label(logits: np.ndarray) -> np.ndarray:
    return softmax(logits)[np.arange(len(logits)), LABELS]


def focal(gamma: float) -> Formula:
    return lambda logits: -((1 - of_label(logits)) ** gamma) * np.log(of_label(logits))


def squared_emd(logits: np.ndarray) -> np.ndarray:
    return ((softmax(logits).cumsum(axis=1) - TRUE.cumsum(axis=1)) ** 2).sum(axis=1)


CASES = {
    "cross_entropy": (CrossEntropy, {}, focal(0.0)),
    "focal, gamma 0": (Focal, {"gamma": 0.0}, focal(0.0)),
    "focal, gamma 0.5": (Focal, {"gamma": 0.5}, focal(0.5)),
    "focal, gamma 2": (Focal, {}, focal(2.0)),
    "squared_emd": (SquaredEMD, {}, squared_emd),
    "squared_emd with cross_entropy": (
        SquaredEMD,
        {"cross_entropy": 0.3},
        lambda logits: squared_emd(logits) + 0.3 * focal(0.0)(logits),
    ),
}


def value_and_gradient(loss: Any, logits: np.ndarray, weights: np.ndarray | None) -> tuple[float, np.ndarray]:
    given = paddle.to_tensor(logits.astype(np.float32), stop_gradient=False)
    rows = [] if weights is None else [paddle.to_tensor(weights.astype(np.float32))]
    found = loss(given, paddle.to_tensor(LABELS), *rows)
    found.backward()
    return float(found), given.grad.numpy()


def numeric_gradient(function: Callable[[np.ndarray], float], logits: np.ndarray) -> np.ndarray:
    gradient = np.zeros_like(logits)
    for place in np.ndindex(*logits.shape):
        step = np.zeros_like(logits)
        step[place] = 1e-5
        gradient[place] = (function(logits + step) - function(logits - step)) / 2e-5
    return gradient


@pytest.mark.parametrize("weights", [None, ROWS], ids=["equal rows", "weighted rows"])
@pytest.mark.parametrize("case", list(CASES))
def test_value_and_gradient_are_those_of_the_formula_in_float64(case: str, weights: np.ndarray | None) -> None:
    kind, options, formula = CASES[case]
    each = CLASSES[LABELS].astype(np.float64) * (1.0 if weights is None else weights)

    def mean(logits: np.ndarray) -> float:
        return float((formula(logits) * each).sum() / each.sum())

    found, gradient = value_and_gradient(kind(class_weights=CLASSES, **options), LOGITS, weights)
    assert found == pytest.approx(mean(LOGITS), rel=1e-5)
    np.testing.assert_allclose(gradient, numeric_gradient(mean, LOGITS), atol=2e-6, rtol=1e-4)


def test_the_gradient_of_focal_loss_is_that_of_the_papers_appendix() -> None:
    # Lin et al. 2017, appendix B, with the softmax's dp/dx: p (1 - p) for the true class, -p q for another of probability q.
    gamma, probabilities = 2.0, softmax(LOGITS)
    p = of_label(LOGITS)[:, None]
    by_p = gamma * (1 - p) ** (gamma - 1) * np.log(p) - (1 - p) ** gamma / p
    expected = by_p * p * (TRUE - probabilities) / len(LABELS)
    _, found = value_and_gradient(Focal(class_weights=np.ones(4, np.float32), gamma=gamma), LOGITS, None)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_gradient_of_the_squared_distance_by_hand() -> None:
    # d/dx_j of sum_k d_k**2 is 2 p_j (sum_{k >= j} d_k - sum_k d_k P_k), with d = P - T and P the cumulative probabilities.
    probabilities = softmax(LOGITS)
    cumulative = probabilities.cumsum(axis=1)
    distance = cumulative - TRUE.cumsum(axis=1)
    behind = distance[:, ::-1].cumsum(axis=1)[:, ::-1]
    expected = 2 * probabilities * (behind - (distance * cumulative).sum(axis=1, keepdims=True)) / len(LABELS)
    _, found = value_and_gradient(SquaredEMD(class_weights=np.ones(4, np.float32)), LOGITS, None)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_far_mistake_costs_more_than_a_near_one_only_where_labels_are_ordered() -> None:
    near, far = (np.eye(4)[[wrong]] * 20.0 for wrong in (1, 3))
    label = paddle.to_tensor([0])
    for kind, farther in ((SquaredEMD, 3.0), (CrossEntropy, 1.0), (Focal, 1.0)):
        loss = kind(class_weights=np.ones(4, np.float32))
        costs = [float(loss(paddle.to_tensor(logits.astype(np.float32)), label)) for logits in (near, far)]
        assert costs[1] / costs[0] == pytest.approx(farther, rel=1e-4)


@pytest.mark.parametrize("case", list(CASES))
def test_a_row_of_weight_two_is_that_row_twice(case: str) -> None:
    kind, options, _ = CASES[case]
    loss = kind(class_weights=CLASSES, **options)
    twice = np.concatenate([np.arange(len(LABELS)), [2, 5]])
    weights = np.ones(len(LABELS), dtype=np.float32)
    weights[[2, 5]] = 2.0
    logits, labels = paddle.to_tensor(LOGITS.astype(np.float32)), paddle.to_tensor(LABELS)
    weighted = float(loss(logits, labels, paddle.to_tensor(weights)))
    assert weighted == pytest.approx(float(loss(logits[twice], labels[twice])), rel=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_loss_stays_finite_where_a_row_is_certain(gamma: float) -> None:
    logits = paddle.to_tensor(np.array([[200.0, -200.0], [-200.0, 200.0]], np.float32), stop_gradient=False)
    found = Focal(class_weights=np.ones(2, np.float32), gamma=gamma)(logits, paddle.to_tensor([0, 0]))
    found.backward()
    assert float(found) == pytest.approx(32.0, rel=1e-4)  # Paddle reports 64 for 400
    np.testing.assert_allclose(logits.grad.numpy(), [[0.0, 0.0], [-0.5, 0.5]], atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (Focal, {"gamma": -1.0}, "gamma must be 0 or more, got -1.0"),
        (Focal, {"gamma": 11.0}, "gamma must be at most 10, got 11.0"),
        (SquaredEMD, {"cross_entropy": -0.1}, "cross_entropy must be 0 or more, got -0.1"),
    ],
)
def test_options_out_of_range_are_refused(kind: Any, options: dict[str, float], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        kind(class_weights=CLASSES, **options)
