"""Early stopping: decisions, the weights that come back, and what survives a restart."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle
import pytest

import paddlenlp_embtune as embtune
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.training import RunRecord
from paddlenlp_embtune.training.callbacks import EarlyStoppingCallback, StopReason
from tests.host import Trainer, TrainerCallback, TrainerControl, TrainerState
from tests.toy import Snapshots, States, Toy, assert_equal, make_trainer, new_process, state_of

STEPS = 4
"""Steps of the toy's epoch."""

Weights = dict[str, npt.NDArray[Any]]


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
    with pytest.raises(RecipeError, match=r"watches 'eval_acuracy'.*did you mean 'eval_accuracy'"):
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


# --- in a recipe ----------------------------------------------------------------------------------------------------------


def recipe(stop: Mapping[str, Any], **parts: Any) -> embtune.Recipe:
    """A constant rate for all parameters, and nothing but early stopping, unless asked for."""
    groups = [{"name": "embedding", "parameters": ["embedding.*"], "rate": 0.02}, {"name": "rest", "rate": 0.02}]
    nothing = dict.fromkeys(("freeze", "clip", "health"))
    schedule = {"kind": "constant", "warmup_ratio": 0.0}
    plain = {"groups": groups, "schedule": schedule, **nothing, **parts}
    return embtune.Recipe.from_dict({**plain, "early_stopping": {"metric": "score", **stop}})


def scored(folder: Path, score: Callable[[int], float], *callbacks: Any, **options: Any) -> Any:
    """A Trainer whose evaluations give a score that follows from the step alone."""
    trainer = make_trainer(folder, *callbacks, **options)
    trainer.compute_metrics = lambda _: {"score": score(int(trainer.state.global_step))}
    return trainer


def stop_of(trainer: Any) -> EarlyStoppingCallback:
    (callback,) = (each for each in trainer.callback_handler.callbacks if isinstance(each, EarlyStoppingCallback))
    return callback


def told(record: RunRecord, *kinds: str) -> list[dict[str, Any]]:
    """What the record holds of some kinds of events, but for the time."""
    return [{k: v for k, v in event.items() if k != "time"} for event in record.events if event["event"] in kinds]


# --- which evaluations count ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("delay", "stops_after"), [(0, 2), (1, 2), (2, 3), (3, 4), (9, 0)])
def test_the_first_evaluations_do_not_count_against_patience(delay: int, stops_after: int) -> None:
    callback = EarlyStoppingCallback("f1", mode="max", patience_evals=1, start_delay_evals=delay)
    assert feed(callback, [0.5, 0.4, 0.3, 0.2, 0.1]) == stops_after
    assert (callback.best_value, callback.best_step) == (0.5, 1)


