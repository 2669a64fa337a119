"""The embedding under watch: what is measured, what an alarm does, and that a resumed run does the same."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

import paddlenlp_embtune as embtune
from paddlenlp_embtune.config.monitoring import AlarmSpec
from paddlenlp_embtune.config.recipe import EarlyStoppingSpec, FreezeSpec, GroupSpec, HealthSpec, Recipe, ScheduleSpec
from paddlenlp_embtune.embeddings.metrics._frequency_buckets import drift_by_frequency
from paddlenlp_embtune.embeddings.metrics.drift import cosine_drift
from paddlenlp_embtune.embeddings.metrics.health_metrics import PROBES, TermRows, geometry_metrics, probe_cohesion
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.plugin import registry
from paddlenlp_embtune.training import RunRecord
from paddlenlp_embtune.training.callbacks import EmbeddingHealthCallback
from paddlenlp_embtune.training.callbacks._batch_stats import StepSampler
from paddlenlp_embtune.training.callbacks.monitored_rows import MOST_ROWS, MonitoredRows
from tests.host import TrainerCallback
from tests.toy import LABELS, VOCABULARY, WIDTH, Snapshots, Steps, Toy, assert_equal, make_trainer, named, new_process

EMBEDDING = "embedding.weight"
GROUPS = (
    GroupSpec(name="embedding", parameters=("embedding.*",), rate=2e-3),
    GroupSpec(name="head", parameters=("classifier.*",), rate=1e-2),
    GroupSpec(name="rest", rate=1e-2),
)
AT_ONCE = {"measure": "rows_moved", "above": 0.0}
"""Goes on at the first check, and stays on."""
QUIET: dict[str, AlarmSpec | None] = dict.fromkeys(("drift", "blow_up", "collapse", "one_direction", "scrambled"))


def recipe(*, alarm: AlarmSpec | None = None, health: dict[str, Any] | None = None, **parts: Any) -> Recipe:
    """Constant rates, and nothing but health unless asked for."""
    alarms = {**QUIET, **({"planted": alarm} if alarm is not None else {})}
    return Recipe(
        groups=GROUPS,
        schedule=ScheduleSpec(kind="constant", warmup_ratio=0.0),
        health=HealthSpec(**{"alarms": alarms, **(health or {})}),
        **{**dict.fromkeys(("freeze", "clip", "early_stopping")), **parts},
    )


def attached(
    out: Path, chosen: Recipe, *callbacks: Any, said: list[float] | None = None, **options: Any
) -> tuple[Any, RunRecord]:
    """A Trainer under a recipe; ``said`` is the course of a plugin's measure of this name."""
    model, tokens, watched = (options.pop(key, None) for key in ("model", "tokens", "monitored_rows"))
    trainer = make_trainer(out, *callbacks, model=model, **{"max_grad_norm": 0.0, **options})
    record = embtune.attach(trainer, chosen, tokens=tokens, monitored_rows=watched)
    if said is not None:
        course = iter(said)
        health_of(trainer).probe.measures["said"] = lambda start, now: next(course)
    return trainer, record


def health_of(trainer: Any) -> EmbeddingHealthCallback:
    return next(each for each in trainer.callback_handler.callbacks if isinstance(each, EmbeddingHealthCallback))


def plain(events: list[dict[str, Any]], *without: str) -> list[dict[str, Any]]:
    return [{key: value for key, value in event.items() if key not in ("time", *without)} for event in events]


class Put(TrainerCallback):
    """Writes rows into the embedding at the ends of epochs: a function of the table, one an epoch."""

    def __init__(self, *changes: Callable[[np.ndarray], None]) -> None:
        self.changes = iter(changes)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        change = next(self.changes, None)
        if change is not None:
            weight = kwargs["model"].embedding.weight
            table = weight.numpy().copy()
            change(table)
            weight.set_value(table)


def scale(row: int, by: float) -> Callable[[np.ndarray], None]:
    def change(table: np.ndarray) -> None:
        table[row] *= by

    return change


# --- actions ----------------------------------------------------------------------------------------------------------


def test_an_alarm_that_only_logs_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ends = []
    for alarm in (None, AlarmSpec(**AT_ONCE, advice="look at it")):
        snapshots = Snapshots()
        trainer, record = attached(tmp_path, recipe(alarm=alarm), snapshots)
        with caplog.at_level(logging.WARNING, logger="paddlenlp_embtune"):
            trainer.train()
        ends.append(snapshots.weights[-1])
    for name, value in ends[0].items():
        np.testing.assert_array_equal(value, ends[1][name], err_msg=name)
    (event,) = record.of("alarm")
    assert (event["name"], event["measure"], event["action"], event["done"], event["step"]) == (
        "planted",
        "rows_moved",
        "log",
        "",
        4,
    )
    assert event["value"] == record.of("health")[0]["rows_moved"]
    assert event["message"].startswith("planted: rows_moved is")
    assert event["message"].endswith("; look at it")
    assert event["message"] in caplog.text


