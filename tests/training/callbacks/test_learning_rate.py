"""Absolute rates: weights move as under plain optimizers at the rates that the recipe states."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

import paddlenlp_embtune as embtune
from paddlenlp_embtune import compat
from paddlenlp_embtune.config.recipe import LayerwiseSpec, Recipe, ScheduleSpec
from tests.host import Trainer, TrainerCallback
from tests.toy import Deep, Interrupt, Steps, Toy, ToyData, assert_equal, make_trainer, named, script_accuracy

RATES = {"embedding": 5e-5, "norm": 2e-4, "body": 1e-3, "head": 1e-2}
MEMBERS = [
    ("embedding", ["embedding.weight"], 0.02),
    ("norm", ["norm.weight", "norm.bias"], 0.0),
    ("body", ["encoder.weight"], 0.1),
    ("body", ["encoder.bias"], 0.0),
    ("head", ["classifier.weight"], 0.05),
    ("head", ["classifier.bias"], 0.0),
]
"""Group, parameters, and the weight decay that they must get."""

Factor = Callable[[str, int], float | None]
"""Share of a group's rate that a step must use, by group and step; None where the group is frozen."""


def recipe(schedules: dict[str, dict[str, Any]] | None = None, **parts: Any) -> Recipe:
    """A recipe with the groups above, and nothing else that would touch weights."""
    groups: list[dict[str, Any]] = [
        {"name": "embedding", "parameters": ["embedding.*"], "weight_decay": 0.02},
        {"name": "norm", "layers": ["LayerNorm"], "weight_decay": 0.3},
        {"name": "body", "parameters": ["encoder.*"], "weight_decay": 0.1},
        {"name": "head", "weight_decay": 0.05},
    ]
    for group in groups:
        group |= {"rate": RATES[group["name"]], "schedule": (schedules or {}).get(group["name"])}
    off = {"freeze": None, "clip": None, "early_stopping": None, "health": None}
    return Recipe.from_dict({"groups": groups, "schedule": {"kind": "constant", "warmup_ratio": 0.0}, **off, **parts})


# --- plain optimizers -----------------------------------------------------------------------------------------------


class SgdTrainer(Trainer):
    def create_optimizer(self, lr_scheduler: Any = None) -> Any:
        if self.optimizer is None:
            self.optimizer = paddle.optimizer.SGD(lr_scheduler, parameters=self.optimizer_grouped_parameters)
        return self.optimizer


def sgd(parameters: list[Any], weight_decay: float) -> Any:
    return paddle.optimizer.SGD(1.0, parameters=parameters, weight_decay=weight_decay)


def adamw(parameters: list[Any], weight_decay: float) -> Any:
    return paddle.optimizer.AdamW(1.0, parameters=parameters, weight_decay=weight_decay)


