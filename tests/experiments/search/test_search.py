"""Searches on a few rows: what a trial leaves, the budget, an interrupt, and the comparison at the end."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paddlenlp_embtune.config import DataSpec, Recipe
from paddlenlp_embtune.data import read_examples
from paddlenlp_embtune.errors import DataError, RecipeError, StudyError
from paddlenlp_embtune.experiments import Cell
from paddlenlp_embtune.experiments._split import rows_of
from paddlenlp_embtune.experiments.search import SearchSpec, Space, search
from paddlenlp_embtune.experiments.search._final import _arm, paired_interval
from paddlenlp_embtune.experiments.search._rows import prepare_rows
from paddlenlp_embtune.experiments.search._trial import run_trial
from paddlenlp_embtune.experiments.search._workers import Budget
from paddlenlp_embtune.experiments.search.study import Study
from tests.helpers import ROWS, tsv

SPACE = {"train.batch_size": [4, 8], "model.options.dropout": {"low": 0.0, "high": 0.5}}
FEW: dict[str, Any] = {
    "text": {"extra_rows": 0},
    "model": {"options": {"filters": 4, "ngram_buckets": 0}},
    "train": {"epochs": 3},
    "freeze": None,
    "health": None,
}


def recipe_of(folder: Path, **parts: Any) -> Recipe:
    (folder / "train.tsv").write_text(tsv(ROWS), encoding="utf-8")
    return Recipe.from_dict({**FEW, "data": {"train": str(folder / "train.tsv")}, **parts})


def trial_in(folder: Path, *, default: bool = False) -> tuple[Study, Any, Recipe]:
    """A study with one trial that has begun."""
    recipe = recipe_of(folder)
    space = Space.from_dict(SPACE, recipe)
    study = Study(str(folder / "j"), "s", space=space, mode="max", sampler="random", pruner="median", seed=0)
    if default:
        study.claim({}, default=None, resume=False)
    return study, study.ask(limit=None), recipe


def test_a_search_keeps_every_trial_and_writes_the_best_recipe(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path)
    spec = SearchSpec(trials=2, seeds=0)
    told: list[int] = []
    space = Space.from_dict(SPACE, recipe)
    result = search(recipe, space, tmp_path / "out", spec=spec, listener=lambda trial: told.append(trial.number))
    assert told == [0, 1]
    assert [trial.default for trial in result.trials] == [True, False]
    assert all(trial.state in ("complete", "pruned") and trial.curve for trial in result.trials)
    found = Recipe.load(tmp_path / "out" / "best.yaml")
    expected = space.apply(recipe, result.best.values) if not result.best.default else recipe
    assert (found.train, found.model, found.data.train) == (expected.train, expected.model, recipe.data.train)
    kept = json.loads((tmp_path / "out" / "search.json").read_text(encoding="utf-8"))
    assert kept["better"] is False
    assert [trial["value"] for trial in kept["trials"]] == [trial.value for trial in result.trials]
    assert "Value of every trial" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert not list((tmp_path / "out" / "trials").iterdir())
    with pytest.raises(RecipeError, match="holds a search already; go on with --resume"):
        search(recipe, space, tmp_path / "out", spec=spec)
    again = search(recipe, space, tmp_path / "out", spec=spec, resume=True)
    assert again.trials == result.trials


def test_a_pruned_trial_ends_through_control_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, trial, recipe = trial_in(tmp_path)
    monkeypatch.setattr(study, "report", lambda trial, value, step: trial.report(value, step) or step == 2)
    run_trial(study, trial, recipe, tmp_path / "trials")
    (found,) = study.trials()
    assert (found.state, found.reason, found.epochs, len(found.curve)) == ("pruned", "pruned", 2.0, 2)
    assert found.value == found.curve[-1][1]


def test_a_trial_ends_when_time_is_up_and_the_recipe_as_it_stands_is_never_pruned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, trial, recipe = trial_in(tmp_path, default=True)
    monkeypatch.setattr(study, "report", lambda *_: True)
    run_trial(study, trial, recipe, tmp_path / "trials")
    late = study.ask(limit=None)
    run_trial(study, late, recipe, tmp_path / "trials", ends_at=time.time())
    default, other = study.trials()
    assert (default.state, default.epochs) == ("complete", 3.0)
    assert (other.state, other.reason) == ("pruned", "out_of_time")
    assert other.epochs is not None
    assert other.epochs < 1


def test_a_trial_that_cannot_be_trained_is_told_and_the_recipe_as_it_stands_must_be(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, freeze={"groups": ["nobody"]})
    space = Space.from_dict({"freeze": [None, {"groups": ["none"]}], "train.batch_size": [4, 8]}, recipe_of(tmp_path))
    study = Study(str(tmp_path / "j"), "s", space=space, mode="max", sampler="random", pruner="none", seed=0)
    study.optuna.enqueue_trial({"freeze": json.dumps({"groups": ["none"]}), "train.batch_size": "4"})
    run_trial(study, study.ask(limit=None), recipe_of(tmp_path), tmp_path / "trials")
    (failed,) = study.trials()
    assert failed.state == "failed"
    assert failed.error is not None
    assert "none" in failed.error
    with pytest.raises(RecipeError, match="nobody"):
        search(recipe, Space.from_dict(SPACE, recipe), tmp_path / "out", spec=SearchSpec(trials=3, seeds=0))


def test_an_interrupt_gives_the_trial_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, trial, recipe = trial_in(tmp_path)

    def interrupted(*_: Any) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(study, "report", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_trial(study, trial, recipe, tmp_path / "trials")
    assert study.trials() == []
    again = study.ask(limit=1)
    run_trial(study, again, recipe, tmp_path / "trials")
    (found,) = study.trials()
    assert found.values == study.space.values(trial.params)


def test_rows_are_kept_apart_from_every_trial(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path)
    alone = prepare_rows(recipe, tmp_path / "a", test=None)
    train, test = (texts_of(path) for path in (alone.final.train, str(alone.final.test)))
    assert alone.data.train == alone.final.train
    assert alone.data.dev is None
    assert test
    assert not test & train
    dev = tmp_path / "dev.tsv"
    dev.write_text(tsv(ROWS[:6]), encoding="utf-8")
    with_dev = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, dev=str(dev)))
    kept = prepare_rows(with_dev, tmp_path / "b", test=None)
    assert kept.data.dev is None
    assert texts_of(str(kept.final.test)) == {text for text, _ in ROWS[:6]}
    given = prepare_rows(with_dev, tmp_path / "c", test=str(dev))
    assert given.data.dev is not None
    assert given.final.dev == given.data.dev
    assert len({json.dumps(each.identity) for each in (alone, kept, given)}) == 3
    dev.write_text("text\tlabel\n涨\t别的\n", encoding="utf-8")
    with pytest.raises(DataError, match="has the label '别的', which no training row has"):
        prepare_rows(recipe, tmp_path / "d", test=str(dev))


def test_rows_keep_their_weights_and_those_that_are_measured_need_none(tmp_path: Path) -> None:
    train, dev, test = (tmp_path / f"{name}.tsv" for name in ("weighted", "dev", "test"))
    rows = "".join(f"{text}\t{label}\t{number % 3 + 1}\n" for number, (text, label) in enumerate(ROWS))
    train.write_text(f"text\tlabel\tw\n{rows}", encoding="utf-8")
    dev.write_text(f"text\tlabel\tw\n{rows}", encoding="utf-8")
    test.write_text(tsv(ROWS), encoding="utf-8")
    weighted = Recipe(data=DataSpec(train=str(train), dev=str(dev), weight_column="w"))
    kept = prepare_rows(weighted, tmp_path / "a", test=str(test))
    expected = tuple(float(number % 3 + 1) for number in range(len(ROWS)))
    assert read_examples(str(kept.data.train), **kept.data.reading()).weights == expected
    arm = _arm(dataclasses.replace(weighted, data=kept.data), "best")
    learned, stops_on, measured = rows_of(Cell(arm=arm, data=kept.final))
    assert (learned.weights, stops_on and stops_on.weights, measured.weights) == (expected, expected, None)


def texts_of(path: str) -> set[str]:
    return {json.loads(line)["text"] for line in Path(path).read_text(encoding="utf-8").splitlines()}


def test_the_interval_covers_the_difference_and_shrinks_with_rows() -> None:
    generator = np.random.default_rng(0)
    widths = []
    for rows in (100, 800):
        truth = generator.integers(0, 3, rows)
        answers = [
            np.stack([np.where(generator.random(rows) < right, truth, (truth + 1) % 3) for _ in range(4)])
            for right in (0.7, 0.8)
        ]
        for metric in ("accuracy", "f1_macro"):
            low, high = paired_interval(truth, *answers, 3, metric=metric)
            assert low < (answers[1] == truth).mean() - (answers[0] == truth).mean() < high
            widths.append(high - low)
    assert widths[2] < widths[0] / 1.5
    assert widths[3] < widths[1] / 1.5
    assert paired_interval(truth, answers[0], answers[0], 3, metric="accuracy") == (0.0, 0.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trials": 0}, "trials must be 1 or more, got 0"),
        ({"minutes": 0.0}, "minutes must be above 0"),
        ({"trials": None}, "trials must be stated, or minutes, or both"),
        ({"sampler": "grid"}, "sampler is 'grid'"),
        ({"seeds": -1}, "seeds must be 0 to 100"),
    ],
)
def test_what_no_search_can_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        SearchSpec(**options)


def test_a_search_without_a_complete_trial_says_so(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path)
    spec = SearchSpec(minutes=1e-6, trials=None)
    with pytest.raises(StudyError, match="no trial ran to its end in 1e-06 minutes; raise --minutes"):
        search(recipe, Space.from_dict(SPACE, recipe), tmp_path / "out", spec=spec)


def command(folder: Path, *options: str) -> list[str]:
    recipe_of(folder).save(folder / "recipe.yaml")
    (folder / "space.yaml").write_text(json.dumps(SPACE), encoding="utf-8")
    program = [sys.executable, "-W", "ignore", "-m", "paddlenlp_embtune", "search", str(folder / "recipe.yaml")]
    return [*program, "--space", str(folder / "space.yaml"), "--out", str(folder / "out"), *options, "--json"]


@pytest.mark.slow
def test_the_command_compares_the_best_recipe_with_the_one_it_began_with(tmp_path: Path) -> None:
    test = tmp_path / "test.tsv"
    test.write_text(tsv(ROWS), encoding="utf-8")
    options = ("--trials", "4", "--processes", "2", "--seeds", "2", "--test", str(test))
    done = subprocess.run(command(tmp_path, *options), check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    assert sorted(trial["number"] for trial in found["trials"]) == [0, 1, 2, 3]
    if not found["best"]["default"]:
        final = found["final"]
        assert (final["seeds"], final["rows"]) == (2, len(ROWS))
        assert final["interval"][0] <= final["difference"] <= final["interval"][1]
        assert found["better"] == (final["verdict"] == "better")
    assert "on rows that it was chosen by" in done.stderr


@pytest.mark.slow
def test_a_killed_search_goes_on_and_keeps_what_it_had(tmp_path: Path) -> None:
    options = ("--trials", "4", "--seeds", "0")
    with subprocess.Popen(command(tmp_path, *options), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("trial 1"):
                os.kill(process.pid, signal.SIGKILL)
                break
    done = subprocess.run(
        command(tmp_path, "--trials", "4", "--seeds", "0", "--resume"), check=True, capture_output=True, text=True
    )
    trials = json.loads(done.stdout)["trials"]
    assert len(trials) == 4
    assert all(trial["state"] in ("complete", "pruned") for trial in trials)


def test_time_is_kept_for_the_comparison_half_of_it_at_most() -> None:
    budget = Budget(trials=None, begins_at=1000.0, ends_at=1600.0, retrainings=6)
    assert budget.trials_end(None) == 1600.0
    assert budget.trials_end(10.0) == pytest.approx(1600.0 - 6 * (13.0 + 15.0))
    assert budget.trials_end(100.0) == 1300.0
    assert dataclasses.replace(budget, ends_at=None).trials_end(10.0) is None
