"""Averages of the weights: what they are made of, when they stay, and what they leave alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle
import pytest

import paddlenlp_embtune as embtune
from paddlenlp_embtune.config.recipe import AverageSpec
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.training.callbacks import WeightAveragingCallback
from tests.host import TrainerCallback, TrainerState
from tests.toy import States, Toy, make_trainer, named, new_process

STEPS = 4
"""Steps of the toy's epoch."""

Weights = dict[str, npt.NDArray[Any]]


class Climb(TrainerCallback):
    """Sets a value of the model, its height, after every step; evaluations give the height that they find."""

    def __init__(self, height: Callable[[int], float]) -> None:
        self.height = height

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        set_height(kwargs["model"], self.height(int(state.global_step)))


def set_height(model: Any, value: float) -> None:
    bias = model.classifier.bias.numpy()
    bias[0] = value
    model.classifier.bias.set_value(bias)


def height_of(model: Any) -> float:
    return float(model.classifier.bias.numpy()[0])


def moving_average(history: Sequence[Any], *, decay: float, every_steps: int = 1, first: int = 0) -> Any:
    """The exponential moving average of values after every step, in float64, with a short memory while the history is short."""
    average, updates = np.float64(0.0), 0
    for step, value in enumerate(history, start=1):
        if step <= first or step % every_steps:
            continue
        kept = min(decay**every_steps, (1 + updates) / (10 + updates)) if updates else 0.0
        average = kept * average + (1 - kept) * np.asarray(value, np.float64)
        updates += 1
    return average


def recipe(average: dict[str, Any] | None, **parts: Any) -> embtune.Recipe:
    """A constant rate, and nothing but an average, unless asked for."""
    groups = [
        {"name": "embedding", "parameters": ["embedding.*"], "rate": 0.05, "weight_decay": 0.5},
        {"name": "encoder", "parameters": ["encoder.*"], "rate": 0.05, "weight_decay": 0.5},
        {"name": "rest", "rate": 0.05},
    ]
    nothing = dict.fromkeys(("freeze", "clip", "early_stopping", "health"))
    schedule = {"kind": "constant", "warmup_ratio": 0.0}
    return embtune.Recipe.from_dict({"groups": groups, "schedule": schedule, "average": average, **nothing, **parts})


def climbing(folder: Path, climb: Callable[[int], float], **options: Any) -> Any:
    """A Trainer whose metric is the height that the climb gives."""
    trainer = make_trainer(folder, Climb(climb), **options)
    trainer.compute_metrics = lambda _: {"height": height_of(trainer.model)}
    return trainer


# --- what the average is --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("decay", "every_steps", "start_epoch"),
    [(0.2, 1, None), (0.999, 1, None), (0.9, 3, 0), (0.5, 2, 1), (0.999, 1, 2)],
)
def test_without_evaluations_the_moving_average_replaces_the_weights(
    tmp_path: Path, decay: float, every_steps: int, start_epoch: int | None
) -> None:
    spec = AverageSpec(decay=decay, every_steps=every_steps, start_epoch=start_epoch)
    steps = States()
    trainer = make_trainer(tmp_path, steps, WeightAveragingCallback(spec), learning_rate=0.05, evaluation_strategy="no")
    trainer.train()
    for name, value in named(trainer.model).items():
        history = [weights[name] for weights in steps.states[1:]]
        expected = moving_average(history, decay=decay, every_steps=every_steps, first=STEPS * (start_epoch or 0))
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6, err_msg=name)
        assert np.abs(value - history[-1]).max() > 1e-4, name


@pytest.mark.parametrize(("start_epoch", "epochs"), [(0, [1, 2, 3, 4]), (2, [3, 4]), (3, [4])])
def test_the_plain_mean_is_that_of_the_ends_of_epochs(tmp_path: Path, start_epoch: int, epochs: list[int]) -> None:
    steps = States()
    average = WeightAveragingCallback(AverageSpec(kind="swa", start_epoch=start_epoch))
    trainer = make_trainer(tmp_path, steps, average, learning_rate=0.05, evaluation_strategy="no", num_train_epochs=4)
    trainer.train()
    for name, value in named(trainer.model).items():
        expected = np.mean([steps.states[STEPS * epoch][name] for epoch in epochs], axis=0)
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(("epochs", "averaged"), [(4, 1), (8, 2)])
def test_left_to_itself_the_plain_mean_is_that_of_the_last_quarter(tmp_path: Path, epochs: int, averaged: int) -> None:
    callback = WeightAveragingCallback(AverageSpec(kind="swa"))
    make_trainer(tmp_path, callback, evaluation_strategy="no", num_train_epochs=epochs).train()
    assert callback.record.of("averaged")[0]["updates"] == averaged