class Batches(TrainerCallback):
    """Every batch that the Trainer trains on."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    def on_load_data_end(self, args: Any, state: Any, control: Any, inputs: Any, **kwargs: Any) -> None:
        self.seen.append({name: value.clone() for name, value in inputs.items()})


def train_plainly(
    model: Any,
    batches: Sequence[dict[str, Any]],
    members: Sequence[tuple[str, list[str], float]],
    rate_at: Callable[[str, int], float | None],
    make: Callable[[list[Any], float], Any],
    accumulate: int = 1,
) -> list[dict[str, np.ndarray]]:
    """Train with one plain optimizer for each row of members; return all weights before every step and at the end."""
    own = dict(model.named_parameters())
    optimizers = [(group, make([own[name] for name in names], decay)) for group, names, decay in members]
    weights = [named(model)]
    for number, batch in enumerate(batches, start=1):
        loss = paddle.nn.functional.cross_entropy(model(batch["input_ids"]), batch["labels"])
        (loss / accumulate if accumulate > 1 else loss).backward()
        if number % accumulate:
            continue
        for group, optimizer in optimizers:
            rate = rate_at(group, number // accumulate - 1)
            if rate is not None:
                optimizer.set_lr(rate)
                optimizer.step()
        model.clear_gradients()
        weights.append(named(model))
    return weights


def compare(
    folder: Path,
    recipe: Recipe,
    members: Sequence[tuple[str, list[str], float]],
    rate_at: Callable[[str, int], float | None],
    *,
    make: Callable[[list[Any], float], Any],
    model: type[Any] = Toy,
    accuracies: Sequence[float] = (),
    accumulate: int = 1,
    epochs: int = 5,
) -> None:
    """Train by a recipe and train plainly, and compare all weights after every step."""
    steps, batches = Steps(), Batches()
    options = {"num_train_epochs": epochs, "gradient_accumulation_steps": accumulate, "max_grad_norm": 0.0}
    options["per_device_train_batch_size"] = 16 // accumulate
    trained, plain = model(), model()
    plain.set_state_dict(trained.state_dict())
    trainer = make_trainer(folder, steps, batches, model=trained, learning_rate=7.0, weight_decay=0.7, **options)
    if accuracies:
        script_accuracy(trainer, *accuracies)
    embtune.attach(trainer, recipe)
    trainer.train()
    expected = train_plainly(plain, batches.seen, members, rate_at, make, accumulate)
    assert len(steps.weights) == len(expected) == 4 * epochs + 1
    for step, (found, right) in enumerate(zip(steps.weights, expected, strict=True)):
        for name, value in right.items():
            if make is sgd:
                np.testing.assert_array_equal(found[name], value, err_msg=f"{name} before step {step}")
            else:
                np.testing.assert_allclose(found[name], value, rtol=1e-6, atol=0, err_msg=f"{name} before step {step}")
    assert all(steps.moved(name) for name in steps.weights[0])


@pytest.fixture(params=[sgd, adamw])
def make(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[Any], float], Any]:
    """The plain optimizer; the Trainer uses one of the same kind."""
    if request.param is sgd:
        monkeypatch.setattr("tests.toy.Trainer", SgdTrainer)
    return request.param


# --- the rates of every schedule, in every phase --------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Case:
    parts: dict[str, Any]
    factor: Factor
    accuracies: tuple[float, ...] = ()


def cosine(share: float) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * share))


def constant(group: str, step: int) -> float:
    return 1.0


def warm_linear(group: str, step: int) -> float:
    return step / 5 if step < 5 else (20 - step) / 15


def frozen_embedding(group: str, step: int) -> float | None:
    if group != "embedding":
        return 1.0
    return min(1.0, (step - 3) / 3) if step >= 4 else None


def gradual(group: str, step: int) -> float | None:
    first = {"body": 2, "embedding": 7}.get(group)
    line = (20 - step) / 20
    if first is None:
        return line
    return line * min(1.0, (step - first + 1) / 4) if first <= step < 16 else None


def plateau_release(group: str, step: int) -> float | None:
    if group != "embedding":
        return 1.0
    return min(1.0, (step - 7) / 2) if step >= 8 else None


def reduced(step: int) -> float:
    """Evaluations after steps 8 and 12 are no better than the first; a tenth is the least."""
    return 1.0 if step < 8 else 0.3 if step < 12 else 0.1


def each_its_own(group: str, step: int) -> float:
    return {
        "embedding": cosine((step - 10) / 10) if step >= 10 else step / 10,
        "norm": 1.0,
        "body": (20 - step) / 20,
        "head": reduced(step),
    }[group]


def linear(**more: Any) -> dict[str, Any]:
    return {"kind": "linear", "warmup_ratio": 0.0, **more}


ACCURACY = {"metric": "accuracy"}
PLATEAU = {"kind": "plateau", "warmup_ratio": 0.0, "factor": 0.3, "floor": 0.1, "plateau": ACCURACY}
STALLED = (0.5, 0.5, 0.4, 0.6, 0.5)

CASES = {
    "constant": Case({}, constant),
    "linear": Case({"schedule": linear()}, lambda _, step: (20 - step) / 20),
    "cosine": Case({"schedule": linear(kind="cosine")}, lambda _, step: cosine(step / 20)),
    "warm-up": Case({"schedule": linear(warmup_ratio=0.25)}, warm_linear),
    "warm-up, constant": Case({"schedule": linear(kind="constant", warmup_ratio=0.1)}, lambda _, step: min(1.0, step / 2)),
    "plateau": Case({"schedule": PLATEAU}, lambda _, step: reduced(step), STALLED),
    "plateau, patient": Case(
        {"schedule": {**PLATEAU, "plateau": {**ACCURACY, "patience_evals": 2}}},
        lambda _, step: 1.0 if step < 12 else 0.3,
        (0.5, 0.5, 0.4, 0.4, 0.4),
    ),
    "released": Case({"freeze": {"unfreeze_at_epoch": 1, "warmup_steps": 3}}, frozen_embedding),
    "gradual": Case(
        {
            "schedule": linear(),
            "freeze": {
                "groups": ["body", "embedding"],
                "gradual": True,
                "unfreeze_at_step": 2,
                "every_steps": 5,
                "refreeze_at_epoch": 4,
                "warmup_steps": 4,
            },
        },
        gradual,
    ),
    "released on a plateau": Case(
        {"freeze": {"unfreeze_on_plateau": ACCURACY, "warmup_steps": 2}}, plateau_release, (0.5, 0.5, 0.6, 0.7, 0.8)
    ),
    "each its own": Case(
        {
            "schedule": linear(),
            "schedules": {
                "embedding": linear(kind="cosine", warmup_ratio=0.5),
                "norm": linear(kind="constant"),
                "head": PLATEAU,
            },
        },
        each_its_own,
        STALLED,
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_group_moves_as_a_plain_optimizer_at_its_scheduled_rate(
    tmp_path: Path, case: Case, make: Callable[[list[Any], float], Any]
) -> None:
    def rate_at(group: str, step: int) -> float | None:
        factor = case.factor(group, step)
        return None if factor is None else RATES[group] * factor

    compare(tmp_path, recipe(**case.parts), MEMBERS, rate_at, make=make, accuracies=case.accuracies)


def test_accumulated_steps_move_weights_as_plain_ones(tmp_path: Path, make: Callable[[list[Any], float], Any]) -> None:
    compare(tmp_path, recipe(), MEMBERS, lambda group, _: RATES[group], make=make, accumulate=2, epochs=2)


def test_every_layer_moves_as_a_plain_optimizer_at_its_layers_rate(
    tmp_path: Path, make: Callable[[list[Any], float], Any]
) -> None:
    parts = {"early_stopping": None, "clip": None, "health": None, "freeze": None}
    by_layer = Recipe(
        layerwise=LayerwiseSpec(rate=1e-3, decay=0.5, head_rate=5e-3, weight_decay=0.1),
        schedule=ScheduleSpec(kind="constant", warmup_ratio=0.0),
        **parts,
    )
    rates = {"embedding": 1e-3 / 8, "layer.0": 1e-3 / 4, "layer.1": 1e-3 / 2, "layer.2": 1e-3, "head": 5e-3}
    members = [("embedding", ["embedding.weight", "norm.weight", "norm.bias"], 0.0)]
    for depth in range(3):
        prefix = f"encoder.layers.{depth}"
        members.append((f"layer.{depth}", [f"{prefix}.dense.weight"], 0.1))
        members.append((f"layer.{depth}", [f"{prefix}.{part}" for part in ("dense.bias", "norm.weight", "norm.bias")], 0.0))
    members.append(("head", ["pooler.weight", "classifier.weight"], 0.1))
    members.append(("head", ["pooler.bias", "classifier.bias"], 0.0))
    compare(tmp_path, by_layer, members, lambda group, _: rates[group], make=make, model=Deep, epochs=2)


# --- what is said about rates ---------------------------------------------------------------------------------------


class Used(TrainerCallback):
    """The rates that every step used, and what was logged."""

    def __init__(self) -> None:
        self.member = {group: names[0] for group, names, _ in MEMBERS}
        self.rates: list[dict[str, float]] = []
        self.logs: list[dict[str, Any]] = []

    def on_optimizer_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        own = dict(kwargs["model"].named_parameters())
        optimizer = kwargs["optimizer"]
        rates = {group: compat.effective_learning_rate(own[name], optimizer) for group, name in self.member.items()}
        self.rates.append({g: 0.0 if own[self.member[g]].stop_gradient else rate for g, rate in rates.items()})

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.logs.append({"step": state.global_step, **kwargs["logs"]})


def told_and_used(folder: Path, recipe: Recipe, *accuracies: float) -> tuple[Any, Used]:
    used = Used()
    trainer = make_trainer(folder, used, num_train_epochs=5, logging_steps=1)
    if accuracies:
        script_accuracy(trainer, *accuracies)
    record = embtune.attach(trainer, recipe)
    trainer.train()
    return record, used


def assert_told(told: list[dict[str, float]], used: list[dict[str, float]]) -> None:
    """Expect that after every step its own rates were told, or those of the next step."""
    right = [pytest.approx(rates, rel=1e-6, abs=0) for rates in used]
    assert told == right or told[:-1] == right[1:]


@pytest.mark.parametrize("case", ["constant", "linear", "cosine", "warm-up"])
def test_the_record_and_the_log_tell_the_rates_that_steps_use(tmp_path: Path, case: str) -> None:
    record, used = told_and_used(tmp_path, recipe(**CASES[case].parts))
    events = record.of("rates")
    assert [event["step"] for event in events] == list(range(1, 21))
    assert_told([event["rates"] for event in events], used.rates)
    logged = [{key: value for key, value in log.items() if key.startswith("rate/")} for log in used.logs]
    assert [log for log in logged if log] == [{f"rate/{g}": rate for g, rate in event["rates"].items()} for event in events]


@pytest.mark.parametrize("case", ["each its own", "released", "gradual", "released on a plateau"])
def test_the_record_tells_the_rates_that_steps_use_across_phases(tmp_path: Path, case: str) -> None:
    record, used = told_and_used(tmp_path, recipe(**CASES[case].parts), *CASES[case].accuracies)
    assert_told([event["rates"] for event in record.of("rates")], used.rates)


@pytest.mark.parametrize("ratio", [0.0, 0.25, 0.12])
def test_the_trainer_itself_logs_the_largest_rate_of_the_next_step(tmp_path: Path, ratio: float) -> None:
    _, used = told_and_used(tmp_path, recipe(schedule=linear(warmup_ratio=ratio)))
    own = [log["learning_rate"] for log in used.logs if "learning_rate" in log]
    assert own[:-1] == pytest.approx([rates["head"] for rates in used.rates[1:]], rel=1e-3)


# --- before and after training --------------------------------------------------------------------------------------


def one_step_more(trainer: Any) -> None:
    """Step once more with the Trainer's optimizer, as somebody who goes on by himself, and check how far weights move."""
    data, model = ToyData(16), trainer.model
    paddle.nn.functional.cross_entropy(model(paddle.to_tensor(data.ids)), paddle.to_tensor(data.labels)).backward()
    before, gradients = named(model), {name: value.grad.numpy().copy() for name, value in model.named_parameters()}
    assert trainer.optimizer.get_lr() == RATES["head"]
    trainer.optimizer.set_lr_scheduler(paddle.optimizer.lr.LambdaDecay(2 * RATES["head"], lambda _: 1.0))
    trainer.optimizer.step()
    for group, names, decay in MEMBERS:
        for name in names:
            expected = before[name] - 2 * RATES[group] * (gradients[name] + decay * before[name])
            np.testing.assert_allclose(trainer.model.state_dict()[name].numpy(), expected, rtol=0, atol=1e-7, err_msg=name)


