"""The study of a search: its identity, the budget between processes, and trials that were interrupted."""

from __future__ import annotations

import json
import socket
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest

from paddlenlp_embtune.config import Recipe
from paddlenlp_embtune.errors import RecipeError, StudyError
from paddlenlp_embtune.experiments.search import Space, _optuna, study as study_module
from paddlenlp_embtune.experiments.search.study import SECONDS, WORKER, Study

RECIPE = Recipe()
SPACE = Space.from_dict({"train.batch_size": [16, 64], "model.options.dropout": {"low": 0.0, "high": 0.5}}, RECIPE)
IDENTITY: dict[str, Any] = {"recipe": {"train": {"epochs": 3}}, "rows": {"train": "abc"}}
DEFAULT = SPACE.parameters_of(RECIPE, rows=1000)


def study(storage: Path | str, *, name: str = "s", seed: int = 0) -> Study:
    return Study(str(storage), name, space=SPACE, mode="max", sampler="tpe", pruner="median", seed=seed, trials=10)


def begun(storage: Path | str) -> Study:
    found = study(storage)
    found.claim(IDENTITY, default=DEFAULT, resume=True)
    return found


def finish(found: Study, value: float, **about: Any) -> int:
    trial = found.ask(limit=None)
    found.suggest(trial, RECIPE)
    found.tell(trial, value=value, about={SECONDS: 1.0, **about})
    return int(trial.number)


@pytest.mark.parametrize("storage", ["study.journal", "study.db"])
def test_the_recipe_as_it_stands_comes_first_and_the_study_goes_on_elsewhere(storage: str, tmp_path: Path) -> None:
    first = begun(tmp_path / storage)
    assert finish(first, 0.5) == 0
    finish(first, 0.7)
    again = begun(tmp_path / storage)
    default, other = again.trials()
    assert default.default
    assert default.values == {"train.batch_size": 64, "model.options.dropout": 0.5}
    assert not other.default
    assert other.values["train.batch_size"] in (16, 64)
    assert again.best() == other
    assert again.seconds(again.trials()) == 1.0
    third = again.ask(limit=3)
    assert again.suggest(third, RECIPE) != RECIPE
    assert dict(third.params) != {"train.batch_size": json.dumps(other.values["train.batch_size"])}
    assert again.ask(limit=3) is None


def test_a_default_outside_of_the_space_is_tried_as_it_is(tmp_path: Path) -> None:
    found = study(tmp_path / "j")
    found.claim(IDENTITY, default=None, resume=False)
    trial = found.ask(limit=None)
    assert found.suggest(trial, RECIPE) is RECIPE
    found.tell(trial, value=0.1, about={})
    assert found.trials()[0].default
    assert found.trials()[0].values == {}


def test_a_study_of_something_else_or_that_shall_not_go_on_is_refused(tmp_path: Path) -> None:
    finish(begun(tmp_path / "j"), 0.5)
    with pytest.raises(RecipeError, match="study 's' with 1 trials; go on with --resume"):
        study(tmp_path / "j").claim(IDENTITY, default=DEFAULT, resume=False)
    other = {**IDENTITY, "recipe": {"train": {"epochs": 4}}}
    with pytest.raises(RecipeError, match=r"of another search .recipe.train.epochs: 3 there, 4 now"):
        study(tmp_path / "j").claim(other, default=DEFAULT, resume=True)
    foreign = study(tmp_path / "k")
    foreign.optuna.ask()
    with pytest.raises(RecipeError, match="which embtune search did not begin"):
        study(tmp_path / "k").claim(IDENTITY, default=DEFAULT, resume=True)
    assert len(begun(tmp_path / "j").trials()) == 1


def test_an_interrupted_trial_does_not_count_and_runs_again_with_the_same_values(tmp_path: Path) -> None:
    found = begun(tmp_path / "j")
    default = found.ask(limit=2)
    found.give_back(default, "interrupted")
    assert found.trials() == []
    again = found.ask(limit=2)
    assert found.suggest(again, RECIPE) is RECIPE or again.user_attrs["default"]
    found.tell(again, value=0.4, about={})
    trial = found.ask(limit=2)
    values = SPACE.values({**(found.suggest(trial, RECIPE) and trial.params)})
    found.give_back(trial, "interrupted")
    repeated = found.ask(limit=2)
    found.suggest(repeated, RECIPE)
    assert SPACE.values(repeated.params) == values
    found.tell(repeated, value=0.6, about={})
    assert [(trial.default, trial.value) for trial in found.trials()] == [(True, 0.4), (False, 0.6)]
    assert found.ask(limit=2) is None


def test_a_trial_whose_process_ended_is_taken_up_once(tmp_path: Path) -> None:
    finish(begun(tmp_path / "j"), 0.5)
    ended = subprocess.Popen(["true"])
    ended.wait()
    for _ in range(2):
        found = study(tmp_path / "j")
        trial = found.ask(limit=None)
        found.suggest(trial, RECIPE)
        assert found.recover() == 0
        trial.set_user_attr(WORKER, [socket.gethostname(), ended.pid])
        assert study(tmp_path / "j").recover() == 1
    states = [(trial.state, trial.error) for trial in study(tmp_path / "j").trials()]
    assert states == [("complete", None), ("failed", "its process ended twice, without a word")]


def test_a_trial_whose_process_was_killed_as_it_began_is_taken_up_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = begun(tmp_path / "j")
    found.optuna.ask()
    monkeypatch.setattr(study_module, "_SETTLE_SECONDS", 0.0)
    assert found.recover() == 1
    assert found.trials() == []
    trial = found.ask(limit=1)
    assert trial.user_attrs["default"]


def test_equal_values_are_known_again(tmp_path: Path) -> None:
    found = begun(tmp_path / "j")
    finish(found, 0.5)
    found.optuna.enqueue_trial(DEFAULT)
    trial = found.ask(limit=None)
    found.suggest(trial, RECIPE)
    earlier = found.same_as(trial)
    assert earlier is not None
    assert earlier.number == 0


def test_a_storage_that_cannot_be_used_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "letter.txt").write_text("Dear study\nhello\n", encoding="utf-8")
    with pytest.raises(StudyError, match=r"letter.txt is no study of Optuna"):
        study(tmp_path / "letter.txt")
    with pytest.raises(StudyError, match="cannot be used"):
        study(f"sqlite:///{tmp_path}/no/such/folder/s.db")
    monkeypatch.setattr(_optuna, "_SQLITE_SECONDS", 0.1)
    begun(tmp_path / "s.db")
    holder = sqlite3.connect(tmp_path / "s.db")
    holder.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(StudyError, match=r"s.db is locked by another program"):
            finish(study(tmp_path / "s.db"), 0.1)
    finally:
        holder.close()


def test_names_and_passwords(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="the sampler is 'tpa'; did you mean 'tpe'"):
        _optuna.make_sampler("tpa", seed=0, trials=None)
    with pytest.raises(RecipeError, match="the pruner is 'medin'; did you mean 'median'"):
        _optuna.make_pruner("medin")
    assert _optuna.describe_storage("postgresql://me:secret@host/db") == "postgresql://...@host/db"
    assert _optuna.describe_storage(str(tmp_path / "a@b")) == str(tmp_path / "a@b")