@pytest.mark.parametrize("kind", ["ema", "swa"])
def test_what_never_moved_is_bit_equal_in_the_average(tmp_path: Path, kind: str) -> None:
    average = {"kind": kind, "every_steps": 1, "start_epoch": 0, "decay": 0.7}
    freeze, rows = {"groups": ["encoder"], "permanent": True}, {"protect": [3, 27]}
    steps = States()
    trainer = make_trainer(tmp_path, steps)
    # A metric that always finds the second evaluation of a pair, that of the average, better.
    numbers = itertools.count()
    trainer.compute_metrics = lambda _: {"number": float(next(numbers))}
    record = embtune.attach(trainer, recipe({**average, "metric": "number"}, freeze=freeze, rows=rows))
    trainer.train()
    start, last, end = steps.states[0], steps.states[-1], named(trainer.model)
    assert record.of("averaged")[0]["kept"] == "average"
    for name in ("encoder.weight", "encoder.bias"):
        assert end[name].tobytes() == start[name].tobytes(), name
    table = end["embedding.weight"]
    assert table[[3, 27]].tobytes() == start["embedding.weight"][[3, 27]].tobytes()
    others = np.setdiff1d(np.arange(len(table)), [3, 27])
    assert (table != start["embedding.weight"]).any(axis=1)[others].all()
    assert (table != last["embedding.weight"]).any(axis=1)[others].all()


class Halves(paddle.nn.Layer):
    """A parameter of every floating-point type."""

    def __init__(self) -> None:
        super().__init__()
        for dtype in ("float16", "bfloat16", "float32", "float64"):
            layer = paddle.nn.Linear(1, 3, bias_attr=False)
            layer.to(dtype=dtype)
            setattr(self, f"in_{dtype}", layer)


def average_by_hand(folder: Path, values: Sequence[float]) -> tuple[Halves, WeightAveragingCallback]:
    """Let a callback average parameters that are all set to the values one after the other, without a Trainer's training."""
    model, trainer = Halves(), make_trainer(folder)
    average = WeightAveragingCallback(AverageSpec(every_steps=1, decay=0.9))
    state = TrainerState(max_steps=len(values))
    average.on_train_begin(trainer.args, state, trainer.control, model=model)
    for value in values:
        for parameter in model.parameters():
            parameter.set_value(paddle.full([1, 3], value, "float64").astype(parameter.dtype))
        state.global_step += 1
        average.on_step_end(trainer.args, state, trainer.control, model=model)
    average.on_train_end(trainer.args, state, trainer.control, model=model)
    return model, average


def test_half_precision_is_averaged_in_single_precision(tmp_path: Path) -> None:
    values = [1.0, 1.0078125, 1.015625, 1.0]  # neighbours in bfloat16, between which a mean in bfloat16 could not move
    model, average = average_by_hand(tmp_path, values)
    expected = moving_average(values, decay=0.9)
    digits = {"float16": 2**-11, "bfloat16": 2**-8, "float32": 1e-6, "float64": 1e-6}
    for name, parameter in model.named_parameters():
        kind = name.removeprefix("in_").removesuffix(".weight")
        assert str(parameter.dtype) == f"paddle.{kind}"
        np.testing.assert_allclose(parameter.astype("float64").numpy(), expected, rtol=digits[kind], err_msg=name)
    np.testing.assert_allclose(average.state()["average"]["in_bfloat16.weight"], expected, rtol=1e-6)


