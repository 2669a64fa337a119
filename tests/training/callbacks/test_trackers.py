"""Trackers get what a Trainer logs and the files of a run, continue after a resume, and never end a training."""

from __future__ import annotations

import importlib.machinery
import logging
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from paddlenlp_embtune import MissingDependencyError, Recipe, RecipeError, attach, compat, hookimpl
from paddlenlp_embtune.plugin import registry
from paddlenlp_embtune.training import RunRecord
from paddlenlp_embtune.training._trackers import check_trackers
from paddlenlp_embtune.training.callbacks.trackers import flatten
from paddlenlp_embtune.training.run import train
from paddlenlp_embtune.utils.checkpoint_folders import last_checkpoint
from tests.helpers import QUICK, ROWS, tsv
from tests.toy import make_trainer, new_process

RECIPE = {"report_to": ["mine"], "health": None, "freeze": None, "early_stopping": None}


class Tracker:
    """Remembers what it was told; raises in a method where it is told to."""

    def __init__(self, fails: str = "") -> None:
        self.fails = fails
        self.told: list[tuple[str, dict[str, Any]]] = []

    def start(self, **told: Any) -> str:
        self._note("start", told)
        return str(told["previous"] or f"id of {told['name']}")

    def log(self, **told: Any) -> None:
        self._note("log", told)

    def finish(self, **told: Any) -> None:
        self._note("finish", told)

    def _note(self, what: str, told: dict[str, Any]) -> None:
        self.told.append((what, told))
        if what == self.fails:
            raise ConnectionError("the server cannot be reached")

    def of(self, what: str) -> list[dict[str, Any]]:
        return [told for name, told in self.told if name == what]


@pytest.fixture
def made() -> Iterator[list[Tracker]]:
    """Trackers called ``mine``, as they are made; the first of the list says where the next one fails."""
    trackers: list[Tracker] = []
    fails = [""]

    def build() -> Tracker:
        trackers.append(Tracker(fails[0]))
        return trackers[-1]

    plugin = types.SimpleNamespace(
        __name__="mine",
        embtune_register_trackers=hookimpl(_named("embtune_register_trackers", lambda: {"mine": build})),
    )
    former = registry.use(registry.load(plugins=[plugin], installed=False))
    yield trackers
    registry.use(former)


def _short_report(run_dir: Path, **_: Any) -> Path:
    (run_dir / "report.html").write_text("<p>", encoding="utf-8")
    return run_dir / "report.html"


def _named(name: str, function: Any) -> Any:
    function.__name__ = name
    return function


def test_a_trackers_run_has_parameters_metrics_and_an_end(made: list[Tracker], tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path / "out", num_train_epochs=2)
    attach(trainer, Recipe.from_dict(RECIPE))
    trainer.train()
    (tracker,) = made
    (begin,), (end,) = tracker.of("start"), tracker.of("finish")
    assert begin["name"] == "out"
    assert begin["parameters"]["clip.global_norm"] == 1.0
    assert begin["previous"] is None
    evaluations = [told for told in tracker.of("log") if "eval_loss" in told["metrics"]]
    assert [told["step"] for told in evaluations] == [4, 8]
    assert all(isinstance(value, float) for told in tracker.of("log") for value in told["metrics"].values())
    assert any("loss" in told["metrics"] for told in tracker.of("log"))
    assert end == {"status": "finished", "files": [], "bundle": None}


