"""The learning rate finder: what it proposes, and that it leaves everything as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_embtune.config.recipe import GroupSpec
from paddlenlp_embtune.errors import HostError, RecipeError
from paddlenlp_embtune.training import resolve_groups
from paddlenlp_embtune.training.lr_finder import find_learning_rates, propose
from tests.toy import make_trainer

SPECS = (GroupSpec(name="embedding", parameters=("embedding.*",), rate=1e-3), GroupSpec(name="rest", rate=1e-2))


def weights(trainer: Any) -> dict[str, np.ndarray]:
    return {name: value.numpy().copy() for name, value in trainer.model.state_dict().items()}


def test_it_proposes_a_rate_that_trains_well_below_the_one_that_blows_up(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    curve = find_learning_rates(trainer, resolve_groups(trainer.model, SPECS), lowest=1e-5, highest=100.0, steps=120)
    assert curve.proposal is not None
    assert 1e-4 < curve.proposal < 1.0
    assert min(curve.smoothed) < 0.8 * curve.smoothed[0]
    assert len(curve.rates) == len(curve.losses) == len(curve.smoothed)


def test_weights_gradients_and_random_states_are_as_before(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    trainer.model.norm.weight.stop_gradient = True
    before = weights(trainer)
    np.random.seed(5)
    paddle.seed(5)
    expected = (np.random.random(), paddle.rand([1]).item())
    np.random.seed(5)
    paddle.seed(5)
    find_learning_rates(trainer, resolve_groups(trainer.model, SPECS), steps=20)
    assert (np.random.random(), paddle.rand([1]).item()) == expected
    for name, value in weights(trainer).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)
    assert all(parameter.grad is None for parameter in trainer.model.parameters())
    frozen = [name for name, parameter in trainer.model.named_parameters() if parameter.stop_gradient]
    assert frozen == ["norm.weight"]


def test_only_the_group_that_was_asked_for_trains(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    seen: list[dict[str, np.ndarray]] = []
    find_learning_rates(
        trainer,
        resolve_groups(trainer.model, SPECS),
        group="embedding",
        lowest=1e-3,
        steps=20,
        progress=lambda *_: seen.append(weights(trainer)),
    )
    moved = {name for name in seen[0] if not np.array_equal(seen[0][name], seen[-1][name])}
    assert moved == {"embedding.weight"}


def test_training_after_it_is_the_same_as_without_it(tmp_path: Path) -> None:
    ends = []
    for look in (False, True):
        trainer = make_trainer(tmp_path / str(look))
        if look:
            find_learning_rates(trainer, resolve_groups(trainer.model, SPECS), steps=20)
        np.random.seed(0)
        trainer.train()
        ends.append(weights(trainer))
    for name, value in ends[0].items():
        np.testing.assert_array_equal(ends[1][name], value, err_msg=name)


def test_the_steepest_fall_lies_before_the_lowest_loss() -> None:
    rates = np.geomspace(1e-6, 1.0, 60)
    # A soft step down around 1e-3, then up.
    losses = 1.0 - 0.5 / (1 + np.exp(-2 * (np.log10(rates) + 3))) + np.where(rates > 0.1, 5 * rates, 0)
    steepest, minimum = propose(rates, losses)
    assert steepest is not None
    assert 3e-4 < steepest < 3e-3
    assert 1e-2 < minimum <= 0.11


def test_a_loss_that_never_falls_gives_no_proposal() -> None:
    rates = np.geomspace(1e-6, 1.0, 40)
    assert propose(rates, np.linspace(1.0, 2.0, 40)) == (None, 1e-6)


@pytest.mark.parametrize("options", [{"lowest": 0.0}, {"lowest": 1.0, "highest": 0.1}, {"steps": 9}, {"group": "embeding"}])
def test_illegal_options_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    trainer = make_trainer(tmp_path)
    with pytest.raises(RecipeError, match=r"expected|did you mean"):
        find_learning_rates(trainer, resolve_groups(trainer.model, SPECS), **options)


def test_a_frozen_group_is_refused(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    trainer.model.embedding.weight.stop_gradient = True
    with pytest.raises(HostError, match="everything in 'embedding' is frozen"):
        find_learning_rates(trainer, resolve_groups(trainer.model, SPECS), group="embedding")


def test_a_low_first_loss_hides_no_fall() -> None:
    rates = np.geomspace(1e-6, 1.0, 60)
    losses = 1.0 - 0.5 / (1 + np.exp(-2 * (np.log10(rates) + 3))) + np.where(rates > 0.1, 5 * rates, 0)
    losses[:3] = 0.01
    steepest, minimum = propose(rates, losses)
    assert steepest is not None
    assert 3e-4 < steepest < 3e-3
    assert 1e-2 < minimum <= 0.11


def test_noise_is_no_fall() -> None:
    rates = np.geomspace(1e-6, 1.0, 100)
    smoothed = 0.7 + 0.01 * np.sin(np.arange(100))
    assert propose(rates, smoothed, noise=0.1)[0] is None
    assert propose(rates, smoothed - np.linspace(0, 0.4, 100), noise=0.1)[0] is not None


class Staged(paddle.nn.Layer):
    """A loss that a list gives, whatever the rate."""

    def __init__(self, losses: list[float]) -> None:
        super().__init__()
        self.losses = iter(losses)

    def forward(self, logits: Any, labels: Any) -> Any:
        return logits.sum() * 0.0 + next(self.losses)


def staged(folder: Path, losses: list[float]) -> Any:
    trainer = make_trainer(folder)
    trainer.criterion = Staged(losses)
    return find_learning_rates(trainer, resolve_groups(trainer.model, SPECS), steps=len(losses))


@pytest.mark.parametrize("first", [0.0, 0.01, 0.05])
def test_a_trained_model_whose_first_batch_is_easy_has_not_blown_up(tmp_path: Path, first: float) -> None:
    curve = staged(tmp_path, [first, *[0.5] * 39])
    assert curve.blew_up_at is None
    assert len(curve.losses) == 40


def test_a_loss_far_beyond_chance_stops_the_test_and_one_that_is_not_finite_does_too(tmp_path: Path) -> None:
    curve = staged(tmp_path, [0.7] * 20 + [50.0] * 20)
    assert curve.blew_up_at is not None
    assert len(curve.losses) <= 22
    curve = staged(tmp_path, [0.7] * 20 + [float("nan")] * 20)
    assert len(curve.losses) == 20
    assert curve.blew_up_at == pytest.approx(curve.rates[-1], rel=2)
    with pytest.raises(HostError, match="not finite even at the lowest learning rate"):
        staged(tmp_path, [float("nan")] * 10)