def test_lower_rate_multiplies_the_rate_of_the_embedding_and_no_other(tmp_path: Path) -> None:
    steps = []
    for alarm in (None, AlarmSpec(**AT_ONCE, action="lower_rate", factor=0.25)):
        steps.append(Steps())
        trainer, record = attached(tmp_path, recipe(alarm=alarm), steps[-1], logging_steps=1)
        trainer.train()
    free, lowered = steps
    for step in range(4):
        np.testing.assert_array_equal(free.update(step, EMBEDDING), lowered.update(step, EMBEDDING))
    # Weights are the same before the fifth step, so its gradients are, and what differs is the rate.
    np.testing.assert_allclose(lowered.update(4, EMBEDDING), 0.25 * free.update(4, EMBEDDING), rtol=1e-3, atol=1e-6)
    np.testing.assert_array_equal(lowered.update(4, "classifier.weight"), free.update(4, "classifier.weight"))
    rates = [event["rates"] for event in record.of("rates")]
    assert [each["embedding"] for each in rates] == pytest.approx([2e-3] * 4 + [5e-4] * 8)
    assert [each["rest"] for each in rates] == [each["head"] for each in rates] == pytest.approx([1e-2] * 12)
    assert [event["done"] for event in record.of("alarm")] == ["the learning rate of the embedding was multiplied by 0.25"]
    assert [(event["group"], event["factor"]) for event in record.of("rate_scaled")] == [("embedding", 0.25)]


def test_rates_are_lowered_again_when_an_alarm_comes_back(tmp_path: Path) -> None:
    alarm = AlarmSpec(measure="said", above=1.0, action="lower_rate", factor=0.5)
    trainer, record = attached(
        tmp_path, recipe(alarm=alarm), said=[2.0, 3.0, 0.0, 2.0, 2.0], num_train_epochs=5, logging_steps=4
    )
    trainer.train()
    assert [event["step"] for event in record.of("alarm")] == [4, 16]
    rates = [event["rates"]["embedding"] for event in record.of("rates")]
    assert rates == pytest.approx([2e-3, 1e-3, 1e-3, 1e-3, 5e-4])


def test_lower_rate_without_a_way_to_do_it_is_refused_before_the_first_step(tmp_path: Path) -> None:
    model = Toy()
    start = {name: value.numpy().copy() for name, value in model.named_parameters()}
    health = EmbeddingHealthCallback(alarms={"planted": AlarmSpec(**AT_ONCE, action="lower_rate")})
    with pytest.raises(RecipeError, match=r"'planted' lowers a learning rate.*attach"):
        make_trainer(tmp_path, health, model=model).train()
    for name, value in model.named_parameters():
        np.testing.assert_array_equal(value.numpy(), start[name])


def dead() -> Toy:
    """A model whose rows are all zero, which is known before the first step."""
    model = Toy()
    model.embedding.weight.set_value(np.zeros((VOCABULARY, WIDTH), dtype=np.float32))
    return model


def test_a_rate_that_is_lowered_before_the_first_step_stays_lowered(tmp_path: Path) -> None:
    alarm = AlarmSpec(measure="zero_share", above=0.5, action="lower_rate", factor=0.1)
    trainer, record = attached(tmp_path, recipe(alarm=alarm), model=dead(), num_train_epochs=1, logging_steps=1)
    trainer.train()
    assert [(event["step"], event["name"]) for event in record.of("alarm")][-1] == (0, "planted")
    assert [event["rates"]["embedding"] for event in record.of("rates")] == pytest.approx([2e-4] * 4)


@pytest.mark.parametrize("action", ["freeze", "stop"])
def test_an_alarm_before_the_first_step_keeps_the_embedding_where_it_is_or_ends_the_run(tmp_path: Path, action: str) -> None:
    alarm = AlarmSpec(measure="zero_share", above=0.5, action=action)
    trainer, record = attached(tmp_path, recipe(alarm=alarm), model=dead(), num_train_epochs=2)
    trainer.train()
    assert [event["step"] for event in record.of("alarm") if event["name"] == "planted"] == [0]
    if action == "freeze":
        assert not trainer.model.embedding.weight.numpy().any()
        assert trainer.state.global_step == 8
    else:
        assert trainer.state.global_step <= 1


def test_freeze_keeps_the_embedding_bit_equal_and_gives_it_back_after_training(tmp_path: Path) -> None:
    steps = Steps()
    trainer, record = attached(tmp_path, recipe(alarm=AlarmSpec(**AT_ONCE, action="freeze")), steps)
    trainer.train()
    assert [bool(steps.update(step, EMBEDDING).any()) for step in range(12)] == [True] * 4 + [False] * 8
    assert all(steps.update(step, "classifier.weight").any() for step in range(12))
    assert [event["done"] for event in record.of("alarm")] == ["the embedding is frozen from here on"]
    assert record.of("rates")[-1]["rates"]["embedding"] == 0.0
    assert not trainer.model.embedding.weight.stop_gradient


@pytest.mark.parametrize("release", [{"unfreeze_at_epoch": 1}, {"unfreeze_at_step": 6}])
def test_what_an_alarm_froze_is_not_released_by_the_freeze_schedule(tmp_path: Path, release: dict[str, int]) -> None:
    steps = Steps()
    alarm = AlarmSpec(measure="said", above=0.0, action="freeze")
    chosen = recipe(alarm=alarm, freeze=FreezeSpec(groups=("embedding",), **release))
    trainer, record = attached(tmp_path, chosen, steps, said=[1.0] * 3)
    trainer.train()
    assert not any(steps.update(step, EMBEDDING).any() for step in range(12))
    assert len(record.of("alarm")) == 1
    assert not trainer.model.embedding.weight.stop_gradient


