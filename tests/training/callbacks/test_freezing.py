"""Freezing, seen from the weights and from the optimizer's state."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_embtune.config.optimization import PlateauSpec
from paddlenlp_embtune.errors import PatternError, RecipeError
from paddlenlp_embtune.training import RunRecord
from paddlenlp_embtune.training.callbacks import FreezingCallback, ResumeCallback
from tests.host import TrainerCallback
from tests.toy import Interrupt, Snapshots, Steps, Toy, assert_equal, make_trainer, named, new_process, script_accuracy

ACCURACY = PlateauSpec(metric="accuracy")


class Optimizer(TrainerCallback):
    """The optimizer's state of one parameter before every step and at the end."""

    def __init__(self, parameter: str) -> None:
        self.parameter = parameter
        self.state: list[dict[str, np.ndarray]] = []

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        name = dict(kwargs["model"].named_parameters())[self.parameter].name
        held = kwargs["optimizer"].state_dict()
        self.state.append({k.removeprefix(name): v.numpy().copy() for k, v in held.items() if k.startswith(f"{name}_")})

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.on_step_begin(args, state, control, **kwargs)


def moved(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    return {name for name in before if not np.array_equal(before[name], after[name])}


# --- release --------------------------------------------------------------------------------------------------------


def test_frozen_weights_are_bit_equal_until_release_and_move_after_it(tmp_path: Path) -> None:
    snapshots = Snapshots()
    make_trainer(tmp_path, FreezingCallback(["embedding.*"], unfreeze_at_epoch=2), snapshots).train()
    first, second, third, end = snapshots.weights
    assert "embedding.weight" not in moved(first, second) | moved(second, third)
    assert "embedding.weight" in moved(third, end)
    assert {"encoder.weight", "classifier.weight"} <= moved(first, second)


@pytest.mark.parametrize("step", [1, 5, 11])
def test_release_at_a_step_keeps_weights_bit_equal_for_that_many_steps(tmp_path: Path, step: int) -> None:
    steps = Steps()
    make_trainer(tmp_path, FreezingCallback(["embedding.*"], unfreeze_at_step=step), steps).train()
    assert steps.moved("embedding.weight") == list(range(step, 12))
    assert steps.moved("classifier.weight") == list(range(12))


@pytest.mark.parametrize(
    ("options", "accuracies", "first_step"),
    [
        ({}, (0.5, 0.6, 0.6, 0.7, 0.8), 12),
        ({"unfreeze_on_plateau": PlateauSpec(metric="accuracy", patience_evals=2)}, (0.5, 0.4, 0.3, 0.7, 0.8), 12),
        ({"unfreeze_on_plateau": PlateauSpec(metric="eval_accuracy", mode="min")}, (0.5, 0.4, 0.4, 0.3, 0.2), 12),
        ({"unfreeze_on_plateau": PlateauSpec(metric="accuracy", min_delta=0.1)}, (0.5, 0.55, 0.7, 0.9, 0.9), 8),
        ({"unfreeze_at_epoch": 2}, (0.5, 0.6, 0.7, 0.8, 0.9), 8),
        ({"unfreeze_at_epoch": 3}, (0.5, 0.5, 0.7, 0.8, 0.9), 8),
        ({"unfreeze_at_step": 7}, (0.5, 0.6, 0.7, 0.8, 0.9), 7),
    ],
)
def test_release_on_a_plateau_or_at_the_latest_time(
    tmp_path: Path, options: dict[str, Any], accuracies: tuple[float, ...], first_step: int
) -> None:
    steps = Steps()
    freeze = FreezingCallback(["embedding.*"], **{"unfreeze_on_plateau": ACCURACY, **options})
    script_accuracy(make_trainer(tmp_path, freeze, steps, num_train_epochs=5), *accuracies).train()
    assert steps.moved("embedding.weight") == list(range(first_step, 20))


def test_a_plateau_that_never_came_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    steps = Steps()
    freeze = FreezingCallback(["embedding.*"], unfreeze_on_plateau=ACCURACY)
    script_accuracy(make_trainer(tmp_path, freeze, steps), 0.1, 0.2, 0.3).train()
    assert steps.moved("embedding.weight") == []
    assert "training ended before the freeze schedule released embedding.*" in caplog.text


def test_a_plateau_that_never_came_before_the_second_freeze_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    freeze = FreezingCallback(["embedding.*"], unfreeze_on_plateau=ACCURACY, refreeze_at_epoch=2)
    script_accuracy(make_trainer(tmp_path, freeze), 0.1, 0.2, 0.3).train()
    assert "before the freeze schedule released embedding.*" in caplog.text


def test_a_metric_that_no_evaluation_gives_is_refused(tmp_path: Path) -> None:
    freeze = FreezingCallback(["embedding.*"], unfreeze_on_plateau=PlateauSpec(metric="acuracy"))
    with pytest.raises(RecipeError, match=r"watches 'eval_acuracy'.*did you mean 'eval_accuracy'"):
        make_trainer(tmp_path, freeze).train()


@pytest.mark.parametrize(("before", "after"), [(2, 0), (0, 1)])
def test_evaluations_outside_training_release_nothing(tmp_path: Path, before: int, after: int) -> None:
    steps = Steps()
    freeze = FreezingCallback(["embedding.*"], unfreeze_on_plateau=ACCURACY)
    trainer = make_trainer(tmp_path, freeze, steps)
    script_accuracy(trainer, 0.1, 0.2, 0.3)
    for _ in range(before):
        trainer.evaluate()
    trainer.train()
    for _ in range(after):
        trainer.evaluate()
    assert steps.moved("embedding.weight") == []


def test_a_second_training_waits_for_a_plateau_of_its_own(tmp_path: Path) -> None:
    steps = Steps()
    freeze = FreezingCallback(["embedding.*"], unfreeze_on_plateau=ACCURACY)
    trainer = make_trainer(tmp_path, freeze, steps, lr_scheduler_type="constant")
    script_accuracy(trainer, 0.9, 0.9, 0.9).train()
    assert steps.moved("embedding.weight") == list(range(8, 12))
    steps.weights.clear()
    script_accuracy(trainer, 0.1, 0.1, 0.2).train()
    assert steps.moved("embedding.weight") == list(range(8, 12))


# --- gradual release ------------------------------------------------------------------------------------------------


DOWNWARDS = ("encoder.*", "norm.*", "embedding.*")
RISING = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)


