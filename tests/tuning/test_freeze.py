"""Freezing, seen from the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paddlenlp_embtune.errors import PatternError, RecipeError
from paddlenlp_embtune.tuning import FreezeCallback, ResumeCallback, RunRecord
from tests.toy import Snapshots, Toy, make_trainer, new_process


def moved(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    return {name for name in before if not np.array_equal(before[name], after[name])}


def test_frozen_weights_are_bit_equal_until_release_and_move_after_it(tmp_path: Path) -> None:
    snapshots = Snapshots()
    make_trainer(tmp_path, FreezeCallback(["embedding.*"], unfreeze_at_epoch=2), snapshots).train()
    first, second, third, end = snapshots.weights
    assert "embedding.weight" not in moved(first, second) | moved(second, third)
    assert "embedding.weight" in moved(third, end)
    assert {"encoder.weight", "classifier.weight"} <= moved(first, second)


def test_weight_decay_does_not_touch_frozen_weights(tmp_path: Path) -> None:
    snapshots = Snapshots()
    make_trainer(tmp_path, FreezeCallback(["*.weight"], unfreeze_at_epoch=1), snapshots, weight_decay=0.5).train()
    assert not {name for name in moved(*snapshots.weights[:2]) if name.endswith("weight")}


def test_a_run_that_ends_frozen_leaves_the_model_trainable(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, FreezeCallback(["embedding.*"], unfreeze_at_epoch=9), num_train_epochs=1)
    trainer.train()
    assert not trainer.model.embedding.weight.stop_gradient


def test_what_the_user_froze_stays_frozen(tmp_path: Path) -> None:
    model = Toy()
    model.classifier.bias.stop_gradient = True
    snapshots = Snapshots()
    make_trainer(tmp_path, FreezeCallback(["classifier.*"], unfreeze_at_epoch=1), snapshots, model=model).train()
    assert "classifier.weight" in moved(snapshots.weights[1], snapshots.weights[-1])
    assert "classifier.bias" not in moved(snapshots.weights[0], snapshots.weights[-1])


def test_frozen_parameters_get_no_gradient_and_no_optimizer_state(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, FreezeCallback(["embedding.*"], unfreeze_at_epoch=9), num_train_epochs=1)
    trainer.train()
    name = trainer.model.embedding.weight.name
    assert not [key for key in trainer.optimizer.state_dict() if key.startswith(f"{name}_moment")]


def test_phases_are_recorded(tmp_path: Path) -> None:
    callback = FreezeCallback(["embedding.*"], unfreeze_at_epoch=1)
    callback.record = RunRecord(tmp_path / "record.jsonl")
    make_trainer(tmp_path, callback).train()
    assert [(event["epoch"], event["what"]) for event in callback.record.of("phase")] == [(0, "frozen"), (1, "released")]


@pytest.mark.parametrize(("resume_at", "still_frozen"), [(2, True), (4, True), (6, True), (8, False), (10, False)])
def test_a_resumed_run_knows_its_phase(tmp_path: Path, resume_at: int, still_frozen: bool) -> None:
    def run(checkpoint: Path | None) -> Snapshots:
        snapshots = Snapshots()
        freeze = FreezeCallback(["embedding.*"], unfreeze_at_epoch=2)
        with new_process():
            make_trainer(tmp_path, ResumeCallback(), freeze, snapshots, save_strategy="steps", save_steps=2).train(
                resume_from_checkpoint=str(checkpoint) if checkpoint else None
            )
        return snapshots

    whole, resumed = run(None), run(tmp_path / f"checkpoint-{resume_at}")
    assert resumed.stop_gradient[0]["embedding.weight"] is still_frozen
    for name, value in whole.weights[-1].items():
        np.testing.assert_array_equal(resumed.weights[-1][name], value, err_msg=name)


def test_a_pattern_without_a_match_is_refused_before_the_first_step(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, FreezeCallback(["encodr.*"], unfreeze_at_epoch=1))
    with pytest.raises(PatternError, match=r"'encodr\.\*' matched 0 of 7 parameters; nearest: 'encoder'"):
        trainer.train()


def test_a_release_that_is_no_release_is_refused() -> None:
    with pytest.raises(RecipeError, match="unfreeze_at_epoch is 0"):
        FreezeCallback(["embedding.*"], unfreeze_at_epoch=0)