def test_an_embedding_that_was_frozen_before_training_is_left_frozen(tmp_path: Path) -> None:
    model = Toy()
    model.embedding.weight.stop_gradient = True
    start = named(model)
    health = EmbeddingHealthCallback(alarms={"planted": AlarmSpec(measure="rows_watched", above=0.0, action="freeze")})
    make_trainer(tmp_path, health, model=model).train()
    np.testing.assert_array_equal(model.embedding.weight.numpy(), start[EMBEDDING])
    assert (model.classifier.weight.numpy() != start["classifier.weight"]).any()
    assert model.embedding.weight.stop_gradient


def turned(row: int, by: float) -> Callable[[np.ndarray], None]:
    """Turn a row until its cosine drift is ``by``."""

    def change(table: np.ndarray) -> None:
        unit = table[row] / np.linalg.norm(table[row])
        across = np.roll(unit, 1) - (np.roll(unit, 1) @ unit) * unit
        across /= np.linalg.norm(across)
        cosine = 1.0 - by
        table[row] = (cosine * unit + np.sqrt(1.0 - cosine**2) * across) * np.linalg.norm(table[row])

    return change


def test_restore_rows_puts_exactly_the_rows_back_that_turned_too_far(tmp_path: Path) -> None:
    def several(table: np.ndarray) -> None:
        for row, by in ((3, 1.5), (4, 0.45), (5, 0.55), (28, 0.9)):
            turned(row, by)(table)
        table[6] *= 3.0

    model = Toy()
    start = model.embedding.weight.numpy().copy()
    moved = start.copy()
    several(moved)
    health = EmbeddingHealthCallback(
        alarms={"planted": AlarmSpec(measure="cosine_drift_max", above=1.0, action="restore_rows", row_drift=0.5)}
    )
    make_trainer(tmp_path, Put(several), health, model=model, num_train_epochs=1, learning_rate=0.0).train()
    now = model.embedding.weight.numpy()
    back = [3, 5, 28]
    np.testing.assert_array_equal(now[back], start[back])
    others = np.setdiff1d(np.arange(VOCABULARY), back)
    np.testing.assert_array_equal(now[others], moved[others])
    assert [event["done"] for event in health.record.of("alarm")] == ["3 rows were put back to where they started"]


def test_stop_ends_the_run_and_early_stopping_brings_the_best_weights_back(tmp_path: Path) -> None:
    snapshots = Snapshots()
    stopping = EarlyStoppingSpec(metric="accuracy")
    chosen = recipe(alarm=AlarmSpec(measure="said", above=0.0, action="stop"), early_stopping=stopping)
    trainer, record = attached(tmp_path, chosen, snapshots, said=[0.0, 1.0, 1.0], num_train_epochs=6)
    trainer.compute_metrics = lambda _: {"accuracy": {4: 0.9, 8: 0.5}.get(trainer.state.global_step, 0.1)}
    trainer.train()
    assert trainer.state.global_step == 8
    assert trainer.control.should_training_stop
    assert plain(record.of("stopped")) == [{"event": "stopped", "reason": "alarm", "epoch": 2.0, "step": 8}]
    assert [event["done"] for event in record.of("alarm")] == ["training stops"]
    assert record.of("restored")[0]["step"] == 4
    best = snapshots.weights[1]
    for name, value in trainer.model.named_parameters():
        np.testing.assert_array_equal(value.numpy(), best[name], err_msg=name)


def test_a_run_without_evaluations_stops_at_an_alarm_too(tmp_path: Path) -> None:
    health = EmbeddingHealthCallback(alarms={"planted": AlarmSpec(**AT_ONCE, action="stop")})
    trainer = make_trainer(tmp_path, health, evaluation_strategy="no")
    trainer.train()
    assert trainer.state.global_step == 4
    assert "mean_cosine" in health.checks[-1]


# --- resume -----------------------------------------------------------------------------------------------------------

CROSSING: dict[str, AlarmSpec] = {
    "log": AlarmSpec(**AT_ONCE),
    "lower_rate": AlarmSpec(**AT_ONCE, action="lower_rate", factor=0.2),
    "freeze": AlarmSpec(**AT_ONCE, action="freeze"),
    "restore_rows": AlarmSpec(**AT_ONCE, action="restore_rows", row_drift=1e-4),
    "later": AlarmSpec(measure="since_update_ratio", below=1.0, clear=2.0, action="lower_rate", factor=0.2),
}


def in_new_process(folder: Path, chosen: Recipe, checkpoint: str | None, **options: Any) -> tuple[Any, RunRecord]:
    with new_process():
        trainer, record = attached(folder, chosen, save_strategy="steps", save_steps=2, **options)
        trainer.train(resume_from_checkpoint=checkpoint)
    return trainer, record


@pytest.mark.parametrize("name", CROSSING)
def test_a_resumed_run_checks_warns_and_acts_as_one_that_was_never_cut(tmp_path: Path, name: str) -> None:
    chosen = recipe(
        alarm=CROSSING[name],
        health={"gradient_every_steps": 3, "geometry_every_steps": 8, "alarms": {**QUIET, "planted": CROSSING[name]}},
    )
    whole, first = in_new_process(tmp_path, chosen, None)
    assert first.of("alarm")
    for step in (10, 8, 6, 4):  # a resumed run writes later checkpoints again
        cut, second = in_new_process(tmp_path, chosen, str(tmp_path / f"checkpoint-{step}"))
        for event in ("health", "alarm", "rate_scaled"):
            # What is counted has a test of its own.
            assert plain(second.of(event), "bands", "unknown_rate") == plain(first.of(event), "bands", "unknown_rate"), step
        assert_equal(named(cut.model), named(whole.model))
        assert not cut.model.embedding.weight.stop_gradient