@pytest.mark.parametrize("method", ["start", "log", "finish"])
def test_a_tracker_that_fails_is_left_out_and_training_ends_as_ever(
    method: str, made: list[Tracker], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer, record = make_trainer(tmp_path, num_train_epochs=1), RunRecord()
    attach(trainer, Recipe.from_dict(RECIPE), record=record)
    made[0].fails = method
    with caplog.at_level(logging.WARNING, logger="paddlenlp_embtune"):
        trainer.train()
    assert trainer.state.global_step == 4
    assert len(made[0].of(method)) == 1
    assert made[0].told[-1][0] == method
    lines = [line for line in caplog.messages if "the tracker mine failed" in line]
    assert lines == ["the tracker mine failed and gets nothing more of this run: ConnectionError: the server cannot be reached"]
    (event,) = record.of("tracker_failed")
    assert event["tracker"] == "mine"


def test_a_run_that_is_cut_fails_and_its_continuation_continues_it(made: list[Tracker], tmp_path: Path) -> None:
    class Cut(compat.TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 6:
                raise KeyboardInterrupt

    options = {"save_strategy": "steps", "save_steps": 4}
    with new_process():
        trainer = make_trainer(tmp_path, Cut(), **options)
        attach(trainer, Recipe.from_dict(RECIPE))
        with pytest.raises(KeyboardInterrupt):
            trainer.train()
    assert made[0].of("finish") == [{"status": "failed", "files": [], "bundle": None}]
    with new_process():
        trainer = make_trainer(tmp_path, **options)
        attach(trainer, Recipe.from_dict(RECIPE))
        trainer.train(resume_from_checkpoint=str(last_checkpoint(tmp_path)))
    assert made[1].of("start")[0]["previous"] == f"id of {tmp_path.name}"
    assert made[1].of("finish")[0]["status"] == "finished"


def test_a_run_hands_over_its_files_and_its_bundle(
    made: list[Tracker], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("paddlenlp_embtune.report.write_report", _short_report, raising=False)  # a real one takes seconds
    (tmp_path / "train.tsv").write_text(tsv(ROWS), encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text(QUICK + "report_to: [mine]\n", encoding="utf-8")
    result = train(Recipe.load(tmp_path / "recipe.yaml"), tmp_path / "run")
    (tracker,) = made
    (end,) = tracker.of("finish")
    assert tracker.of("start")[0]["name"] == "run"
    assert tracker.of("start")[0]["parameters"]["train.batch_size"] == 16
    assert (end["status"], end["bundle"]) == ("finished", result.bundle)
    assert [path.name for path in end["files"]] == ["recipe.yaml", "record.jsonl", "metrics.json", "report.html"]
    assert all(path.is_file() for path in end["files"])
    metrics = {key: value for told in tracker.of("log") for key, value in told["metrics"].items()}
    assert metrics["bundle/f1_macro"] == result.metrics["f1_macro"]
    assert {"health/cosine_drift_mean", "rate/embedding", "eval_f1_macro"} <= set(metrics)


def test_visualdl_is_the_trainers_own_and_its_logs_stay(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path / "out", num_train_epochs=1)
    trainer.args.logging_dir = str(tmp_path / "logs")
    attach(trainer, Recipe.from_dict({**RECIPE, "report_to": ["visualdl"]}))
    trainer.train()
    (written,) = (tmp_path / "logs").iterdir()
    assert b"eval" in written.read_bytes()


def test_the_trainers_tensorboard_gets_the_logs_of_a_model_with_another_kind_of_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``config`` of our models is a method, which the Trainer's callback would take for PaddleNLP's configuration."""
    written: list[tuple[str, float, int]] = []

    class SummaryWriter:
        def __init__(self, log_dir: str) -> None:
            self.add_scalar = lambda *told: written.append(told)
            self.add_text = self.flush = self.close = lambda *_: None

    package = types.ModuleType("tensorboardX")
    package.SummaryWriter = SummaryWriter  # type: ignore[attr-defined]
    package.__spec__ = importlib.machinery.ModuleSpec("tensorboardX", None)
    monkeypatch.setitem(sys.modules, "tensorboardX", package)
    trainer, record = make_trainer(tmp_path / "out", num_train_epochs=1), RunRecord()
    trainer.model.config = lambda: {"width": 8}
    attach(trainer, Recipe.from_dict({**RECIPE, "report_to": ["tensorboard"]}), record=record)
    trainer.train()
    assert record.of("tracker_failed") == []
    assert {"eval/accuracy", "train/loss"} <= {name for name, _, _ in written}


def test_a_trackers_callback_of_the_trainer_that_fails_is_left_out(tmp_path: Path) -> None:
    trainer, record = make_trainer(tmp_path / "out", num_train_epochs=1), RunRecord()
    (tmp_path / "logs").write_text("", encoding="utf-8")  # no folder can be made there
    trainer.args.logging_dir = str(tmp_path / "logs" / "run")
    attach(trainer, Recipe.from_dict({**RECIPE, "report_to": ["visualdl"]}), record=record)
    trainer.train()
    assert trainer.state.global_step == 4
    (event,) = record.of("tracker_failed")
    assert event["tracker"] == "visualdl"


def test_unknown_trackers_and_missing_packages_are_refused(made: list[Tracker], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RecipeError, match=r"report_to names the tracker 'visuald'; did you mean 'visualdl'"):
        check_trackers(["visuald"])
    monkeypatch.setitem(compat.HOST_TRACKERS, "wandb", "no_such_package")
    with pytest.raises(MissingDependencyError, match="report_to names wandb, which needs the package no_such_package"):
        check_trackers(["wandb"])
    check_trackers(["mine", "visualdl"])


def test_parameters_are_flat() -> None:
    assert flatten({"a": {"b": {"c": 1}, "d": [2]}, "e": None, "f": {}}) == {"a.b.c": 1, "a.d": [2], "e": None, "f": {}}