def test_after_training_rates_follow_the_optimizers_own_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.toy.Trainer", SgdTrainer)
    trainer = make_trainer(tmp_path)
    embtune.attach(trainer, recipe())
    trainer.train()
    one_step_more(trainer)


def test_after_an_interrupted_and_a_whole_training_rates_follow_the_optimizers_own_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.toy.Trainer", SgdTrainer)
    trainer = make_trainer(tmp_path, Interrupt(3))
    embtune.attach(trainer, recipe())
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    trainer.train()
    one_step_more(trainer)


def test_a_second_training_begins_at_the_peak_again(tmp_path: Path) -> None:
    used = Used()
    trainer = make_trainer(tmp_path, used)
    embtune.attach(trainer, recipe(schedule=PLATEAU))
    script_accuracy(trainer, 0.5, 0.4, 0.3).train()
    used.rates.clear()
    script_accuracy(trainer, 0.1, 0.2, 0.3).train()
    assert used.rates[0] == pytest.approx(RATES)
    assert used.rates[-1] == pytest.approx(RATES)


# --- resumes --------------------------------------------------------------------------------------------------------


def prepared(folder: Path, recipe: Recipe, *callbacks: Any, accuracies: Sequence[float] = STALLED, **options: Any) -> Any:
    """A Trainer with a new model, in this process, that saves every two steps and trains by a recipe."""
    options = {"num_train_epochs": 5, "save_strategy": "steps", "save_steps": 2, **options}
    trainer = script_accuracy(make_trainer(folder, *callbacks, **options), *accuracies)
    embtune.attach(trainer, recipe)
    return trainer