def test_a_resumed_run_counts_every_token_once(tmp_path: Path) -> None:
    found = []
    for checkpoint in (None, *(str(tmp_path / f"checkpoint-{step}") for step in (8, 6, 4))):
        trainer, record = in_new_process(tmp_path, recipe(), checkpoint, monitored_rows=MonitoredRows(unknown=5))
        found.append((health_of(trainer).state()["counts"], [event["unknown_rate"] for event in record.of("health")]))
    for counts, rates in found[1:]:
        np.testing.assert_array_equal(counts, found[0][0])
        assert rates == found[0][1]


def test_a_run_that_an_alarm_stopped_stays_stopped_when_it_is_resumed(tmp_path: Path) -> None:
    chosen = recipe(alarm=AlarmSpec(**AT_ONCE, action="stop"))
    ends = []
    for checkpoint in (None, str(tmp_path / "checkpoint-4")):
        with new_process():
            trainer, record = attached(tmp_path, chosen, save_strategy="epoch")
            trainer.train(resume_from_checkpoint=checkpoint)
        ends.append({name: value.numpy().copy() for name, value in trainer.model.named_parameters()})
        assert len(record.of("stopped")) == 1
    for name, value in ends[0].items():
        np.testing.assert_array_equal(ends[1][name], value, err_msg=name)


def test_other_alarms_than_those_of_the_checkpoint_are_refused_but_other_advice_is_not(tmp_path: Path) -> None:
    def run(alarm: AlarmSpec, **options: Any) -> None:
        with new_process():
            health = EmbeddingHealthCallback(alarms={"planted": alarm})
            make_trainer(tmp_path, health, save_strategy="epoch", num_train_epochs=2).train(**options)

    run(AlarmSpec(**AT_ONCE))
    checkpoint = str(tmp_path / "checkpoint-4")
    run(AlarmSpec(**AT_ONCE, advice="another word"), resume_from_checkpoint=checkpoint)
    with pytest.raises(RecipeError, match="action"):
        run(AlarmSpec(**AT_ONCE, action="freeze"), resume_from_checkpoint=checkpoint)


def test_a_second_training_with_the_same_callback_begins_afresh(tmp_path: Path) -> None:
    alarm = AlarmSpec(measure="rows_watched", above=0.0, action="freeze")
    health = EmbeddingHealthCallback(alarms={"planted": alarm})
    trainer = make_trainer(tmp_path, health)
    seen = []
    for _ in range(2):
        trainer.train()
        seen.append(int(health.state()["counts"].sum()))
    assert [event["step"] for event in health.record.of("alarm")] == [4, 4]
    assert seen[0] == seen[1]


# --- measures ---------------------------------------------------------------------------------------------------------


def test_a_check_compares_with_the_start_and_with_the_last_check(tmp_path: Path) -> None:
    model = Toy()
    start = model.embedding.weight.numpy().copy()
    health = EmbeddingHealthCallback()
    changes = Put(scale(3, -1.0), scale(4, 3.0))
    make_trainer(tmp_path, changes, health, model=model, learning_rate=0.0).train()
    first, second, third = health.checks
    size = np.linalg.norm(start)
    row = {number: float(np.linalg.norm(start[number])) for number in (3, 4)}
    assert first["since_cosine_drift_mean"] == first["cosine_drift_mean"] == pytest.approx(2.0)
    assert first["since_update_ratio"] == first["update_ratio"] == pytest.approx(2 * row[3] / size, rel=1e-4)
    assert second["since_cosine_drift_mean"] == pytest.approx(0.0, abs=1e-6)
    assert second["since_norm_drift_mean"] == pytest.approx(2.0, rel=1e-5)
    assert second["since_update_ratio"] == pytest.approx(2 * row[4] / size, rel=1e-4)
    assert second["cosine_drift_mean"] == pytest.approx(1.0)
    assert second["norm_drift_mean"] == pytest.approx(1.0, rel=1e-5)
    assert (second["rows_moved"], second["untouched_share"]) == (2, pytest.approx(28 / 30))
    assert third["since_update_ratio"] == third["since_cosine_drift_mean"] == third["since_norm_drift_mean"] == 0.0
    assert third["update_ratio"] == second["update_ratio"]
    assert first["worst"][0] == [3, pytest.approx(2.0)]


def test_rows_at_rest_are_not_among_the_worst(tmp_path: Path) -> None:
    health = EmbeddingHealthCallback()
    make_trainer(tmp_path, Put(scale(3, -1.0)), health, num_train_epochs=1, learning_rate=0.0).train()
    assert health.checks[0]["worst"] == [[3, pytest.approx(2.0)]]