@pytest.mark.parametrize(
    ("options", "accuracies", "releases"),
    [
        ({"unfreeze_at_epoch": 1}, RISING, (4, 8, 12)),
        ({"unfreeze_at_epoch": 1, "every_epochs": 2}, RISING, (4, 12, 20)),
        ({"unfreeze_at_step": 3}, RISING, (3, 6, 9)),
        ({"unfreeze_at_step": 2, "every_steps": 5}, RISING, (2, 7, 12)),
        ({"unfreeze_on_plateau": ACCURACY}, (0.5, 0.5, 0.6, 0.6, 0.6, 0.7), (8, 16, 20)),
        ({"unfreeze_on_plateau": PlateauSpec(metric="accuracy", patience_evals=2)}, (0.5,) * 6, (12, 20, 24)),
        ({"unfreeze_on_plateau": ACCURACY, "unfreeze_at_epoch": 2}, RISING, (8, 12, 16)),
        ({"unfreeze_on_plateau": ACCURACY, "unfreeze_at_epoch": 3}, (0.5, 0.5, 0.5, 0.6, 0.7, 0.8), (8, 12, 20)),
    ],
)
def test_units_are_released_from_the_head_downwards_one_at_a_time(
    tmp_path: Path, options: dict[str, Any], accuracies: tuple[float, ...], releases: tuple[int, ...]
) -> None:
    steps = Steps()
    freeze = FreezingCallback(DOWNWARDS, gradual=True, **options)
    script_accuracy(make_trainer(tmp_path, freeze, steps, num_train_epochs=6), *accuracies).train()
    for unit, release in zip(DOWNWARDS, releases, strict=True):
        name = unit.replace("*", "weight")
        assert steps.moved(name) == list(range(release, 24)), name
    assert steps.moved("classifier.weight") == list(range(24))