def assert_continues(folder: Path, recipe: Recipe, *steps: int, **options: Any) -> None:
    """Train whole, and again from checkpoints of that, the last first, and compare the weights at the end."""
    whole = prepared(folder / "run", recipe, **options)
    whole.train()
    for step in sorted(steps, reverse=True):  # a resumed run writes later checkpoints again
        resumed = prepared(folder / "run", recipe, **options)
        resumed.train(resume_from_checkpoint=str(folder / "run" / f"checkpoint-{step}"))
        assert_equal(named(resumed.model), named(whole.model))


@pytest.mark.parametrize("case", ["gradual", "each its own"])
def test_training_continues_from_a_checkpoint_in_the_same_process(tmp_path: Path, case: str) -> None:
    assert_continues(tmp_path, recipe(**CASES[case].parts), 2, 4, 8, 10, 12, 16, 18)


def test_the_warm_up_after_a_plateau_continues(tmp_path: Path) -> None:
    case = CASES["released on a plateau"]
    assert_continues(tmp_path, recipe(**case.parts), 6, 8, 10, accuracies=case.accuracies)


def test_a_second_trainer_with_the_same_arguments_goes_on_with_a_checkpoint(tmp_path: Path) -> None:
    parts = recipe(**CASES["each its own"].parts)
    whole = prepared(tmp_path, parts)
    whole.train()
    resumed = Trainer(
        model=Toy(),
        criterion=whole.criterion,
        args=whole.args,
        train_dataset=whole.train_dataset,
        eval_dataset=whole.eval_dataset,
    )
    embtune.attach(script_accuracy(resumed, *STALLED), parts)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-14"))
    assert_equal(named(resumed.model), named(whole.model))