def test_shares_of_the_gradient_are_those_of_the_groups(tmp_path: Path) -> None:
    class Gradients(TrainerCallback):
        """Squared norms of the gradients before every step."""

        def __init__(self) -> None:
            self.squares: list[dict[str, float]] = []
            self.embedding: list[np.ndarray] = []

        def on_optimizer_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            found = dict.fromkeys(("embedding", "head", "rest"), 0.0)
            for name, value in kwargs["model"].named_parameters():
                owner = {"embedding": "embedding", "classifier": "head"}.get(name.split(".")[0], "rest")
                found[owner] += float((value.grad.numpy().astype(np.float64) ** 2).sum())
            self.squares.append(found)
            self.embedding.append(kwargs["model"].embedding.weight.grad.numpy().copy())

    gradients = Gradients()
    trainer, record = attached(tmp_path, recipe(health={"gradient_every_steps": 3}), gradients)
    trainer.train()
    for check, steps in zip(record.of("health"), ([0, 3], [6], [9]), strict=True):
        shares = [
            {key: value / sum(each.values()) for key, value in each.items()} for each in (gradients.squares[at] for at in steps)
        ]
        assert check["gradient_share"] == pytest.approx(
            {key: np.mean([each[key] for each in shares]) for key in shares[0]}, rel=1e-4
        )
        assert sum(check["gradient_share"].values()) == pytest.approx(1.0)
        seen = [gradients.embedding[at] for at in steps]
        assert check["gradient_norm"] == pytest.approx(np.mean([np.linalg.norm(each) for each in seen]), rel=1e-4)
        assert check["gradient_mean"] == pytest.approx(np.mean([np.abs(each).mean() for each in seen]), rel=1e-4)


def test_a_frozen_embedding_has_no_share_in_the_gradient(tmp_path: Path) -> None:
    chosen = recipe(health={"gradient_every_steps": 1}, freeze=FreezeSpec(groups=("embedding",), unfreeze_at_epoch=2))
    trainer, record = attached(tmp_path, chosen)
    trainer.train()
    first, _, last = record.of("health")
    assert (first["gradient_norm"], first["gradient_mean"], first["gradient_share"]["embedding"]) == (None, None, 0.0)
    assert last["gradient_share"]["embedding"] > 0


class Batches(TrainerCallback):
    """The ids of all batches, by epoch."""

    def __init__(self) -> None:
        self.epochs: list[list[np.ndarray]] = []

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.epochs.append([])

    def on_load_data_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.epochs[-1].append(np.asarray(kwargs["inputs"]["input_ids"]).ravel())


@pytest.mark.parametrize(("size", "accumulated"), [(16, 1), (8, 2), (4, 4)])
def test_tokens_are_counted_as_the_batches_hold_them(tmp_path: Path, size: int, accumulated: int) -> None:
    class Tables(TrainerCallback):
        tables: list[np.ndarray]

        def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.tables.append(kwargs["model"].embedding.weight.numpy().copy())

    batches, tables, model = Batches(), Tables(), Toy()
    tables.tables = [model.embedding.weight.numpy().copy()]
    health = EmbeddingHealthCallback(monitored_rows=MonitoredRows(unknown=5))
    make_trainer(
        tmp_path,
        batches,
        tables,
        health,
        model=model,
        per_device_train_batch_size=size,
        gradient_accumulation_steps=accumulated,
    ).train()
    counts = np.zeros(VOCABULARY, dtype=np.int64)
    for check, epoch, table in zip(health.checks, batches.epochs, tables.tables[1:], strict=True):
        ids = np.concatenate(epoch)
        counts += np.bincount(ids, minlength=VOCABULARY)
        assert check["unknown_rate"] == pytest.approx((ids == 5).mean())
        bands = drift_by_frequency(tables.tables[0], table, counts)
        assert check["bands"] == [dataclasses.asdict(band) for band in bands]
    np.testing.assert_array_equal(health.state()["counts"], counts)
    assert counts.sum() == 3 * 64 * 6


def test_padding_and_ids_outside_the_table_are_not_counted() -> None:
    sampler = StepSampler(every_steps=1)
    model = Toy()
    sampler.begin(model, model.embedding.weight, 5)
    for batch in ({"input_ids": [[0, 5, 2], [5, 99, -1]]}, {"labels": [1]}, [1, 2]):
        sampler.see_batch(batch)
    assert sampler.state()["counts"].nonzero()[0].tolist() == [2, 5]
    assert sampler.take()["unknown_rate"] == pytest.approx(2 / 3)
    assert sampler.take()["unknown_rate"] is None


TOKENS = ["[PAD]", *PROBES["numerals"], *PROBES["directions"], *PROBES["colours"]]
TOKENS += [f"词{number}" for number in range(VOCABULARY - len(TOKENS))]


def test_term_groups_and_probes_are_found_by_their_tokens(tmp_path: Path) -> None:
    terms = {"up": [[1], [2], [3, 4]], "down": [[5], [6]]}
    model = Toy()
    start = model.embedding.weight.numpy().copy()
    trainer, record = attached(
        tmp_path,
        recipe(),
        model=model,
        monitored_rows=MonitoredRows(tokens=TOKENS, groups=terms, pretrained=True),
        num_train_epochs=1,
    )
    trainer.train()
    now = model.embedding.weight.numpy()
    probes = {"numerals": range(1, 11), "directions": range(11, 15), "colours": range(15, 21)}
    probes = {name: list(rows) for name, rows in probes.items()}
    (check,) = record.of("health")
    wanted = geometry_metrics(start, now, TermRows(groups=terms, probes=probes))
    assert {key: check[key] for key in wanted} == wanted
    assert check["probe_cohesion"] == probe_cohesion(now, probes)
    assert {token for token, _ in check["worst"]} <= set(TOKENS)


def test_rows_of_no_known_origin_are_not_probed() -> None:
    assert MonitoredRows(tokens=TOKENS).term_rows(None).probes == {}