# --- a second freeze ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "trains"),
    [
        ({"unfreeze_at_epoch": 1, "refreeze_at_epoch": 2}, range(4, 8)),
        ({"unfreeze_at_step": 3, "refreeze_at_step": 9}, range(3, 9)),
        ({"unfreeze_at_epoch": 1, "refreeze_at_step": 6}, range(4, 6)),
        ({"unfreeze_on_plateau": PlateauSpec(metric="accuracy", mode="min"), "refreeze_at_epoch": 3}, range(8, 12)),
    ],
)
def test_a_second_freeze_leaves_weights_and_moments_as_they_are(tmp_path: Path, options: dict[str, Any], trains: range) -> None:
    steps, optimizer = Steps(), Optimizer("encoder.weight")
    freeze = FreezingCallback(["encoder.*"], **options)
    trainer = make_trainer(tmp_path, freeze, steps, optimizer, num_train_epochs=4, weight_decay=0.5)
    script_accuracy(trainer, *RISING).train()
    assert steps.moved("encoder.weight") == list(trains)
    assert all(not state for state in optimizer.state[: trains.start + 1])
    again = optimizer.state[trains.stop :]
    assert any(np.abs(value).max() > 0 for value in again[0].values())
    for state in again[1:]:
        assert_equal(state, again[0])


# --- what freezing saves --------------------------------------------------------------------------------------------


def test_weight_decay_does_not_touch_frozen_weights(tmp_path: Path) -> None:
    snapshots = Snapshots()
    make_trainer(tmp_path, FreezingCallback(["*.weight"], unfreeze_at_epoch=1), snapshots, weight_decay=0.5).train()
    assert not {name for name in moved(*snapshots.weights[:2]) if name.endswith("weight")}


def test_a_frozen_embedding_and_lower_layers_need_no_gradient(tmp_path: Path) -> None:
    steps = Steps()
    make_trainer(tmp_path, FreezingCallback(["embedding.*", "norm.*"], unfreeze_at_step=6), steps).train()
    upper = {"encoder.weight", "encoder.bias", "classifier.weight", "classifier.bias"}
    assert steps.with_gradient[:6] == [upper] * 6
    assert steps.with_gradient[6:] == [upper | {"embedding.weight", "norm.weight", "norm.bias"}] * 6


class Counted(paddle.autograd.PyLayer):
    """The identity; notes when the backward pass comes by."""

    @staticmethod
    def forward(ctx: Any, hidden: Any, passed: list[int], depth: int) -> Any:
        ctx.passed, ctx.depth = passed, depth
        return hidden.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:
        ctx.passed.append(ctx.depth)
        return gradient