@pytest.mark.parametrize(
    "dtype",
    [
        "float16",
        "bfloat16",
        "float32",
        pytest.param("float64"),
    ],
)
def test_a_value_that_never_moves_is_exact_in_every_precision(tmp_path: Path, dtype: str) -> None:
    model, _ = average_by_hand(tmp_path, [1 / 3] * 4)
    parameter = getattr(model, f"in_{dtype}").weight
    assert parameter.numpy().tobytes() == paddle.full([1, 3], 1 / 3, "float64").astype(dtype).numpy().tobytes()


# --- which of the two stays -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "climb", "kept"),
    [
        ("max", lambda step: -float(step), "average"),
        ("max", float, "weights"),
        ("min", float, "average"),
        ("min", lambda step: -float(step), "weights"),
    ],
)
@pytest.mark.parametrize("kind", ["ema", "swa"])
def test_the_better_of_average_and_weights_stays(
    tmp_path: Path, kind: str, mode: str, climb: Callable[[int], float], kept: str
) -> None:
    spec = {"kind": kind, "decay": 0.9, "every_steps": 1, "start_epoch": 0, "metric": "height", "mode": mode}
    trainer = climbing(tmp_path, climb)
    stop = {"metric": "height", "mode": mode, "patience_evals": 9}
    record = embtune.attach(trainer, recipe(spec, early_stopping=stop))
    trainer.train()
    heights = [climb(step) for step in range(1, 13)]
    evaluated = heights[STEPS - 1 :: STEPS]
    if kind == "ema":
        averages = [float(moving_average(heights[: STEPS * epoch], decay=0.9)) for epoch in (1, 2, 3)]
    else:
        averages = [float(np.mean(evaluated[:epoch])) for epoch in (1, 2, 3)]
    best = max if mode == "max" else min
    assert [event["step"] for event in record.of("average")] == [4, 8, 12]
    assert [event["last"] for event in record.of("average")] == evaluated
    assert [event["average"] for event in record.of("average")] == pytest.approx(averages, rel=1e-6)
    # The first mean of ends is the first end itself; of equals, the weights stay.
    stays = "weights" if kind == "swa" and kept == "average" else kept
    (event,) = record.of("averaged")
    assert event["kept"] == stays
    assert (event["average"], event["last"]) == pytest.approx((best(averages), best(evaluated)), rel=1e-6)
    assert height_of(trainer.model) == pytest.approx(best(*averages, *evaluated), rel=1e-6)


def test_the_average_that_stays_is_the_one_that_was_evaluated(tmp_path: Path) -> None:
    steps = States()
    trainer = climbing(tmp_path, lambda step: -float(step))
    trainer.add_callback(steps)
    embtune.attach(trainer, recipe({"decay": 0.9, "every_steps": 1, "metric": "height"}))
    trainer.train()
    for name, value in named(trainer.model).items():
        expected = moving_average([weights[name] for weights in steps.states[1 : STEPS + 1]], decay=0.9)
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6, err_msg=name)


def test_evaluating_the_average_does_not_disturb_training(tmp_path: Path) -> None:
    ends = []
    for name, average in (("with", {"every_steps": 1, "metric": "accuracy"}), ("without", None)):
        steps = States()
        trainer = make_trainer(tmp_path / name, steps, evaluation_strategy="steps", eval_steps=1)
        embtune.attach(trainer, recipe(average))
        trainer.train()
        ends.append(steps.states[-1])
    for name, value in ends[1].items():
        np.testing.assert_array_equal(ends[0][name], value, err_msg=name)


def test_weights_that_were_best_before_the_average_began_stay(tmp_path: Path) -> None:
    trainer = climbing(tmp_path, lambda step: 10.0 if step <= STEPS else -float(step))
    stop = {"metric": "height", "patience_evals": 9}
    average = {"start_epoch": 1, "every_steps": 1, "metric": "height"}
    record = embtune.attach(trainer, recipe(average, early_stopping=stop))
    trainer.train()
    assert record.of("restored")[0]["value"] == 10.0
    assert height_of(trainer.model) == 10.0


def test_without_early_stopping_the_average_has_to_beat_the_last_weights_only(tmp_path: Path) -> None:
    trainer = climbing(tmp_path, lambda step: {4: 10.0}.get(step, 5.0 if step < 10 else 0.0))
    record = embtune.attach(trainer, recipe({"decay": 0.9, "every_steps": 1, "metric": "height"}))
    trainer.train()
    (end,) = record.of("averaged")
    assert end["kept"] == "average"
    assert height_of(trainer.model) == pytest.approx(end["average"], rel=1e-5)
    assert end["last"] < end["average"] < 10.0


