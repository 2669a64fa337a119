"""Comparisons with invented results: resuming, crashes, refusals, and what the tables say."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paddlenlp_embtune.errors import DataError, MissingDependencyError, RecipeError
from paddlenlp_embtune.experiments import (
    Cell,
    CellResult,
    ComparisonSpec,
    DataSet,
    compare_arms,
    compare_finished,
    comparison,
    parse_arms,
    runner,
    unfinished,
)
from paddlenlp_embtune.experiments._curves import labels_needed, reach
from paddlenlp_embtune.report import comparison_markdown
from tests.helpers import ROWS, tsv

RIGHT = {"tfidf": 0.8, "plain": 0.8, "rates": 0.3}
Ran = list[str]


def invented(cell: Cell, **_: Any) -> CellResult:
    """An arm is right on a share of the rows that its name decides, and on more of them with more rows to learn from."""
    truth = np.arange(400) % 2
    generator = np.random.default_rng([cell.seed, len(cell.arm.name), cell.fold[0] if cell.fold else 0])
    share = RIGHT[cell.arm.name] - (0.1 if cell.size is not None else 0)
    wrong = generator.random(400) >= share
    return CellResult(
        labels=("a", "b"),
        truth=tuple(truth.tolist()),
        predicted=tuple(np.where(wrong, 1 - truth, truth).tolist()),
        rows=cell.size or 100,
        seconds=1.0,
        peak_bytes=2_000_000,
        size_bytes=1_000_000,
        texts_per_second=10.0,
    )


@pytest.fixture
def data(tmp_path: Path) -> DataSet:
    path = tmp_path / "train.tsv"
    path.write_text(tsv(ROWS), encoding="utf-8")
    return DataSet(name="rows", train=str(path), test=str(path))


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Ran:
    """Places of the cells that were run."""
    places: Ran = []

    def run(cell: Cell, **options: Any) -> CellResult:
        places.append(cell.place)
        return invented(cell, **options)

    monkeypatch.setattr(runner, "run_in_child", run)
    return places


def spec(data: DataSet, *arms: str, **options: Any) -> ComparisonSpec:
    return ComparisonSpec(arms=parse_arms(arms or ("tfidf", "plain", "rates")), data=(data,), **options)


def test_a_table_says_who_is_behind_and_whom_it_cannot_rank(data: DataSet, ran: Ran, tmp_path: Path) -> None:
    found = compare_arms(spec(data), tmp_path / "out")
    (table,) = found["tables"]
    assert {row["arm"] for row in table["arms"][:2]} == {"tfidf", "plain"}
    assert table["order"]["behind"] == ["rates"]
    assert table["order"]["text"].startswith("no order among ")
    rows = {row["arm"]: row for row in table["arms"]}
    assert rows["tfidf"]["difference"] is None
    assert rows["rates"]["difference"]["ahead"] is False
    assert rows["plain"]["difference"]["ahead"] is None
    assert rows["rates"]["difference"]["p"] <= rows["rates"]["difference"]["p_holm"] < 0.05
    assert rows["tfidf"]["accuracy"]["mean"] == pytest.approx(np.mean(rows["tfidf"]["accuracy"]["values"]))
    assert len(rows["tfidf"]["f1_macro"]["values"]) == 3
    assert len(ran) == 9
    text = (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
    assert text == comparison_markdown(json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8")))
    assert "| arm | accuracy | macro F1 |" in text


def test_arms_that_are_all_alike_are_not_ranked(data: DataSet, ran: Ran, tmp_path: Path) -> None:
    (table,) = compare_arms(spec(data, "tfidf", "plain"), tmp_path / "out")["tables"]
    assert table["order"]["text"].startswith("no order: ")
    assert table["order"]["behind"] == []


def test_what_is_there_is_not_run_again(data: DataSet, ran: Ran, tmp_path: Path) -> None:
    """Stopped at any cell, a comparison continues with the next, and ends with the same table."""
    whole = compare_arms(spec(data), tmp_path / "whole")
    stop = RuntimeError("stop")

    def stopping(*_: Any) -> None:
        if len(ran) == 4:
            raise stop

    ran.clear()
    with pytest.raises(RuntimeError, match="stop"):
        compare_arms(spec(data), tmp_path / "out", listener=stopping)
    left = unfinished(spec(data), tmp_path / "out")
    assert left == 9 - len(ran)
    assert 1 <= left <= 5
    ran.clear()
    assert compare_arms(spec(data), tmp_path / "out") == whole
    assert len(ran) == left


def test_what_is_finished_is_put_together_without_running_the_rest(data: DataSet, ran: Ran, tmp_path: Path) -> None:
    other = dataclasses.replace(data, name="other")
    whole = dataclasses.replace(spec(data), data=(data, other))
    with pytest.raises(RecipeError, match="holds no comparison"):
        compare_finished(whole, tmp_path / "out")
    compare_arms(spec(data), tmp_path / "out")
    with pytest.raises(RecipeError, match="no data set is complete"):
        compare_finished(dataclasses.replace(whole, seeds=(0, 1, 2, 3)), tmp_path / "out")
    before = sorted(tmp_path.rglob("*.json"))
    found = compare_finished(whole, tmp_path / "out")
    assert [table["data"] for table in found["tables"]] == ["rows"]
    assert "9 of 18 cells have figures; not complete: other" in found["notes"]
    assert sorted(tmp_path.rglob("*.json")) == before
    changed = parse_arms(["tfidf", "plain"], ["train.epochs=3"])
    with pytest.raises(RecipeError, match="another arm 'plain'"):
        compare_finished(dataclasses.replace(whole, arms=changed), tmp_path / "out")


def test_arms_seeds_and_sizes_can_be_added(data: DataSet, ran: Ran, tmp_path: Path) -> None:
    compare_arms(spec(data, "tfidf", "plain", seeds=(0,)), tmp_path / "out")
    ran.clear()
    found = compare_arms(spec(data, "tfidf", "rates", seeds=(0, 1), sizes=(20, None)), tmp_path / "out")
    assert len(ran) == 2 * 2 * 2 - 1
    assert [table["size"] for table in found["tables"]] == [20, None]
    (curve,) = found["curves"]
    assert [rows for rows, _ in curve["curves"]["tfidf"]] == [20, 100]
    known = json.loads((tmp_path / "out" / "comparison.json").read_text(encoding="utf-8"))
    assert set(known["arms"]) == {"tfidf", "plain", "rates"}


def test_a_crashed_arm_is_reported_and_the_rest_kept(
    data: DataSet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ran: Ran
) -> None:
    def crashing(cell: Cell, **_: Any) -> CellResult:
        return CellResult(failed="its process was killed by signal 9") if cell.arm.name == "plain" else invented(cell)

    monkeypatch.setattr(runner, "run_in_child", crashing)
    found = compare_arms(spec(data), tmp_path / "out")
    assert [row["arm"] for row in found["tables"][0]["arms"]] == ["tfidf", "rates"]
    assert found["failed"] == [{"data": "rows", "size": None, "arm": "plain", "message": "its process was killed by signal 9"}]
    assert "- rows, plain: its process was killed by signal 9" in comparison_markdown(found)
    monkeypatch.setattr(runner, "run_in_child", invented)
    assert compare_arms(spec(data), tmp_path / "out")["failed"] == []


def test_a_process_that_leaves_no_result_is_reported_with_what_it_said(data: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_CHILD", "this")
    (cell, *_) = spec(data).cells()
    failed = runner.run_in_child(cell).failed
    assert failed is not None
    assert failed.startswith("its process ended with exit code 0: ")
    assert failed.endswith("let's do more of those!")


def test_folds_are_put_together(data: DataSet, ran: Ran, tmp_path: Path) -> None:
    folded = dataclasses.replace(data, test=None)
    (table,) = compare_arms(spec(folded, folds=3, seeds=(0,)), tmp_path / "out")["tables"]
    assert table["test_rows"] == 1200
    assert len(ran) == 9


def test_several_sets_have_a_mean(data: DataSet, ran: Ran, tmp_path: Path) -> None:
    both = ComparisonSpec(arms=parse_arms(["tfidf", "rates"]), data=(data, dataclasses.replace(data, name="more")))
    (average,) = compare_arms(both, tmp_path / "out")["averages"]
    assert average["sets"] == ["rows", "more"]
    assert [row["arm"] for row in average["arms"]] == ["tfidf", "rates"]
    assert [row["best_on"] for row in average["arms"]] == [2, 0]
    assert average["arms"][1]["difference"]["interval"][1] < -0.3


def other_rows(data: DataSet) -> DataSet:
    Path(data.train).write_text(tsv(ROWS[1:]), encoding="utf-8")
    return data


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda data: spec(other_rows(data)), "with another rows of the data set 'rows'"),
        (lambda data: ComparisonSpec(arms=parse_arms(["tfidf", "plain=freeze"]), data=(data,)), "with another arm 'plain'"),
        (lambda data: spec(dataclasses.replace(data, test=None), folds=2), "with no folds"),
    ],
)
def test_the_folder_of_another_comparison_is_refused(
    change: Callable[[DataSet], ComparisonSpec], told: str, data: DataSet, ran: Ran, tmp_path: Path
) -> None:
    compare_arms(spec(data), tmp_path / "out")
    before = sorted(path.name for path in (tmp_path / "out").rglob("*"))
    changed = change(data)
    with pytest.raises(RecipeError, match=f"holds another comparison, .*{told}.*--overwrite"):
        compare_arms(changed, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").rglob("*")) == before
    compare_arms(changed, tmp_path / "out", overwrite=True)


def test_a_folder_of_something_else_is_left_alone(data: DataSet, ran: Ran, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="is not empty and holds no comparison"):
        compare_arms(spec(data), tmp_path, overwrite=True)
    assert ran == []


def test_two_comparisons_do_not_share_a_folder(data: DataSet, ran: Ran, tmp_path: Path) -> None:
    refused: list[BaseException] = []

    def second(*_: Any) -> None:
        if not refused:
            with pytest.raises(RecipeError, match="another process is running a comparison") as caught:
                compare_arms(spec(data), tmp_path / "out")
            refused.append(caught.value)

    compare_arms(spec(data), tmp_path / "out", listener=second)
    assert len(refused) == 1


def test_a_damaged_result_is_named(data: DataSet, ran: Ran, tmp_path: Path) -> None:
    compare_arms(spec(data), tmp_path / "out")
    (tmp_path / "out" / "cells" / "rows" / "plain" / "all-seed1.json").write_text('{"predicted": "x"}')
    with pytest.raises(DataError, match=r"all-seed1\.json is damaged: .*; remove it, and the cell is run again"):
        compare_arms(spec(data), tmp_path / "out")


def test_rows_that_changed_under_way_are_noticed(data: DataSet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def other(cell: Cell, **_: Any) -> CellResult:
        result = invented(cell)
        return dataclasses.replace(result, truth=result.truth[::-1]) if cell.arm.name == "rates" else result

    monkeypatch.setattr(runner, "run_in_child", other)
    with pytest.raises(DataError, match="were measured on different rows of rows"):
        compare_arms(spec(data), tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"arms": ("tfidf",)}, "a comparison needs two arms or more, got tfidf"),
        ({"against": "fasttext"}, "--against names the arm 'fasttext'"),
        ({"seeds": ()}, "seeds are"),
        ({"sizes": (1,)}, "sizes are [1]; expected 2 or more"),
        ({"folds": 1}, "folds is 1; expected 2 or more"),
        ({"folds": 3}, "it has test or development rows"),
        ({"metric": "f1"}, "metric is 'f1'; did you mean 'f1_macro'"),
    ],
)
def test_what_cannot_be_compared_is_refused(options: dict[str, Any], told: str, data: DataSet) -> None:
    arms = options.pop("arms", ("tfidf", "plain"))
    with pytest.raises(RecipeError) as refused:
        spec(data, *arms, **options)
    assert told in str(refused.value)


def test_rows_to_measure_on_are_needed(data: DataSet) -> None:
    with pytest.raises(RecipeError, match="has no test rows; pass --test FILE, or --folds 5"):
        spec(dataclasses.replace(data, test=None))


def test_a_missing_package_is_named_before_anything_runs(
    data: DataSet, ran: Ran, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(comparison.importlib.util, "find_spec", lambda name: None if name == "fasttext" else name)
    with pytest.raises(MissingDependencyError, match=r"'fasttext' needs fasttext.*\[baselines\].*or leave the arm out"):
        compare_arms(spec(data, "tfidf", "fasttext"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_labels_needed_lie_between_two_sizes_by_their_logarithm() -> None:
    curve = [(10, 0.5), (100, 0.7), (1000, 0.7), (10_000, 0.9)]
    assert labels_needed(curve, 0.4) == 10
    assert labels_needed(curve, 0.6) == round(10**1.5)
    assert labels_needed(curve, 0.8) == round(10**3.5)
    assert labels_needed(curve, 0.95) is None
    found = reach({"a": curve, "b": [(10, 0.6)]})
    assert [(each["arm"], each["rows"]) for each in found] == [("a", 32), ("b", None)]