def test_scrambled_rows_are_named_before_the_first_step(tmp_path: Path) -> None:
    trainer, record = attached(
        tmp_path,
        recipe(health={"alarms": {}}),
        monitored_rows=MonitoredRows(tokens=TOKENS, pretrained=True),
        num_train_epochs=1,
    )
    trainer.train()
    assert next((event["name"], event["step"]) for event in record.of("alarm")) == ("scrambled", 0)


def test_every_so_many_epochs_there_is_a_check_and_the_last_has_geometry(tmp_path: Path) -> None:
    health = EmbeddingHealthCallback(every_epochs=2, geometry_every_steps=1000)
    make_trainer(tmp_path, health, num_train_epochs=5).train()
    assert [(check["step"], "mean_cosine" in check) for check in health.checks] == [(8, False), (16, False), (20, True)]


@pytest.mark.parametrize(("wait", "steps"), [(8, [8, 16, 20]), (5, [8, 16, 20]), (1, [4, 8, 12, 16, 20]), (None, [20])])
def test_geometry_is_measured_when_enough_steps_have_passed(tmp_path: Path, wait: int | None, steps: list[int]) -> None:
    health = EmbeddingHealthCallback(geometry_every_steps=wait)
    make_trainer(tmp_path, health, num_train_epochs=5).train()
    assert [check["step"] for check in health.checks if "mean_cosine" in check] == steps


@pytest.mark.parametrize("every", [1, 3])
def test_a_run_that_is_stopped_early_ends_with_a_whole_check(tmp_path: Path, every: int) -> None:
    chosen = recipe(
        health={"every_epochs": every, "alarms": QUIET}, early_stopping=EarlyStoppingSpec(metric="accuracy", patience_evals=1)
    )
    trainer, record = attached(tmp_path, chosen, num_train_epochs=6)
    trainer.compute_metrics = lambda _: {"accuracy": 0.5}
    trainer.train()
    assert trainer.state.global_step == 8
    last = record.of("health")[-1]
    assert last["step"] == 8
    assert "mean_cosine" in last
    assert last["gradient_norm"] is None or last["gradient_norm"] > 0


def test_a_run_that_ends_within_an_epoch_ends_with_a_whole_check(tmp_path: Path) -> None:
    health = EmbeddingHealthCallback()
    make_trainer(tmp_path, health, max_steps=6, num_train_epochs=2).train()
    assert [(check["step"], "mean_cosine" in check) for check in health.checks] == [(4, False), (6, True)]


# --- what evaluations say ---------------------------------------------------------------------------------------------