# --- around training ------------------------------------------------------------------------------------------------------


class Scaled(Toy):
    """Has a parameter without a dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = self.create_parameter([], default_initializer=paddle.nn.initializer.Constant(1.0))

    def forward(self, input_ids: Any) -> Any:
        return super().forward(input_ids) * self.scale


@pytest.mark.parametrize(
    "model",
    [
        Toy,
        pytest.param(Scaled),
    ],
)
@pytest.mark.parametrize("kind", ["ema", "swa"])
def test_a_resumed_run_ends_with_the_same_average(tmp_path: Path, model: type[Toy], kind: str) -> None:
    spec = {"kind": kind, "decay": 0.9, "every_steps": 1, "start_epoch": 0, "metric": "height"}

    def run(resume: str | None) -> tuple[Weights, list[dict[str, Any]]]:
        with new_process():
            trainer = climbing(
                tmp_path, lambda step: -float(step), model=model(), num_train_epochs=3, save_strategy="steps", save_steps=2
            )
            record = embtune.attach(trainer, recipe(spec))
            trainer.train(resume_from_checkpoint=resume)
        told = [event for kind in ("average", "averaged") for event in record.of(kind)]
        return named(trainer.model), [{key: value for key, value in event.items() if key != "time"} for event in told]

    paddle.seed(0)
    whole, told = run(None)
    for checkpoint in (8, 6):  # a resumed run writes later checkpoints again
        resumed, told_again = run(str(tmp_path / f"checkpoint-{checkpoint}"))
        assert told_again == told
        for name, value in whole.items():
            np.testing.assert_array_equal(resumed[name], value, err_msg=name)


def test_evaluating_before_and_after_training_does_no_harm(tmp_path: Path) -> None:
    spec = {"decay": 0.9, "every_steps": 1, "metric": "height"}
    ends, told = [], []
    for often in (False, True):
        trainer = climbing(tmp_path / str(often), lambda step: -float(step))
        record = embtune.attach(trainer, recipe(spec))
        before = named(trainer.model)
        if often:
            trainer.evaluate()
            assert all(np.array_equal(value, before[name]) for name, value in named(trainer.model).items())
        trainer.train()
        ends.append(named(trainer.model))
        if often:
            after = trainer.evaluate()
            assert after["eval_height"] == pytest.approx(record.of("averaged")[0]["average"])
            assert all(np.array_equal(value, ends[-1][name]) for name, value in named(trainer.model).items())
        told.append([{key: value for key, value in event.items() if key != "time"} for event in record.of("average")])
    assert told[0] == told[1]
    for name, value in ends[0].items():
        np.testing.assert_array_equal(ends[1][name], value, err_msg=name)


def test_a_second_training_averages_afresh(tmp_path: Path) -> None:
    average = WeightAveragingCallback(AverageSpec(kind="swa", start_epoch=0))
    trainer = make_trainer(tmp_path, average, num_train_epochs=1, evaluation_strategy="no")
    trainer.train()
    trainer.train()
    assert [event["updates"] for event in average.record.of("averaged")] == [1, 1]


@pytest.mark.parametrize("average", [{"start_epoch": 3}, {"every_steps": 13}, {"kind": "swa", "start_epoch": 3}])
def test_an_average_that_never_begins_is_refused(tmp_path: Path, average: dict[str, Any]) -> None:
    trainer = make_trainer(tmp_path)
    embtune.attach(trainer, recipe({**average, "metric": "accuracy"}))
    with pytest.raises(RecipeError):
        trainer.train()


@pytest.mark.parametrize(
    ("average", "message"),
    [
        ({"kind": "mean"}, "average.kind is .*xpected ema or swa"),
        ({"mode": "maximum"}, "'max'\\? Expected max or min"),
        ({"decay": 1.0}, "above 0 and below 1"),
        ({"every_steps": 0}, "1 or more"),
        ({"start_epoch": -1}, "0 or more"),
    ],
)
def test_averages_without_sense_are_refused_when_the_recipe_is_read(average: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe(average)
