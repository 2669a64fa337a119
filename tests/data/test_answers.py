"""Rows with their answers: all columns kept, in order, in formats that read back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from paddlenlp_embtune.data import read_examples, stream_rows, write_answers
from paddlenlp_embtune.errors import DataError, RecipeError


def scores(good: float) -> dict[str, float]:
    return {"利好": good, "利空": round(1 - good, 1)}


ROWS = [
    (
        {"编号": 1, "内容": "公司中标"},
        {"text": "公司中标", "label": "利好", "score": 0.9, "scores": scores(0.9)},
    ),
    (
        {"编号": 2, "内容": '=1+2,\n"减持"'},
        {"text": "=1+2", "label": "利空", "score": 0.8, "scores": scores(0.2)},
    ),
    ({"编号": 3, "内容": ""}, {"text": "", "label": None, "score": 0.0, "scores": scores(0.5)}),
    ({"编号": 4, "内容": "待定"}, {"text": "待定", "label": "利好", "score": 0.5, "abstained": True, "scores": {}}),
]
NAMES = ["编号", "内容", "predicted_label", "predicted_score"]


def plain(row: Mapping[str, Any]) -> list[Any]:
    return [str(row[name]) for name in NAMES]


@pytest.mark.parametrize("ending", ["jsonl", "csv", "tsv", "xlsx", "parquet"])
def test_all_columns_come_back_with_the_answers(ending: str, tmp_path: Path) -> None:
    for package in {"xlsx": ["openpyxl"], "parquet": ["pyarrow"]}.get(ending, []):
        pytest.importorskip(package)
    path = tmp_path / f"answers.{ending}"
    rows = [(row, {**answer, "scores": {}}) for row, answer in ROWS]
    assert write_answers(path, iter(rows)) == 4
    found = [plain(row) for _, row in stream_rows(path, text_column="内容")]
    assert found == [
        ["1", "公司中标", "利好", "0.9"],
        ["2", '=1+2,\n"减持"', "利空", "0.8"],
        ["3", "", "", str(found[2][3])],
        ["4", "待定", "", "0.5"],
    ]
    assert float(found[2][3]) == 0.0


def test_scores_are_columns_of_their_own(tmp_path: Path) -> None:
    write_answers(tmp_path / "a.jsonl", ROWS[:2])
    first = json.loads((tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert first == {
        **ROWS[0][0],
        "predicted_label": "利好",
        "predicted_score": 0.9,
        "predicted_利好": 0.9,
        "predicted_利空": 0.1,
    }


@pytest.mark.parametrize(("format", "name"), [("doccano", "a.jsonl"), ("label-studio", "a.json")])
def test_annotation_tools_get_predictions_and_give_labels(format: str, name: str, tmp_path: Path) -> None:  # noqa: A002
    write_answers(tmp_path / name, ROWS[:2], format=format, model="finance")
    if format == "label-studio":
        tasks = json.loads((tmp_path / name).read_text(encoding="utf-8"))
        assert [task["predictions"][0]["model_version"] for task in tasks] == ["finance", "finance"]
        annotated = [{**task, "annotations": task.pop("predictions")} for task in tasks]
        (tmp_path / name).write_text(json.dumps(annotated), encoding="utf-8")
    rows = read_examples(tmp_path / name, text_column="text", label_column="label")
    assert (rows.texts, rows.labels) == (("公司中标", "=1+2"), ("利好", "利空"))


def test_an_answer_replaces_no_column(tmp_path: Path) -> None:
    row, answer = ROWS[0]
    with pytest.raises(DataError, match="'predicted_label' already"):
        write_answers(tmp_path / "a.csv", [({**row, "predicted_label": "x"}, answer)])
    assert not (tmp_path / "a.csv").exists()


def test_no_file_is_left_by_a_fault_in_the_middle(tmp_path: Path) -> None:
    def rows() -> Any:
        yield ROWS[0]
        raise DataError("line 2 is wrong")

    (tmp_path / "a.csv").write_text("before", encoding="utf-8")
    with pytest.raises(DataError, match="line 2"):
        write_answers(tmp_path / "a.csv", rows())
    assert (tmp_path / "a.csv").read_text(encoding="utf-8") == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"ends in '\.xls'.*did you mean 'xlsx'"):
        write_answers(tmp_path / "a.xls", ROWS)
    with pytest.raises(RecipeError, match=r"--format is 'docano'.*'doccano'"):
        write_answers(tmp_path / "a.jsonl", ROWS, format="docano")
