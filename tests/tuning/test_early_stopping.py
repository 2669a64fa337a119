"""Early stopping: decisions, the weights that come back, and what survives a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paddlenlp.trainer import TrainerControl, TrainerState

from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.tuning import EarlyStoppingCallback, StopReason
from tests.toy import Snapshots, Toy, make_trainer, new_process


def feed(callback: EarlyStoppingCallback, values: list[float], model: Any = None) -> int:
    """Feed evaluations; return after how many it stopped."""
    model = model or Toy()
    for number, value in enumerate(values, start=1):
        control = TrainerControl()
        callback.on_evaluate(None, TrainerState(global_step=number), control, metrics={"eval_f1": value}, model=model)
        if control.should_training_stop:
            return number
    return 0


@pytest.mark.parametrize(
    ("mode", "min_delta", "patience", "values", "stops_after"),
    [
        ("max", 0.0, 2, [0.5, 0.6, 0.6, 0.59], 4),
        ("max", 0.0, 2, [0.5, 0.4, 0.6, 0.5, 0.7], 0),
        ("min", 0.0, 1, [0.5, 0.4, 0.45], 3),
        ("max", 0.05, 2, [0.5, 0.54, 0.549], 3),
        ("max", 0.05, 2, [0.5, 0.56, 0.62], 0),
    ],
)
def test_decisions(mode: str, min_delta: float, patience: int, values: list[float], stops_after: int) -> None:
    callback = EarlyStoppingCallback("f1", mode=mode, min_delta=min_delta, patience_evals=patience)
    assert feed(callback, values) == stops_after
    assert callback.stop_reason is (StopReason.NO_IMPROVEMENT if stops_after else None)


def test_a_metric_that_is_not_finite_stops_at_once() -> None:
    callback = EarlyStoppingCallback("f1", mode="max")
    assert feed(callback, [0.5, float("nan")]) == 2
    assert callback.stop_reason is StopReason.NOT_FINITE


def test_a_missing_metric_raises_and_lists_those_there_are(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, EarlyStoppingCallback("acuracy", mode="max"))
    with pytest.raises(RecipeError, match=r"watches 'eval_acuracy'.*nearest: 'eval_accuracy'"):
        trainer.train()


def test_the_best_weights_come_back(tmp_path: Path) -> None:
    class Worse(Snapshots):
        """Ruins the model in the last epoch, so that the second evaluation is the best."""

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step > 8:
                kwargs["model"].classifier.weight.set_value(kwargs["model"].classifier.weight * -3.0)

    snapshots = Worse()
    callback = EarlyStoppingCallback("accuracy", mode="max", min_delta=0.0)
    trainer = make_trainer(tmp_path, callback, snapshots, learning_rate=0.05)
    trainer.train()
    assert callback.best_step in (4, 8)
    best = snapshots.weights[callback.best_step // 4]
    for name, value in trainer.model.named_parameters():
        np.testing.assert_array_equal(value.numpy(), best[name], err_msg=name)


def test_without_restoring_the_last_weights_stay(tmp_path: Path) -> None:
    callback = EarlyStoppingCallback("accuracy", mode="max", restore_best=False)
    snapshots = Snapshots()
    trainer = make_trainer(tmp_path, callback, snapshots)
    trainer.train()
    for name, value in trainer.model.named_parameters():
        np.testing.assert_array_equal(value.numpy(), snapshots.weights[-1][name], err_msg=name)


def test_patience_and_best_weights_survive_a_restart(tmp_path: Path) -> None:
    first = EarlyStoppingCallback("accuracy", mode="max", patience_evals=9)
    with new_process():
        make_trainer(tmp_path, first, save_strategy="epoch").train()
    second = EarlyStoppingCallback("accuracy", mode="max", patience_evals=9)
    with new_process():
        make_trainer(tmp_path, second, save_strategy="epoch").train(resume_from_checkpoint=str(tmp_path / "checkpoint-8"))
    for name in ("best_value", "best_step", "bad_evals"):
        assert getattr(second, name) == getattr(first, name), name
    for name, value in first._best.items():
        np.testing.assert_array_equal(second._best[name], value, err_msg=name)


@pytest.mark.parametrize(
    "options", [{"mode": "maximum"}, {"mode": "max", "patience_evals": 0}, {"mode": "max", "min_delta": -1.0}]
)
def test_illegal_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(RecipeError):
        EarlyStoppingCallback("f1", **options)