def evaluated(tmp_path: Path, *metrics: dict[str, float], **options: Any) -> RunRecord:
    trainer, record = attached(
        tmp_path, recipe(health={"alarms": options.pop("alarms", {})}), num_train_epochs=len(metrics), **options
    )
    trainer.compute_metrics = lambda _: metrics[max(0, trainer.state.global_step // 4 - 1)]
    trainer.train()
    return record


def metrics(z: float, share: float = 0.4) -> dict[str, float]:
    return {"accuracy": 0.5, "agreement_z": z, "largest_predicted_share": share}


def test_no_learning_waits_for_three_evaluations_and_looks_at_the_best_so_far(tmp_path: Path) -> None:
    chance = evaluated(tmp_path, *[metrics(0.5)] * 4)
    assert [event["step"] for event in chance.of("alarm") if event["name"] == "no_learning"] == [12]
    once = evaluated(tmp_path, metrics(6.0), *[metrics(0.5)] * 4)
    assert "no_learning" not in [event["name"] for event in once.of("alarm")]
    assert [event["agreement_z"] for event in once.of("agreement")] == [6.0] * 5


def test_one_class_is_told_from_the_second_evaluation_on(tmp_path: Path) -> None:
    record = evaluated(tmp_path, metrics(9.0, 1.0), metrics(9.0, 1.0), metrics(9.0, 0.5))
    assert [event["step"] for event in record.of("alarm") if event["name"] == "one_class"] == [8]


def test_metrics_of_a_stranger_raise_no_alarm(tmp_path: Path) -> None:
    assert not evaluated(tmp_path, {"accuracy": 0.5}, {"accuracy": 0.5}).of("agreement")


def test_a_stranger_may_tell_the_agreement_alone(tmp_path: Path) -> None:
    assert evaluated(tmp_path, {"agreement_z": 5.0}).of("agreement")[0]["agreement_z"] == 5.0


# --- large tables -----------------------------------------------------------------------------------------------------

COUNT = 1_000_000


def characters(count: int) -> list[str]:
    """Tokens with the characters of the probes in the last rows."""
    probed = [each for probe in PROBES.values() for each in probe]
    return [*(f"#{row}" for row in range(count - len(probed))), *probed]


def test_of_a_large_table_terms_probes_and_a_sample_are_watched() -> None:
    terms = {"up": [[COUNT - 500, 7], [123_456]], "down": [[COUNT - 400]]}
    watched = MonitoredRows(tokens=characters(COUNT), groups=terms, pretrained=True)
    rows = watched.choose(COUNT)
    assert rows is not None
    assert len(rows) == len(np.unique(rows)) == MOST_ROWS
    assert (np.diff(rows) > 0).all()
    assert {7, 123_456, COUNT - 500, COUNT - 400} <= set(rows.tolist())
    probed = {row for members in watched.probes().values() for row in members}
    assert len(probed) > 20
    assert probed <= set(rows.tolist())
    again = watched.choose(COUNT)
    np.testing.assert_array_equal(rows, again)
    looked = watched.term_rows(rows)
    assert [[rows[place] for place in term] for term in looked.groups["up"]] == terms["up"]
    assert {name: rows[list(places)].tolist() for name, places in looked.probes.items()} == watched.probes()


def test_a_table_that_is_not_large_is_watched_whole() -> None:
    assert MonitoredRows().choose(MOST_ROWS) is None
    chosen = MonitoredRows().choose(MOST_ROWS + 1)
    assert chosen is not None
    assert len(chosen) == MOST_ROWS


def test_many_terms_do_not_push_the_highest_rows_out_of_the_sample() -> None:
    terms = {"many": [[row] for row in range(30_000)]}
    rows = MonitoredRows(groups=terms).choose(COUNT)
    assert rows is not None
    assert (rows >= COUNT * 0.9).sum() == pytest.approx(0.1 * (MOST_ROWS - 30_000), rel=0.1)


LARGE = 70_000


class Large(paddle.nn.Layer):
    """More rows than are watched; the ids of the toy texts stand for the highest rows."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = paddle.nn.Embedding(LARGE, 4)
        self.classifier = paddle.nn.Linear(4, LABELS)

    def forward(self, input_ids: Any) -> Any:
        return self.classifier(self.embedding(LARGE - input_ids).mean(axis=1))


def test_a_large_embedding_is_watched_and_restored_by_its_own_row_numbers(tmp_path: Path) -> None:
    def turn(table: np.ndarray) -> None:
        table[terms] *= -1.0

    terms = [69_998, 69_500]
    model = Large()
    start = model.embedding.weight.numpy().copy()
    watched = MonitoredRows(tokens=[f"t{row}" for row in range(LARGE)], groups={"a": [[terms[0]]], "b": [[terms[1]]]})
    alarm = AlarmSpec(measure="cosine_drift_max", above=1.5, action="restore_rows", row_drift=1.5)
    health = EmbeddingHealthCallback(monitored_rows=watched, alarms={"planted": alarm})
    make_trainer(tmp_path, Put(turn), health, model=model, num_train_epochs=1, learning_rate=1e-5).train()
    (check,) = health.checks
    assert (check["rows"], check["rows_watched"]) == (LARGE, MOST_ROWS)
    assert {token for token, _ in check["worst"][:2]} == {"t69500", "t69998"}
    held = health.state()
    assert held["start"].shape == (MOST_ROWS, 4)
    assert held["last"].shape[0] <= 4096
    now = model.embedding.weight.numpy()
    np.testing.assert_array_equal(now[terms], start[terms])
    assert int((cosine_drift(start, now) > 1.0).sum()) == 0
    assert [event["done"] for event in health.record.of("alarm")] == ["2 rows were put back to where they started"]


# --- where it is said -------------------------------------------------------------------------------------------------


class Logs(TrainerCallback):
    """What is logged, by step."""

    def __init__(self) -> None:
        self.logs: list[tuple[int, dict[str, Any]]] = []

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.logs.append((int(state.global_step), dict(kwargs["logs"])))


def test_the_trainers_log_has_the_numbers_of_every_check(tmp_path: Path) -> None:
    logs = Logs()
    trainer, record = attached(tmp_path, recipe(health={"gradient_every_steps": 1, "geometry_every_steps": 8}), logs)
    trainer.train()
    said = [(step, {k: v for k, v in each.items() if k.startswith("health/")}) for step, each in logs.logs]
    said = [(step, each) for step, each in said if each]
    assert len(said) == 3
    for (step, numbers), check in zip(said, record.of("health"), strict=True):
        assert step == check["step"]
        assert all(isinstance(value, float) for value in numbers.values())
        assert {"health/cosine_drift_mean", "health/norm_ratio", "health/gradient_norm"} <= set(numbers)
        assert all(check[name.removeprefix("health/")] == value for name, value in numbers.items())
    assert "health/mean_cosine" in said[-1][1]
    assert not {"health/step", "health/epoch"} & set(said[-1][1])


def drawn(folder: Path) -> dict[str, set[str]]:
    from visualdl import LogReader

    (file,) = folder.glob("vdlrecords*")
    return {kind: set(tags) for kind, tags in LogReader(file_path=str(file)).get_tags().items()}


def test_visualdl_gets_scalars_histograms_and_the_projector(tmp_path: Path) -> None:
    trainer, _ = attached(
        tmp_path, recipe(), tokens=TOKENS, report_to=["visualdl"], logging_dir=str(tmp_path / "vdl"), num_train_epochs=2
    )
    trainer.train()
    tags = drawn(tmp_path / "vdl")
    assert {"health/cosine_drift", "health/norm"} <= tags["histogram"]
    assert tags["hyper_parameters"]
    assert any(tag.endswith("health/cosine_drift_mean") for tag in tags["scalar"])
    assert "embedding" in tags["embeddings"]


def test_visualdl_gets_the_projector_when_the_run_is_stopped_early(tmp_path: Path) -> None:
    trainer, _ = attached(
        tmp_path,
        recipe(early_stopping=EarlyStoppingSpec(metric="accuracy", patience_evals=1)),
        report_to=["visualdl"],
        logging_dir=str(tmp_path / "vdl"),
        num_train_epochs=6,
    )
    trainer.compute_metrics = lambda _: {"accuracy": 0.5}
    trainer.train()
    assert trainer.state.global_step == 8
    assert "embedding" in drawn(tmp_path / "vdl").get("embeddings", set())


# --- other tables -----------------------------------------------------------------------------------------------------


def plain_descent(trainer: Any) -> Any:
    """Give a Trainer SGD, as on a CPU AdamW knows neither bfloat16 nor sparse gradients."""
    rate = trainer.lr_scheduler = paddle.optimizer.lr.StepDecay(1.0, 1000)
    trainer.optimizer = paddle.optimizer.SGD(rate, parameters=trainer.model.parameters())
    return trainer


class Half(Toy):
    """The embedding in half precision."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding.to(dtype="bfloat16")

    def forward(self, input_ids: Any) -> Any:
        hidden = self.norm(self.embedding(input_ids).astype("float32").mean(axis=1))
        return self.classifier(paddle.tanh(self.encoder(hidden)))


@pytest.mark.filterwarnings("ignore:Accumulating with FP16")
def test_a_table_in_half_precision_is_watched(tmp_path: Path) -> None:
    health = EmbeddingHealthCallback(gradient_every_steps=1)
    plain_descent(make_trainer(tmp_path, health, model=Half(), num_train_epochs=1)).train()
    (check,) = health.checks
    assert check["rows_moved"] > 0
    assert check["cosine_drift_mean"] > 0
    assert check["gradient_norm"] > 0
    assert "mean_cosine" in check


@pytest.mark.filterwarnings("ignore:Accumulating with FP16")
def test_rows_in_half_precision_are_restored(tmp_path: Path) -> None:
    model = Half()
    start = model.embedding.weight.astype("float32").numpy().copy()
    alarm = AlarmSpec(measure="cosine_drift_max", above=0.0, action="restore_rows", row_drift=1e-5)
    health = EmbeddingHealthCallback(alarms={"planted": alarm})
    plain_descent(make_trainer(tmp_path, health, model=model, num_train_epochs=1)).train()
    assert health.record.of("alarm")
    assert (cosine_drift(start, model.embedding.weight.astype("float32").numpy()) <= 1e-5).all()


def test_a_table_in_double_precision_is_watched(tmp_path: Path) -> None:
    model = Toy()
    model.to(dtype="float64")
    health = EmbeddingHealthCallback()
    make_trainer(tmp_path, health, model=model).train()
    assert health.checks[-1]["cosine_drift_mean"] > 0


def test_a_table_with_sparse_gradients_is_watched(tmp_path: Path) -> None:
    model = Toy()
    model.embedding = paddle.nn.Embedding(VOCABULARY, WIDTH, sparse=True)
    health = EmbeddingHealthCallback(gradient_every_steps=1)
    plain_descent(make_trainer(tmp_path, health, model=model)).train()
    assert health.checks[-1]["gradient_norm"] > 0
    assert health.checks[-1]["rows_moved"] > 0


class Break(TrainerCallback):
    """Writes NaN into a row after the sixth step."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 6:
            Put(scale(3, float("nan"))).on_epoch_end(args, state, control, **kwargs)


def test_a_table_with_nan_raises_an_alarm_and_leaves_the_end_to_early_stopping(tmp_path: Path) -> None:
    trainer, record = attached(
        tmp_path, recipe(health={"alarms": {}}, early_stopping=EarlyStoppingSpec(metric="accuracy")), Break()
    )
    trainer.train()
    assert "drift" in [event["name"] for event in record.of("alarm")]
    assert [event["reason"] for event in record.of("stopped")] == ["not_finite"]
    assert record.of("restored")
    assert np.isfinite(trainer.model.embedding.weight.numpy()).all()


def test_an_alarm_on_what_is_no_number_is_refused(tmp_path: Path) -> None:
    health = EmbeddingHealthCallback(alarms={"planted": AlarmSpec(measure="bands", above=1.0)})
    with pytest.raises(RecipeError, match="bands"):
        make_trainer(tmp_path, health).train()


@pytest.mark.parametrize("rows", [1, 2, 12, 21])
def test_a_table_of_few_rows_is_no_error(tmp_path: Path, rows: int) -> None:
    class Few(Toy):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = paddle.nn.Embedding(rows, WIDTH)

        def forward(self, input_ids: Any) -> Any:
            return super().forward(input_ids % rows)

    health = EmbeddingHealthCallback(geometry_every_steps=1)
    make_trainer(tmp_path, health, model=Few(), num_train_epochs=1).train()
    assert "mean_cosine" in health.checks[-1]


# --- plugins ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def plugged() -> Iterator[None]:
    class Plugin:
        @embtune.hookimpl
        def embtune_register_health_metrics(self) -> dict[str, Any]:
            return {"half": lambda start, now: 0.5}

        @embtune.hookimpl
        def embtune_register_alarms(self) -> dict[str, AlarmSpec]:
            return {"ours": AlarmSpec(measure="half", above=0.4, action="freeze"), "gone": AlarmSpec(measure="half", above=0.4)}

    former = registry.use(registry.load(plugins=[Plugin()], installed=False))
    yield
    registry.use(former)


@pytest.mark.usefixtures("plugged")
def test_a_plugin_brings_a_measure_and_an_alarm_that_acts_on_it(tmp_path: Path) -> None:
    steps = Steps()
    trainer, record = attached(tmp_path, recipe(health={"alarms": {**QUIET, "gone": None}}), steps)
    trainer.train()
    assert [check["half"] for check in record.of("health")] == [0.5] * 3
    assert [(event["name"], event["step"], event["action"]) for event in record.of("alarm")] == [("ours", 4, "freeze")]
    assert not steps.update(11, EMBEDDING).any()