class Deep(paddle.nn.Layer):
    """An embedding, four layers that tell when the backward pass goes on below them, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = paddle.nn.Embedding(30, 8)
        self.layers = paddle.nn.LayerList([paddle.nn.Linear(8, 8) for _ in range(4)])
        self.head = paddle.nn.Linear(8, 3)
        self.passed: list[int] = []

    def forward(self, input_ids: Any) -> Any:
        hidden = self.embedding(input_ids).mean(axis=1)
        for depth, layer in enumerate(self.layers):
            hidden = paddle.tanh(layer(Counted.apply(hidden, self.passed, depth)))
        return self.head(hidden)


def test_the_backward_pass_stops_above_frozen_layers(tmp_path: Path) -> None:
    class Passed(TrainerCallback):
        def __init__(self) -> None:
            self.by_step: list[list[int]] = []

        def on_optimizer_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.by_step.append(sorted(kwargs["model"].passed))
            kwargs["model"].passed.clear()

    passed = Passed()
    freeze = FreezingCallback(["layers.[01].*", "embedding.*"], gradual=True, unfreeze_at_epoch=1)
    make_trainer(tmp_path, freeze, passed, model=Deep()).train()
    assert passed.by_step == [[3]] * 4 + [[1, 2, 3]] * 4 + [[0, 1, 2, 3]] * 4


def test_frozen_parameters_have_no_optimizer_state_before_and_after_a_resume(tmp_path: Path) -> None:
    def run(checkpoint: int | None, epochs: int) -> list[dict[str, np.ndarray]]:
        optimizer = Optimizer("embedding.weight")
        with new_process():
            trainer = make_trainer(
                tmp_path,
                ResumeCallback(),
                FreezingCallback(["embedding.*"], unfreeze_at_epoch=2),
                optimizer,
                save_strategy="steps",
                save_steps=3,
                num_train_epochs=epochs,
            )
            trainer.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{checkpoint}") if checkpoint else None)
        return optimizer.state

    whole = run(None, 3)
    shutil.rmtree(tmp_path / "checkpoint-6")
    resumed = run(3, 3)
    assert [bool(state) for state in whole] == [False] * 9 + [True] * 4
    assert [bool(state) for state in resumed] == [False] * 6 + [True] * 4
    assert_equal(resumed[-1], whole[-1])
    for checkpoint, held in ((3, False), (6, False), (9, True)):
        saved = paddle.load(str(tmp_path / f"checkpoint-{checkpoint}" / "optimizer.pdopt"))
        assert any(key.startswith("embedding_0") for key in saved) is held, checkpoint


def test_optimizer_state_of_what_is_frozen_again_outlives_two_resumes(tmp_path: Path) -> None:
    def run(checkpoint: int | None) -> tuple[Steps, list[dict[str, np.ndarray]]]:
        steps, optimizer = Steps(), Optimizer("encoder.weight")
        with new_process():
            trainer = make_trainer(
                tmp_path,
                ResumeCallback(),
                FreezingCallback(["encoder.*"], unfreeze_at_epoch=1, refreeze_at_epoch=2),
                steps,
                optimizer,
                save_strategy="steps",
                save_steps=2,
                num_train_epochs=5,
            )
            trainer.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{checkpoint}") if checkpoint else None)
        return steps, optimizer.state

    whole, state = run(None)
    for resume_at in (10, 14):
        for later in range(resume_at + 2, 21, 2):
            shutil.rmtree(tmp_path / f"checkpoint-{later}")
        resumed, resumed_state = run(resume_at)
        assert resumed.moved("encoder.weight") == []
        assert_equal(resumed.weights[-1], whole.weights[-1])
        assert resumed_state[-1]
        assert_equal(resumed_state[-1], state[8])


# --- several callbacks, and resumes ---------------------------------------------------------------------------------


def test_a_resumed_run_knows_its_phase(tmp_path: Path) -> None:
    def run(checkpoint: Path | None) -> Snapshots:
        snapshots = Snapshots()
        freeze = FreezingCallback(["embedding.*"], unfreeze_at_epoch=2)
        with new_process():
            make_trainer(tmp_path, ResumeCallback(), freeze, snapshots, save_strategy="steps", save_steps=2).train(
                resume_from_checkpoint=str(checkpoint) if checkpoint else None
            )
        return snapshots

    whole = run(None)
    for resume_at, still_frozen in ((10, False), (8, False), (6, True), (4, True), (2, True)):
        resumed = run(tmp_path / f"checkpoint-{resume_at}")
        assert resumed.stop_gradient[0]["embedding.weight"] is still_frozen, resume_at
        assert_equal(resumed.weights[-1], whole.weights[-1])


def test_two_freezes_on_one_trainer_each_continue_in_their_phase(tmp_path: Path) -> None:
    def run(checkpoint: int) -> Steps:
        steps = Steps()
        with new_process():
            trainer = make_trainer(
                tmp_path,
                ResumeCallback(),
                FreezingCallback(["embedding.*"], unfreeze_at_step=3, refreeze_at_step=9),
                FreezingCallback(["encoder.*", "norm.*"], unfreeze_on_plateau=ACCURACY, gradual=True),
                steps,
                save_strategy="steps",
                save_steps=2,
            )
            script_accuracy(trainer, 0.6, 0.5, 0.4)
            trainer.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{checkpoint}") if checkpoint else None)
        return steps

    whole = run(0)
    assert whole.moved("embedding.weight") == list(range(3, 9))
    assert whole.moved("encoder.weight") == list(range(8, 12))
    for resume_at in (10, 8, 6, 4, 2):  # a resumed run writes later checkpoints again
        resumed = run(resume_at)
        for name in ("embedding.weight", "encoder.weight", "norm.weight"):
            assert [resume_at + step for step in resumed.moved(name)] == [s for s in whole.moved(name) if s >= resume_at], name
        assert_equal(resumed.weights[-1], whole.weights[-1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unfreeze_at_epoch": 1}, "FreezingCallback: unfreeze_at_epoch: 2 in the checkpoint, 1 now"),
        ({"unfreeze_at_epoch": 2, "refreeze_at_step": 10}, "refreeze_at_step: None in the checkpoint, 10 now"),
    ],
)
def test_a_checkpoint_of_another_schedule_is_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    freezes = FreezingCallback(["embedding.*"], unfreeze_at_epoch=2), FreezingCallback(["embedding.*"], **options)
    saved, steps = Steps(), Steps()
    make_trainer(tmp_path, ResumeCallback(), freezes[0], saved, save_strategy="steps", save_steps=6).train()
    trainer = make_trainer(tmp_path, ResumeCallback(), freezes[1], steps)
    with pytest.raises(RecipeError, match=f"checkpoint-6 was made by another recipe .*{message}"):
        trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-6"))
    assert not steps.weights
    assert_equal(named(trainer.model), saved.weights[6])


def test_phases_are_recorded(tmp_path: Path) -> None:
    callback = FreezingCallback(["embedding.*"], unfreeze_at_epoch=1)
    callback.record = RunRecord(tmp_path / "record.jsonl")
    make_trainer(tmp_path, callback).train()
    assert [(event["epoch"], event["what"]) for event in callback.record.of("phase")] == [(0, "frozen"), (1, "released")]


def test_after_an_interrupt_the_same_trainer_trains_again(tmp_path: Path) -> None:
    steps = Steps()
    freeze = FreezingCallback(["embedding.*"], unfreeze_at_epoch=1)
    trainer = make_trainer(tmp_path, freeze, Interrupt(2), steps, lr_scheduler_type="constant")
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    steps.weights.clear()
    trainer.train()
    assert steps.moved("embedding.weight") == list(range(4, 12))


# --- refused --------------------------------------------------------------------------------------------------------


def test_a_run_that_ends_frozen_leaves_the_model_trainable(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, FreezingCallback(["embedding.*"], permanent=True), num_train_epochs=1)
    trainer.train()
    assert not trainer.model.embedding.weight.stop_gradient


def test_what_the_user_froze_stays_frozen(tmp_path: Path) -> None:
    model = Toy()
    model.classifier.bias.stop_gradient = True
    snapshots = Snapshots()
    make_trainer(tmp_path, FreezingCallback(["classifier.*"], unfreeze_at_epoch=1), snapshots, model=model).train()
    assert "classifier.weight" in moved(snapshots.weights[1], snapshots.weights[-1])
    assert "classifier.bias" not in moved(snapshots.weights[0], snapshots.weights[-1])


def test_a_freeze_of_what_the_user_froze_already_is_refused_with_the_reason(tmp_path: Path) -> None:
    model = Toy()
    model.embedding.weight.stop_gradient = True
    trainer = make_trainer(tmp_path, FreezingCallback(["embedding.*"], unfreeze_at_epoch=1), model=model)
    with pytest.raises(
        RecipeError, match=r"'embedding.*' should release was frozen before training began.*replicas are wrapped"
    ):
        trainer.train()


def refused(trainer: Any, message: str) -> None:
    """Expect that training refuses to begin, and leaves the weights as they were."""
    before, steps = named(trainer.model), Steps()
    trainer.add_callback(steps)
    with pytest.raises(RecipeError, match=message):
        trainer.train()
    assert not steps.weights
    assert_equal(named(trainer.model), before)


@pytest.mark.parametrize("units", [[["*"]], [DOWNWARDS, ["classifier.*"]]], ids=["one callback", "two callbacks"])
def test_freezes_that_leave_nothing_to_train_are_refused(tmp_path: Path, units: list[list[str]]) -> None:
    callbacks = [FreezingCallback(each, unfreeze_at_epoch=1) for each in units]
    refused(make_trainer(tmp_path, *callbacks), "nothing is left to train while .* frozen; leave at least one")


def test_after_a_refusal_the_trainer_trains_without_the_callback_that_was_too_much(tmp_path: Path) -> None:
    one, too_much = (FreezingCallback(each, unfreeze_at_epoch=1) for each in (DOWNWARDS, ["classifier.*"]))
    steps = Steps()
    trainer = make_trainer(tmp_path, one, too_much, steps)
    refused(trainer, "nothing is left to train")
    trainer.remove_callback(too_much)
    trainer.train()
    assert steps.moved("embedding.weight") == list(range(4, 12))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unfreeze_at_epoch": 3}, "asks for the epoch 3, but the run has 3 epochs.*never be released"),
        ({"unfreeze_at_step": 12}, "asks for the step 12, but the run has 12 steps.*never be released"),
        ({"unfreeze_at_epoch": 1, "every_epochs": 1, "gradual": True}, "asks for the epoch 3.*'norm.*' would never"),
        ({"unfreeze_at_step": 5, "gradual": True}, "asks for the step 15.*'norm.*' would never be released"),
        ({"unfreeze_at_epoch": 1, "refreeze_at_epoch": 3}, "the epoch 3, but the run has 3 epochs.*never be frozen again"),
        ({"unfreeze_at_epoch": 1, "refreeze_at_step": 12}, "the step 12, but the run has 12 steps.*never be frozen again"),
    ],
)
def test_a_schedule_that_the_run_is_too_short_for_is_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    units = ["embedding.*", "encoder.*", "norm.*"]
    refused(make_trainer(tmp_path, FreezingCallback(units, **options)), message)


@pytest.mark.parametrize(
    "options",
    [
        {"unfreeze_at_epoch": 2, "refreeze_at_step": 6},
        {"unfreeze_at_step": 9, "refreeze_at_epoch": 2},
        {"unfreeze_at_step": 2, "every_steps": 3, "gradual": True, "refreeze_at_step": 8},
        {"unfreeze_at_epoch": 1, "gradual": True, "refreeze_at_epoch": 2},
    ],
)
def test_a_schedule_that_freezes_again_before_the_release_is_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    units = ["embedding.*", "encoder.*", "norm.*"]
    refused(make_trainer(tmp_path, FreezingCallback(units, **options), num_train_epochs=4), "never be released")


def test_a_pattern_without_a_match_is_refused_before_the_first_step(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, FreezingCallback(["encodr.*"], unfreeze_at_epoch=1))
    with pytest.raises(PatternError, match=r"'encodr\.\*' matched 0 of 7 parameters; did you mean 'encoder'"):
        trainer.train()


def test_a_release_that_is_no_release_is_refused() -> None:
    with pytest.raises(RecipeError, match="unfreeze_at_epoch must be 1 or more, got 0"):
        FreezingCallback(["embedding.*"], unfreeze_at_epoch=0)
