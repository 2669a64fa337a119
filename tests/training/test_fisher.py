"""Fisher information, penalties and interpolation on small networks, against numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_embtune.errors import HostError
from paddlenlp_embtune.training._fisher import diagonal_fisher, online_fisher
from paddlenlp_embtune.training._weight_interpolation import choose_new_share, interpolate_weights
from paddlenlp_embtune.training.callbacks.quadratic_penalty import QuadraticPenaltyCallback


class Small(paddle.nn.Layer):
    """The mean of token vectors under a linear head, with dropout that must not count."""

    embedding_parameter = "embedding.weight"

    def __init__(self, rows: int = 7, labels: int = 3) -> None:
        super().__init__()
        self.embedding = paddle.nn.Embedding(rows, 4)
        self.dropout = paddle.nn.Dropout(0.5)
        self.head = paddle.nn.Linear(4, labels)

    def features(self, ids: Any) -> Any:
        return self.embedding(ids).mean(axis=1)

    def forward(self, input_ids: Any) -> Any:
        return self.head(self.dropout(self.features(input_ids)))


@pytest.fixture
def small() -> Small:
    paddle.seed(5)
    return Small()


ROWS = [[1, 2, 3], [4], [5, 5, 6, 0], [2, 6]]


def by_hand(model: Small, *, seed: int, count: int) -> dict[str, np.ndarray]:
    table, weight, bias = (p.numpy().astype(np.float64) for p in (model.embedding.weight, model.head.weight, model.head.bias))
    generator = np.random.default_rng(seed)
    chosen = generator.permutation(len(ROWS))[:count]
    draws = generator.random(len(chosen))
    found = {"embedding.weight": np.zeros_like(table), "head.weight": np.zeros_like(weight), "head.bias": np.zeros_like(bias)}
    for row, draw in zip(chosen, draws, strict=True):
        ids = ROWS[row]
        features = table[ids].mean(axis=0)
        logits = features @ weight + bias
        probabilities = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        error = probabilities - np.eye(len(bias))[int((np.cumsum(probabilities) <= draw).sum())]
        per_token = np.zeros_like(table)
        for number in ids:
            per_token[number] += weight @ error / len(ids)
        found["embedding.weight"] += per_token**2
        found["head.weight"] += np.outer(features, error) ** 2
        found["head.bias"] += error**2
    found["embedding.weight"][0] = 0
    return {name: values / len(chosen) for name, values in found.items()}


@pytest.mark.parametrize("count", [2, 4, 100])
def test_fisher_information_is_the_mean_of_squared_gradients(small: Small, count: int) -> None:
    small.train()
    small.head.bias.stop_gradient = True
    found = diagonal_fisher(small, ROWS, count=count, seed=9)
    for name, expected in by_hand(small, seed=9, count=count).items():
        np.testing.assert_allclose(found[name], expected, rtol=2e-4, atol=1e-9, err_msg=name)
    assert small.training
    assert small.head.bias.stop_gradient
    assert all(parameter.grad is None or not parameter.grad.numpy().any() for parameter in small.parameters())


def test_former_information_is_added_where_it_was() -> None:
    new = {"a": np.ones((3, 2), np.float32), "b": np.ones(2, np.float32)}
    found = online_fisher({"a": np.full((2, 2), 4, np.float32), "gone": np.ones(1, np.float32)}, new, decay=0.5)
    assert found["a"].tolist() == [[3, 3], [3, 3], [1, 1]]
    assert found["b"].tolist() == [1, 1]
    assert new["a"].tolist() == [[1, 1]] * 3


def test_the_penalty_has_the_gradient_of_its_formula_and_leaves_what_has_grown_free(small: Small) -> None:
    anchors = {"embedding.weight": np.full((5, 4), 0.25, np.float32), "head.weight": np.zeros((4, 2), np.float32)}
    fisher = {"embedding.weight": np.arange(20, dtype=np.float32).reshape(5, 4)}
    callback = QuadraticPenaltyCallback(anchors, strength=0.5, fisher=fisher, fisher_strength=2.0)
    state = type("State", (), {"global_step": 0, "is_world_process_zero": True})()
    callback.on_train_begin(None, state, None, model=small)
    small.head.bias.stop_gradient = True
    small(paddle.to_tensor([[1, 2]])).sum().backward()
    before = {name: p.grad.numpy().copy() for name, p in small.named_parameters() if p.grad is not None}
    callback.on_optimizer_begin(None, state, None)
    table, weight = small.embedding.weight.numpy(), small.head.weight.numpy()
    added = {name: p.grad.numpy() - before[name] for name, p in small.named_parameters() if name in before}
    expected = np.zeros_like(table)
    expected[:5] = (0.5 + 2.0 * fisher["embedding.weight"]) * (table[:5] - 0.25)
    np.testing.assert_allclose(added["embedding.weight"], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(added["head.weight"], np.pad(0.5 * weight[:, :2], [(0, 0), (0, 1)]), rtol=1e-4, atol=1e-5)
    held = ((0.5 + 2.0 * fisher["embedding.weight"]) * (table[:5] - 0.25) ** 2).sum() + (0.5 * weight[:, :2] ** 2).sum()
    assert callback.value() == pytest.approx(held / 2, rel=1e-5)


def test_gradients_by_rows_are_refused() -> None:
    model = Small()
    model.embedding._sparse = True
    callback = QuadraticPenaltyCallback({"embedding.weight": np.zeros((7, 4), np.float32)}, strength=1.0)
    state = type("State", (), {"global_step": 0, "is_world_process_zero": True})()
    callback.on_train_begin(None, state, None, model=model)
    model(paddle.to_tensor([[1, 2]])).sum().backward()
    with pytest.raises(HostError, match="dense gradients; set sparse to null"):
        callback.on_optimizer_begin(None, state, None)


def test_weights_between_two_models() -> None:
    former = {"a": np.array([[1.0, 2.0]], np.float32), "ngram_share": np.array([0.0], np.float32)}
    new = {"a": np.array([[3.0, 2.0], [9.0, 9.0]], np.float32), "ngram_share": np.array([0.5], np.float32)}
    found = interpolate_weights(former, new, 0.25)
    assert found["a"].tolist() == [[1.5, 2.0], [9.0, 9.0]]
    assert found["ngram_share"].tolist() == [0.5]


def test_the_least_share_that_is_as_good_is_taken() -> None:
    def right(share: float) -> np.ndarray:
        hits = np.ones(100)
        hits[: round(60 * max(0.0, 0.55 - share))] = 0.0  # the new ones are right from 0.6 on
        return hits

    assert choose_new_share(right, errors=1e-9)[0] == 0.6
    share, accuracies = choose_new_share(right, errors=2.0)
    assert share == 0.5
    assert accuracies[1.0] == 1.0
