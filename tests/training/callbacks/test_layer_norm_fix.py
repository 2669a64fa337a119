"""Gradients through a layer norm whose scale is frozen: Paddle on a CPU takes the scale for 1 there."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import paddle
import pytest

from paddlenlp_embtune import compat
from paddlenlp_embtune.config.recipe import Recipe
from paddlenlp_embtune.training import attach
from paddlenlp_embtune.training.callbacks import FreezingCallback
from tests.toy import Toy, make_trainer


def norm_and_input() -> tuple[paddle.nn.LayerNorm, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    norm = paddle.nn.LayerNorm(8)
    norm.weight.set_value(generator.normal(1.0, 0.5, 8).astype(np.float32))
    return norm, *generator.normal(size=(2, 5, 8)).astype(np.float32)


def gradient(norm: paddle.nn.LayerNorm, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    hidden = paddle.to_tensor(values)
    hidden.stop_gradient = False
    (norm(hidden) * paddle.to_tensor(weights)).sum().backward()
    return hidden.grad.numpy()


@pytest.mark.parametrize("bias_frozen", [False, True])
def test_a_frozen_scale_counts(bias_frozen: bool) -> None:
    norm, values, weights = norm_and_input()
    expected = gradient(norm, values, weights)
    answer = norm(paddle.to_tensor(values)).numpy()
    norm.weight.stop_gradient = True
    norm.bias.stop_gradient = bias_frozen
    compat.fix_layer_norm_gradients(norm)
    np.testing.assert_allclose(gradient(norm, values, weights), expected, atol=1e-5)
    np.testing.assert_allclose(norm(paddle.to_tensor(values)).numpy(), answer, atol=1e-6)
    compat.restore_layer_norms(norm)
    assert "forward" not in vars(norm)


def test_mending_twice_and_restoring_once_leaves_the_first_mend() -> None:
    norm, values, weights = norm_and_input()
    expected = gradient(norm, values, weights)
    norm.weight.stop_gradient = True
    compat.fix_layer_norm_gradients(norm)
    compat.fix_layer_norm_gradients(norm, always=True)
    compat.restore_layer_norms(norm)
    np.testing.assert_allclose(gradient(norm, values, weights), expected, atol=1e-5)
    compat.restore_layer_norms(norm)
    assert "forward" not in vars(norm)


def test_a_copy_of_a_mended_norm_has_weights_of_its_own() -> None:
    norm, values, weights = norm_and_input()
    norm.weight.stop_gradient = True
    compat.fix_layer_norm_gradients(norm)
    twin = copy.deepcopy(norm)
    twin.weight.set_value(norm.weight.numpy() * 2.0)
    hidden = paddle.to_tensor(values)
    np.testing.assert_allclose(twin(hidden).numpy(), norm(hidden).numpy() * 2.0, atol=1e-5)
    np.testing.assert_allclose(gradient(twin, values, weights), gradient(norm, values, weights) * 2.0, atol=1e-5)


def test_the_host_needs_this() -> None:
    """When this fails, Paddle has been fixed, and ``fix_layer_norm_gradients`` can go for versions from there on."""
    norm, values, weights = norm_and_input()
    expected = gradient(norm, values, weights)
    norm.weight.stop_gradient = True
    assert np.abs(gradient(norm, values, weights) - expected).max() > 0.05


@pytest.mark.parametrize("kind", ["norm", "classifier"])
def test_a_recipe_mends_what_somebody_else_froze(tmp_path: Path, kind: str) -> None:
    ends = []
    for frozen in (kind, "classifier"):
        paddle.seed(0)
        model = Toy()
        model.norm.weight.set_value(np.linspace(0.2, 2.0, 8).astype(np.float32))
        for parameter in getattr(model, frozen).parameters():
            parameter.stop_gradient = True
        trainer = make_trainer(tmp_path / frozen, model=model, max_steps=1)
        groups = [{"name": "all", "parameters": ["*"], "rate": 1e-2}]
        attach(
            trainer, Recipe.from_dict({"groups": groups, "freeze": None, "early_stopping": None, "health": None, "clip": None})
        )
        trainer.train()
        ends.append(model.embedding.weight.numpy())
    np.testing.assert_allclose(ends[0], ends[1], atol=1e-6)


def test_freezing_a_norm_leaves_the_first_step_of_what_lies_beneath_as_it_was(tmp_path: Path) -> None:
    ends = []
    for frozen in ("norm.*", "classifier.*"):
        paddle.seed(0)
        model = Toy()
        model.norm.weight.set_value(np.linspace(0.2, 2.0, 8).astype(np.float32))
        callback = FreezingCallback(frozen, permanent=True)
        make_trainer(tmp_path / frozen[:4], callback, model=model, max_steps=1).train()
        ends.append(model.embedding.weight.numpy())
        assert "forward" not in vars(model.norm)
    np.testing.assert_allclose(ends[0], ends[1], atol=1e-6)
