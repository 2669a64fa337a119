"""Choices with invented fits and an invented clock: halving, the budget, limits, a kill at any moment, and refusals."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paddlenlp_embtune.errors import DataError, RecipeError, StudyError
from paddlenlp_embtune.experiments import Cell, CellResult, DataSet
from paddlenlp_embtune.experiments.auto import AutoResult, AutoSpec, Limits, choose_model
from paddlenlp_embtune.experiments.auto._measured import Measured
from paddlenlp_embtune.experiments.auto.limits import ServingCost
from tests.helpers import ROWS, tsv

ENCODER = "e5-small-zh"
RIGHT = {"encoder": 0.95, "linear": 0.75, "textcnn": 0.9, "textcnn-balanced": 0.9, "textcnn-wide": 0.7}
SECONDS = {
    "linear": 2.0,
    "textcnn": 10.0,
    "textcnn-balanced": 10.0,
    "textcnn-wide": 20.0,
    "encoder": 100.0,
    "probe-encoder": 60.0,
}
MILLISECONDS = {
    "linear": 0.1,
    "textcnn": 0.5,
    "textcnn-balanced": 0.5,
    "textcnn-wide": 1.5,
    "encoder": 8.0,
    "probe-encoder": 8.0,
}
SAME = ("arm", "within_noise", "reasons", "rungs", "seconds")


class Stop(BaseException):
    """What a killed process looks like from inside."""


class World:
    """Fits that take invented time and are right as often as the name of their arm says."""

    def __init__(self) -> None:
        self.time = 0.0
        self.right = dict(RIGHT)
        self.ran: list[str] = []
        self.stop_after: int | None = None
        self.failing: dict[str, str] = {}

    def run(self, module: Sequence[str], *_: object) -> str:
        job = json.loads(Path(module[1]).read_text(encoding="utf-8"))
        elapsed = self.time
        if "recipe" in job:
            name = Path(job["out"]).name
            self._begin(f"final {name}")
            self.time += SECONDS[name] + 1
            (Path(job["out"]) / "bundle").mkdir(parents=True)
            (Path(job["out"]) / "bundle" / "bundle.json").write_text(name, encoding="utf-8")
            found = Measured(result=CellResult(), cost=cost_of(name), seconds=SECONDS[name] + 1, ended=self.time)
            found.save(Path(job["path"]))
            return "done"
        for each in job["fits"]:
            cell = Cell.from_dict(each["cell"])
            self._begin(f"{cell.arm.name} {cell.place.rpartition('/')[2]}")
            if (failure := self.failing.get(cell.arm.name)) is not None:
                Measured(result=CellResult(failed=failure), ended=self.time).save(Path(each["path"]))
                continue
            elapsed += SECONDS[cell.arm.name]
            cost = cost_of(cell.arm.name) if each["serves"] else None
            seconds = SECONDS[cell.arm.name]
            learning = {"probe-encoder": 5.0, "encoder": 45.0}.get(cell.arm.name, 0.0)
            found = Measured(result=self.answers(cell), cost=cost, seconds=seconds, learning_seconds=learning, ended=elapsed)
            found.save(Path(each["path"]))
            self.time = elapsed
        return "done"

    def answers(self, cell: Cell) -> CellResult:
        assert cell.fold is not None
        truth = np.arange(120) % 2
        draws = np.random.default_rng([cell.seed, cell.fold[0]]).random(120)  # the same hard rows for all arms
        predicted = np.where(draws < self.right[cell.arm.name.removeprefix("probe-")], truth, 1 - truth)
        return CellResult(
            labels=("a", "b"), truth=tuple(truth.tolist()), predicted=tuple(predicted.tolist()), rows=100, seconds=1.0
        )

    def _begin(self, what: str) -> None:
        if self.stop_after is not None and len(self.ran) >= self.stop_after:
            raise Stop
        self.ran.append(what)


def cost_of(arm: str) -> ServingCost:
    return ServingCost(latency_ms=MILLISECONDS[arm], size_mb=5.0, memory_mb=90.0)


Choose = Callable[..., AutoResult]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    from paddlenlp_embtune.experiments.auto import _final, _steps, budget, leaderboard, portfolio, run

    found = World()

    def clock(budget_seconds: float, *, began: float) -> budget.Clock:
        return budget.Clock(budget_seconds, began=began, now=lambda: found.time)

    monkeypatch.setattr(run, "Clock", clock)
    monkeypatch.setattr(_steps, "run_process", found.run)
    monkeypatch.setattr(_final, "run_process", found.run)
    monkeypatch.setattr(leaderboard, "_RESAMPLES", 200)
    monkeypatch.setattr(portfolio, "_registered_encoder", lambda: None)
    monkeypatch.setattr(portfolio, "_ENCODERS", ("encoder",))
    monkeypatch.setattr("paddlenlp_embtune.report.write_auto_report", lambda *_: None)
    return found


@pytest.fixture
def choose(world: World, tmp_path: Path) -> Choose:
    path = tmp_path / "train.tsv"
    path.write_text(tsv(ROWS), encoding="utf-8")

    def call(
        budget: float = 10_000, *, out: str = "out", data: Path = path, dev: str | None = None, **options: Any
    ) -> AutoResult:
        given = {name: options.pop(name) for name in ("overwrite", "announce", "listener") if name in options}
        spec = AutoSpec(budget_seconds=budget, jobs=1, **options)
        return choose_model(DataSet(name="rows", train=str(data), dev=dev), tmp_path / out, spec=spec, **given)

    return call


def bundle(found: AutoResult) -> str:
    return (found.bundle / "bundle.json").read_text(encoding="utf-8")


def test_the_best_arm_is_chosen_and_what_is_within_noise_of_it_is_said(choose: Choose, world: World) -> None:
    found = choose()
    assert found.arm in ("textcnn", "textcnn-balanced")
    assert bundle(found) == found.arm
    assert set(found.within_noise) | {found.arm} == {"textcnn", "textcnn-balanced"}
    out = {entry.arm: entry for entry in found.leaderboard if entry.state == "behind"}
    assert set(out) == {"linear", "textcnn-wide"}
    assert out["linear"].reason.startswith("behind textcnn by ")
    assert found.leaderboard[0].state == "chosen"
    low, high = found.chosen.interval or (0, 0)
    assert low < (found.chosen.score or 0) < high
    plain = json.loads((found.folder / "auto.json").read_text(encoding="utf-8"))
    assert plain == json.loads(json.dumps(found.to_dict()))
    assert found.recipe.is_file()
    assert found.reasons[-1].startswith(f"{found.arm} was chosen")


def test_a_bundle_is_there_before_anything_is_compared(choose: Choose, world: World, tmp_path: Path) -> None:
    world.stop_after = 1
    with pytest.raises(Stop):
        choose()
    assert (tmp_path / "out" / "bundle.json").read_text(encoding="utf-8") == "linear"


@pytest.mark.parametrize("budget", [0.5, 20, 60, 120, 200, 400])
def test_the_budget_is_kept_with_the_last_fit(choose: Choose, world: World, budget: float) -> None:
    found = choose(budget)
    assert world.time <= max(budget, SECONDS["linear"] + 1)
    if budget == 0.5:
        assert (found.arm, world.ran, found.chosen.score) == ("linear", ["final linear"], None)
        assert "no other arm could be compared with it" in found.reasons[-1]
    if budget >= 120:
        assert found.arm != "linear"


def test_killed_at_any_moment_it_ends_with_the_same_choice(choose: Choose, world: World) -> None:
    whole = choose(300, out="whole").to_dict()
    fits = len(world.ran)
    for stop in range(1, fits, 3):
        world.time, world.ran, world.stop_after = 0.0, [], stop
        with pytest.raises(Stop):
            choose(300, out=f"out{stop}")
        world.time, world.stop_after = 0.0, None  # another process, whose clock begins at 0
        found = choose(300, out=f"out{stop}").to_dict()
        assert len(world.ran) == fits
        assert {name: found[name] for name in SAME} == {name: whole[name] for name in SAME}


def test_called_again_nothing_is_fitted_and_a_larger_budget_tries_further(choose: Choose, world: World) -> None:
    short = choose(20)
    world.ran = []
    again = choose(20)
    assert world.ran == []
    assert again.arm == short.arm == "linear"
    assert choose(1000).arm != "linear"
    assert "final linear" not in world.ran


def test_arms_that_break_a_limit_are_left_out_with_the_figures(choose: Choose) -> None:
    found = choose(limits=Limits(latency_ms=0.2))
    assert found.arm == "linear"
    reasons = {entry.arm: entry.reason for entry in found.leaderboard}
    assert reasons["textcnn"] == "its bundle breaks a limit: latency 0.5 ms, allowed 0.2"


def test_limits_that_nothing_keeps(choose: Choose, tmp_path: Path) -> None:
    with pytest.raises(
        StudyError, match=r"no arm keeps the limits; linear came nearest: size 5 MB, allowed 1 .*raise the limit"
    ):
        choose(limits=Limits(size_mb=1.0))
    assert not (tmp_path / "out").exists()


def test_an_arm_that_fails_is_left_out(choose: Choose, world: World) -> None:
    world.failing = {"textcnn": "RecipeError: no such thing"}
    found = choose()
    assert found.arm == "textcnn-balanced"
    assert {entry.arm: entry.reason for entry in found.leaderboard}["textcnn"] == "RecipeError: no such thing"


def test_an_encoder_is_probed_first_and_left_out_where_it_breaks_a_limit(choose: Choose, world: World) -> None:
    found = choose(encoder=ENCODER, limits=Limits(latency_ms=2.0))
    assert [what for what in world.ran if "encoder" in what] == ["probe-encoder all-fold0-seed0.json"]
    assert {entry.arm: entry.reason for entry in found.leaderboard}["encoder"] == (
        "its bundle breaks a limit: latency 8 ms, allowed 2"
    )


@pytest.mark.parametrize(("budget", "arm"), [(250, "textcnn"), (5000, "encoder")])
def test_an_encoder_is_chosen_where_there_is_time(choose: Choose, world: World, budget: float, arm: str) -> None:
    found = choose(budget, encoder=ENCODER)
    assert found.arm == arm
    assert world.time <= budget


def test_the_linear_arm_wins_where_nothing_is_better(choose: Choose, world: World) -> None:
    world.right = {**dict.fromkeys(RIGHT, 0.5), "linear": 0.9}
    found = choose()
    assert (found.arm, bundle(found), found.within_noise) == ("linear", "linear", ())
    assert world.ran.count("final linear") == 1


def test_labels_with_too_few_texts_are_not_compared(choose: Choose, tmp_path: Path) -> None:
    path = tmp_path / "rare.tsv"
    path.write_text(tsv([*ROWS, ("停牌核查", "停牌"), ("临时停牌", "停牌")]), encoding="utf-8")
    found = choose(data=path)
    assert any("停牌" in note and "left out of the comparison" in note for note in found.notes)
    kept = (tmp_path / "out.auto" / "rows" / "train.jsonl").read_text(encoding="utf-8")
    assert "停牌" not in kept
    assert found.rows == len(ROWS) + 2


@pytest.mark.parametrize(
    ("rows", "dev", "told"),
    [
        ([*ROWS, ("停牌核查", "停牌")], None, "label '停牌' has too few different texts"),
        ([row for row in ROWS if row[1] == "利好"], None, "all rows of .* have the label '利好'"),
        (ROWS, [("停牌核查", "停牌")], "has the label '停牌', which no row of"),
    ],
)
def test_rows_that_nothing_can_be_trained_on(
    choose: Choose, world: World, tmp_path: Path, rows: list[tuple[str, str]], dev: list[tuple[str, str]] | None, told: str
) -> None:
    path, stops_on = tmp_path / "rows.tsv", tmp_path / "dev.tsv"
    path.write_text(tsv(rows), encoding="utf-8")
    stops_on.write_text(tsv(dev or []), encoding="utf-8")
    with pytest.raises(DataError, match=told):
        choose(data=path, dev=None if dev is None else str(stops_on))
    assert world.ran == []
    assert not (tmp_path / "out.auto").exists()


def test_few_rows_are_answered_by_the_linear_arm(choose: Choose, world: World, tmp_path: Path) -> None:
    path = tmp_path / "few.tsv"
    path.write_text(tsv([("涨", "a"), ("升", "a"), ("跌", "b"), ("降", "b")]), encoding="utf-8")
    found = choose(data=path)
    assert world.ran == ["final linear"]
    assert any("too few to compare arms on" in note for note in found.notes)


def test_another_choice_in_the_folder_is_refused(choose: Choose, world: World, tmp_path: Path) -> None:
    choose(20)
    with pytest.raises(RecipeError, match="holds a choice with other metric; choose another --out, or begin anew"):
        choose(20, metric="accuracy")
    world.ran = []
    assert choose(20, metric="accuracy", overwrite=True).metric == "accuracy"
    assert world.ran[0] == "final linear"
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "file").write_text("", encoding="utf-8")
    with pytest.raises(RecipeError, match="is there already and is no bundle"):
        choose(out="theirs", overwrite=True)
    (tmp_path / "theirs" / "bundle.json").write_text("", encoding="utf-8")
    with pytest.raises(RecipeError, match="holds a bundle already; choose another --out, or replace it with --overwrite"):
        choose(out="theirs")


@pytest.mark.parametrize(
    ("arms", "told"),
    [
        (("mine=tfidf",), "leaves no bundle, so it cannot be chosen"),
        (("textcnn=encoder",), "has the name of an arm that is tried anyway"),
        (("mine=absent.yaml",), "neither a file nor built in"),
    ],
)
def test_arms_that_are_refused(choose: Choose, world: World, arms: tuple[str, ...], told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        choose(arms=arms)
    assert world.ran == []