@pytest.mark.parametrize(
    ("metric", "errors", "scores", "kept"),
    [
        ("score", 0.0, (0.8, 0.9, 0.89, 0.5), 2),
        ("score", 1.0, (0.8, 0.9, 0.89, 0.5), 3),  # with 32 rows an error is 0.053
        ("score", 1.0, (0.8, 0.9, 0.86, 0.85), 4),
        ("score", 1.0, (0.8, 0.9, 0.84, 0.93), 4),
        ("score", 1.0, (0.6, 0.9, 0.7, 0.6), 2),
        ("score", 1.0, (8.0, 9.0, 8.99, 5.0), 2),  # no share of rows
        ("loss", 9.0, (0.5, 0.4, 0.41, 0.42), 2),
    ],
)
def test_the_last_evaluation_that_is_as_good_as_the_best_counts(
    tmp_path: Path, metric: str, errors: float, scores: tuple[float, ...], kept: int
) -> None:
    steps = States()
    trainer = scored(tmp_path, lambda step: 0.0, steps, num_train_epochs=4)
    trainer.compute_metrics = lambda _: {metric: scores[int(trainer.state.global_step) // STEPS - 1]}
    mode = "min" if metric == "loss" else "max"
    assert len(trainer.eval_dataset) == 32
    stop = {"metric": metric, "mode": mode, "standard_errors": errors, "patience_evals": 9}
    record = embtune.attach(trainer, recipe(stop))
    trainer.train()
    (restored,) = record.of("restored")
    assert (restored["step"], restored["value"]) == (kept * STEPS, scores[kept - 1])
    assert stop_of(trainer).best_value == (min if metric == "loss" else max)(scores)
    assert_equal(state_of(trainer.model), steps.states[kept * STEPS])


@pytest.mark.parametrize(("delay", "stops_at"), [(0, 4), (1, 5)])
def test_evaluations_before_the_release_do_not_count(tmp_path: Path, delay: int, stops_at: int) -> None:
    trainer = scored(tmp_path, lambda step: 0.5, num_train_epochs=8)
    freeze = {"groups": ["embedding"], "unfreeze_at_epoch": 3}
    record = embtune.attach(trainer, recipe({"patience_evals": 1, "start_delay_evals": delay}, freeze=freeze))
    trainer.train()
    assert trainer.state.global_step == STEPS * stops_at
    assert [event["counts"] for event in record.of("early_stopping")] == [False] * (stops_at - 1) + [True]


def test_the_evaluation_that_releases_does_not_count_either(tmp_path: Path) -> None:
    trainer = scored(tmp_path, lambda step: 0.5, num_train_epochs=8)
    freeze = {"groups": ["embedding"], "unfreeze_on_plateau": {"metric": "score", "patience_evals": 2}}
    record = embtune.attach(trainer, recipe({"patience_evals": 1}, freeze=freeze))
    trainer.train()
    assert [(event["what"], event["step"]) for event in record.of("phase")] == [("frozen", 0), ("released", 3 * STEPS)]
    assert [event["counts"] for event in record.of("early_stopping")] == [False, False, False, True]
    assert trainer.state.global_step == 4 * STEPS


def test_what_is_best_before_the_release_comes_back_all_the_same(tmp_path: Path) -> None:
    steps = States()
    trainer = scored(tmp_path, lambda step: -float(step), steps, num_train_epochs=4)
    embtune.attach(trainer, recipe({"patience_evals": 1}, freeze={"groups": ["embedding"], "unfreeze_at_epoch": 2}))
    trainer.train()
    assert trainer.state.global_step == 3 * STEPS
    assert_equal(state_of(trainer.model), steps.states[STEPS])


def test_a_freeze_for_good_holds_nothing_up(tmp_path: Path) -> None:
    trainer = scored(tmp_path, lambda step: 0.5, num_train_epochs=8)
    embtune.attach(trainer, recipe({"patience_evals": 1}, freeze={"groups": ["embedding"], "permanent": True}))
    trainer.train()
    assert trainer.state.global_step == 2 * STEPS


# --- a loss that goes astray ----------------------------------------------------------------------------------------------


class Poison(TrainerCallback):
    """From some step on, spoils the training loss, or else the gradients alone, so that the loss is still good."""

    def __init__(self, step: int, value: float = float("nan"), *, gradients_only: bool = False) -> None:
        self.step = step
        self.value = value
        self.gradients_only = gradients_only
        self.active = False

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.active = state.global_step >= self.step and not self.gradients_only

    def on_optimizer_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.gradients_only and state.global_step == self.step:
            with paddle.no_grad():
                for parameter in kwargs["model"].parameters():
                    parameter.grad.scale_(self.value)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.active = False

    def criterion(self, logits: Any, labels: Any) -> Any:
        loss = paddle.nn.functional.cross_entropy(logits, labels)
        return loss * self.value if self.active else loss


def poisoned(folder: Path, poison: Poison, *callbacks: Any, **options: Any) -> Any:
    trainer = scored(folder, float, poison, *callbacks, **options)
    trainer.criterion = poison.criterion
    return trainer


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("restore", [True, False])
def test_a_loss_that_is_not_finite_stops_before_it_reaches_a_weight(
    tmp_path: Path, value: float, parts: int, restore: bool
) -> None:
    steps = States()
    sizes = {"per_device_train_batch_size": 16 // parts, "gradient_accumulation_steps": parts}
    trainer = poisoned(tmp_path, Poison(6, value), steps, **sizes)
    record = embtune.attach(trainer, recipe({"restore_best": restore}, clip={"global_norm": 1.0, "row_norm": 1.0}))
    trainer.train()
    assert stop_of(trainer).stop_reason is StopReason.NOT_FINITE
    assert [event["reason"] for event in record.of("stopped")] == ["not_finite"]
    assert trainer.state.global_step == 7
    assert all(np.isfinite(value).all() for state in steps.states for value in state.values())
    assert_equal(steps.states[7], steps.states[6])
    # The evaluation after the stop, of the weights before the bad loss, gives the best score.
    assert stop_of(trainer).best_step == 7
    assert_equal(state_of(trainer.model), steps.states[6])


def test_after_a_loss_that_is_not_finite_the_best_weights_come_back(tmp_path: Path) -> None:
    steps = States()
    poison = Poison(10)
    trainer = scored(tmp_path, lambda step: 1.0 if step == STEPS else 0.0, poison, steps)
    trainer.criterion = poison.criterion
    embtune.attach(trainer, recipe({}))
    trainer.train()
    assert stop_of(trainer).stop_reason is StopReason.NOT_FINITE
    assert_equal(state_of(trainer.model), steps.states[STEPS])


@pytest.mark.parametrize(
    "score",
    [
        lambda step: -float(step),
        pytest.param(float),
    ],
    ids=["worse", "better"],
)
def test_gradients_that_are_not_finite_under_a_good_loss_leave_no_nan_behind(
    tmp_path: Path, score: Callable[[int], float]
) -> None:
    # Scores may rise over weights that are NaN: numpy's argmax takes NaN for the largest, so all rows fall into class 0.
    trainer = scored(tmp_path, score, Poison(6, gradients_only=True))
    embtune.attach(trainer, recipe({}, clip={"global_norm": 1.0}))
    trainer.train()
    assert stop_of(trainer).stop_reason is StopReason.NOT_FINITE
    assert all(np.isfinite(value).all() for value in state_of(trainer.model).values())


host_raises = pytest.mark.skipif(
    not hasattr(Trainer, "_check_loss_valid"), reason="PaddleNLP 2 does not look at the loss, so it has no error of its own"
)


@host_raises
def test_without_attach_the_trainers_own_error_comes_through(tmp_path: Path) -> None:
    def error_of(*callbacks: Any) -> str:
        poison = Poison(6)
        trainer = poisoned(tmp_path, poison, *callbacks)
        with pytest.raises(ValueError, match="Loss contains inf or nan") as error:
            trainer.train()
        assert trainer.state.global_step == 6
        return str(error.value)

    assert error_of(EarlyStoppingCallback("score", mode="max")) == error_of()


@host_raises
def test_a_recipe_without_early_stopping_leaves_the_error_to_the_trainer(tmp_path: Path) -> None:
    trainer = poisoned(tmp_path, Poison(6))
    embtune.attach(trainer, embtune.Recipe(early_stopping=None))
    with pytest.raises(ValueError, match="Loss contains inf or nan"):
        trainer.train()


class BlowUp(TrainerCallback):
    """Multiplies the head by a large number after a step, as a rate that is far too high does."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 6:
            kwargs["model"].classifier.weight.set_value(kwargs["model"].classifier.weight * 1000.0)


@pytest.mark.parametrize("ratio", [5.0, None])
def test_a_loss_that_grows_many_times_stops_and_the_best_weights_come_back(tmp_path: Path, ratio: float | None) -> None:
    steps = States()
    trainer = scored(tmp_path, lambda step: 1.0 if step == STEPS else 0.0, BlowUp(), steps, logging_steps=1)
    embtune.attach(trainer, recipe({"divergence_ratio": ratio, "patience_evals": 9}))
    trainer.train()
    assert stop_of(trainer).stop_reason is (None if ratio is None else StopReason.DIVERGED)
    assert trainer.state.global_step == (12 if ratio is None else 10)
    assert_equal(state_of(trainer.model), steps.states[STEPS])


@pytest.mark.parametrize(
    ("cause", "reason"), [(Poison(6), StopReason.NOT_FINITE), (BlowUp(), StopReason.DIVERGED)], ids=["not finite", "diverged"]
)
def test_the_reason_to_stop_is_the_first_one(tmp_path: Path, cause: TrainerCallback, reason: StopReason) -> None:
    trainer = scored(tmp_path, lambda step: float(step <= STEPS), cause, logging_steps=1)
    trainer.criterion = getattr(cause, "criterion", trainer.criterion)
    record = embtune.attach(trainer, recipe({"patience_evals": 2}))
    trainer.train()
    assert trainer.state.global_step == (7 if reason is StopReason.NOT_FINITE else 10)
    assert [event["reason"] for event in record.of("stopped")] == [reason.value]
    assert stop_of(trainer).stop_reason is reason


def test_a_rate_that_is_far_too_high_is_noticed(tmp_path: Path) -> None:
    steps = States()
    options = {"evaluation_strategy": "steps", "eval_steps": 1, "logging_steps": 1, "num_train_epochs": 6}
    trainer = make_trainer(tmp_path, steps, **options)
    group = {"name": "all", "rate": 100.0}
    chosen = recipe(
        {"metric": "accuracy", "patience_evals": 99},
        groups=[group],
        schedule={"kind": "constant", "warmup_ratio": 0.9},
    )
    record = embtune.attach(trainer, chosen)
    trainer.train()
    (stopped,) = record.of("stopped")
    assert stopped["reason"] == "diverged"
    assert stopped["loss"] > 5 * stopped["first_loss"]
    assert trainer.state.global_step < 24
    assert_equal(state_of(trainer.model), steps.states[stop_of(trainer).best_step])
    assert trainer.evaluate()["eval_accuracy"] == max(event["value"] for event in record.of("early_stopping"))


# --- weights of every kind ------------------------------------------------------------------------------------------------


class OddToy(Toy):
    """Buffers, one of which is never saved, a parameter in bfloat16, and a layer that shares its weights with another."""

    def __init__(self) -> None:
        super().__init__()
        self.batch_norm = paddle.nn.BatchNorm1D(8, data_format="NC")
        self.register_buffer("seen", paddle.zeros([1], dtype="int64"))
        self.register_buffer("scratch", paddle.zeros([2]), persistable=False)
        self.narrow = paddle.nn.Linear(8, 1, bias_attr=False)
        self.narrow.to(dtype="bfloat16")
        self.narrow.weight.stop_gradient = True  # there are no bfloat16 kernels to train it with on a CPU
        self.again = paddle.nn.Linear(8, 8)
        self.again.weight = self.encoder.weight

    def forward(self, input_ids: Any) -> Any:
        if self.training:
            self.seen.set_value(self.seen + 1)
            self.scratch.set_value(self.scratch + 1.0)
        hidden = self.batch_norm(self.norm(self.embedding(input_ids).mean(axis=1)))
        hidden = self.again(paddle.tanh(self.encoder(hidden))) * self.narrow.weight.astype("float32").flatten()
        return self.classifier(hidden)


class Wander(TrainerCallback):
    """Moves the parameter in bfloat16."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        weight = kwargs["model"].narrow.weight
        weight.set_value(paddle.full([8, 1], 1.0 + state.global_step / 128.0).astype("bfloat16"))


class Undimensioned(Toy):
    """Has a buffer without a dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("temperature", paddle.to_tensor(1.5))


@pytest.mark.filterwarnings("ignore:When training, we now always track global mean and variance")
@pytest.mark.parametrize(
    "model",
    [
        OddToy,
        pytest.param(Undimensioned),
    ],
)
def test_all_that_a_layer_saves_comes_back_also_from_a_checkpoint(tmp_path: Path, model: type[Toy]) -> None:
    def run(resume: str | None) -> tuple[Any, States]:
        steps = States()
        callbacks = [Wander(), steps] if model is OddToy else [steps]
        with new_process():
            paddle.seed(0)
            trainer = scored(
                tmp_path, lambda step: -float(step), *callbacks, model=model(), num_train_epochs=4, save_strategy="epoch"
            )
            embtune.attach(trainer, recipe({"patience_evals": 9}))
            trainer.train(resume_from_checkpoint=resume)
        return trainer.model, steps

    whole, steps = run(None)
    best = steps.states[STEPS]
    assert all((best[name] != steps.states[-1][name]).any() for name in best if name != "temperature")
    assert_equal(state_of(whole), best)
    resumed, _ = run(str(tmp_path / "checkpoint-8"))
    assert_equal(state_of(resumed), best)
    if model is OddToy:
        assert resumed.again.weight is resumed.encoder.weight
        assert str(resumed.narrow.weight.dtype) == "paddle.bfloat16"
        assert "scratch" not in best


# --- after the decision, and after the end --------------------------------------------------------------------------------


@pytest.mark.parametrize("restore", [True, False])
@pytest.mark.parametrize("poison", [None, Poison(6)], ids=["no improvement", "not finite"])
def test_a_run_that_had_decided_to_stop_moves_nothing_when_it_is_resumed(
    tmp_path: Path, restore: bool, poison: Poison | None
) -> None:
    def run(resume: str | None) -> tuple[Any, States]:
        steps = States()
        with new_process():
            trainer = scored(tmp_path, lambda step: -float(step), steps, num_train_epochs=6, save_strategy="epoch")
            if poison is not None and resume is None:
                trainer.add_callback(poison)
                trainer.criterion = poison.criterion
            embtune.attach(trainer, recipe({"patience_evals": 1, "restore_best": restore}))
            trainer.train(resume_from_checkpoint=resume)
        return trainer, steps

    first, steps = run(None)
    newest = max(int(path.name.partition("-")[2]) for path in tmp_path.glob("checkpoint-*"))
    assert newest == first.state.global_step < 12
    second, again = run(str(tmp_path / f"checkpoint-{newest}"))
    assert second.state.global_step <= newest + 1
    assert all(np.array_equal(state[name], value) for state in again.states for name, value in steps.states[-1].items())
    assert_equal(state_of(second.model), state_of(first.model))
    assert_equal(state_of(second.model), steps.states[STEPS if restore else -1])


class Descend(TrainerCallback):
    """Lowers a value of the model, its height, by one in every step until step 8."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        bias = kwargs["model"].classifier.bias
        bias.set_value(paddle.full_like(bias, -float(min(state.global_step, 8))))


def test_a_run_that_had_decided_to_stop_keeps_its_average_when_it_is_resumed(tmp_path: Path) -> None:
    def run(resume: str | None) -> Weights:
        with new_process():
            trainer = make_trainer(tmp_path, Descend(), num_train_epochs=6, save_strategy="epoch")
            # At the stop, the average is above the best height, and the weights are below it.
            height = trainer.model.classifier.bias
            trainer.compute_metrics = lambda _: {"score": 0.5, "near": -abs(float(height[0]) + 7.6)}
            average = {"every_steps": 1, "metric": "near"}
            record = embtune.attach(trainer, recipe({"patience_evals": 1}, average=average))
            trainer.train(resume_from_checkpoint=resume)
        assert record.of("averaged")[0]["kept"] == "average"
        return state_of(trainer.model)

    whole = run(None)
    assert_equal(run(str(tmp_path / "checkpoint-8")), whole)


@pytest.mark.parametrize("kind", ["constant", "plateau"])
def test_evaluating_after_training_disturbs_nothing(tmp_path: Path, kind: str) -> None:
    trainer = make_trainer(tmp_path, num_train_epochs=4)
    schedule = {"kind": kind, "warmup_ratio": 0.0, "plateau": {"metric": "accuracy"}}
    record = embtune.attach(trainer, recipe({"metric": "accuracy", "patience_evals": 1}, schedule=schedule))
    trainer.train()
    end, events, best = state_of(trainer.model), list(record.events), stop_of(trainer).best_value
    for _ in range(3):
        assert trainer.evaluate()["eval_accuracy"] == best
    assert_equal(state_of(trainer.model), end)
    assert record.events == events
    assert stop_of(trainer).best_value == best


def test_evaluating_after_a_run_that_never_released_disturbs_nothing(tmp_path: Path) -> None:
    trainer = scored(tmp_path, lambda step: 0.5, num_train_epochs=2)
    freeze = {"groups": ["embedding"], "unfreeze_on_plateau": {"metric": "score", "patience_evals": 2}}
    embtune.attach(trainer, recipe({}, freeze=freeze))
    trainer.train()
    end = state_of(trainer.model)
    trainer.evaluate()
    assert_equal(state_of(trainer.model), end)


def test_evaluating_before_training_decides_nothing(tmp_path: Path) -> None:
    trainer = scored(tmp_path, lambda step: 0.5)
    embtune.attach(trainer, recipe({"patience_evals": 2}))
    start = state_of(trainer.model)
    for _ in range(3):
        trainer.evaluate()
    trainer.train()
    assert trainer.state.global_step == 12
    assert (state_of(trainer.model)["classifier.weight"] != start["classifier.weight"]).any()


def test_a_second_training_begins_afresh(tmp_path: Path) -> None:
    trainer = scored(tmp_path, lambda step: 0.5, num_train_epochs=4)
    embtune.attach(trainer, recipe({"patience_evals": 1, "restore_best": False}))
    trainer.train()
    assert trainer.state.global_step == 8
    trainer.train()
    assert trainer.state.global_step == 8


# --- the trail ------------------------------------------------------------------------------------------------------------


TRAIL = ("phase", "early_stopping", "stopped", "restored", "rate_scaled")


def trail_run(folder: Path, record: RunRecord, resume: str | None) -> RunRecord:
    """Scores that rise, stay and fall; a release at step 4 and a stop at step 20, checkpoints at every second step."""
    scores = {4: 0.1, 8: 0.3, 12: 0.2, 16: 0.3, 20: 0.1}
    with new_process():
        trainer = scored(folder, lambda step: scores.get(step, 0.0), num_train_epochs=7, save_strategy="steps", save_steps=2)
        plateau = {"kind": "plateau", "warmup_ratio": 0.0, "plateau": {"metric": "score"}}
        freeze = {"groups": ["embedding"], "unfreeze_at_epoch": 1}
        embtune.attach(trainer, recipe({"patience_evals": 3}, freeze=freeze, schedule=plateau), record=record)
        trainer.train(resume_from_checkpoint=resume)
    return record


def test_the_trail_of_decisions_is_whole_after_a_restart(tmp_path: Path) -> None:
    whole = told(trail_run(tmp_path, RunRecord(), None), *TRAIL)
    assert [event["value"] for event in whole if event["event"] == "early_stopping"] == [0.1, 0.3, 0.2, 0.3, 0.1]
    assert [event["step"] for event in whole if event["event"] == "stopped"] == [20]
    # A resumed run writes later checkpoints again, so the last comes first; from 6 it is cut once more, at 14.
    for number, checkpoint in enumerate((16, 10, 6, 14, 4, 2)):
        path = tmp_path / f"record-{number}.jsonl"
        record = trail_run(tmp_path, RunRecord(path), str(tmp_path / f"checkpoint-{checkpoint}"))
        # A process that begins with frozen parameters says so again.
        assert without_repeats(told(record, *TRAIL)) == whole
        assert [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] == record.events


def without_repeats(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    starts = [number for number, event in enumerate(events) if event.get("what") == "frozen"]
    return [event for number, event in enumerate(events) if number not in starts[1:]]


def test_a_record_that_goes_on_in_the_same_file_holds_every_event_once(tmp_path: Path) -> None:
    whole = told(trail_run(tmp_path, RunRecord(tmp_path / "record.jsonl"), None), "early_stopping")
    trail_run(tmp_path, RunRecord(tmp_path / "record.jsonl"), str(tmp_path / "checkpoint-20"))
    lines = [json.loads(line) for line in (tmp_path / "record.jsonl").read_text(encoding="utf-8").splitlines()]
    steps = [line["step"] for line in lines if line["event"] == "early_stopping" and line["step"] <= 20]
    assert steps == [event["step"] for event in whole]


def test_the_trail_of_a_run_that_had_stopped_does_not_grow(tmp_path: Path) -> None:
    whole = told(trail_run(tmp_path, RunRecord(), None), *TRAIL)
    resumed = told(trail_run(tmp_path, RunRecord(), str(tmp_path / "checkpoint-20")), *TRAIL)
    assert resumed == whole