@pytest.mark.parametrize(
    "freeze",
    [
        None,
        {"unfreeze_at_step": 14},
    ],
    ids=["same phase", "earlier phase"],
)
def test_the_interrupted_trainer_itself_goes_on_with_a_checkpoint(tmp_path: Path, freeze: dict[str, Any] | None) -> None:
    parts = recipe(**CASES["each its own"].parts, freeze=freeze)
    whole = prepared(tmp_path / "whole", parts)
    whole.train()
    cut = prepared(tmp_path / "cut", parts, Interrupt(15))
    with pytest.raises(KeyboardInterrupt):
        cut.train()
    cut.train(resume_from_checkpoint=str(tmp_path / "cut" / "checkpoint-14"))
    assert_equal(named(cut.model), named(whole.model))


# --- a checkpoint of another recipe ---------------------------------------------------------------------------------


def changed(path: str, value: Any) -> dict[str, Any]:
    """A recipe as plain values, with one value changed, given by its path."""
    plain = {
        "groups": [
            {"name": "embedding", "parameters": ["embedding.*"], "rate": 2e-3},
            {"name": "rest", "rate": 1e-2, "weight_decay": 0.01},
        ],
        "schedule": {"kind": "cosine"},
        "freeze": {"groups": ["embedding"], "unfreeze_at_epoch": 2, "warmup_steps": 2},
        "early_stopping": {"metric": "accuracy", "patience_evals": 9},
    }
    *steps, last = path.split(".")
    place: Any = plain
    for step in steps:
        place = place[int(step)] if step.isdigit() else place[step]
    place[last] = value
    return plain


Saved = tuple[Path, list[dict[str, np.ndarray]]]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """The checkpoints of a run, and the weights before each of its steps; nothing else may be written there."""
    folder, steps = tmp_path_factory.mktemp("saved"), Steps()
    prepared(folder, Recipe.from_dict(changed("schedule.kind", "cosine")), steps).train()
    return folder, steps.weights


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("groups.0.rate", 2e-3, 3e-3),
        ("groups.1.weight_decay", 0.01, 0.0),
        ("schedule.kind", "cosine", "linear"),
        ("freeze.unfreeze_at_epoch", 2, 3),
        ("freeze.warmup_steps", 2, 0),
        ("freeze.refreeze_at_epoch", None, 4),
        ("early_stopping.patience_evals", 9, 3),
    ],
)
@pytest.mark.parametrize("resume_at", [6, 10])
def test_a_checkpoint_of_another_recipe_is_refused_with_the_difference(
    saved: Saved, path: str, old: Any, new: Any, resume_at: int
) -> None:
    assert_refused(saved, changed(path, new), resume_at, f"{path}: {old!r} in the checkpoint, {new!r} now")


@pytest.mark.parametrize("part", ["early_stopping", "freeze"])
def test_a_checkpoint_is_refused_when_a_part_of_the_recipe_was_taken_out(saved: Saved, part: str) -> None:
    recipe = changed("schedule.kind", "cosine")
    assert_refused(saved, {**recipe, part: None}, 6, f"{part}: {{", "in the checkpoint, None now")


def assert_refused(saved: Saved, new: dict[str, Any], resume_at: int, *parts: str) -> None:
    """Expect a refusal with these words, that names the checkpoint, before a weight of the checkpoint moves."""
    folder, weights = saved
    steps = Steps()
    trainer = prepared(folder, Recipe.from_dict(new), steps)
    with pytest.raises(embtune.RecipeError, match=f"^checkpoint-{resume_at} was made by another recipe") as refusal:
        trainer.train(resume_from_checkpoint=str(folder / f"checkpoint-{resume_at}"))
    for part in parts:
        assert part in str(refusal.value)
    assert not steps.weights
    assert_equal(named(trainer.model), weights[resume_at])
