"""Rows in memory become a file that reads as the same rows."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from paddlenlp_embtune import DataError, RecipeError
from paddlenlp_embtune.data import read_examples, write_examples

TEXTS, LABELS = ("公司中标大单", "股东减持", "召开 \u2028 股东大会\n"), ("利好", "利空", "中性")


class Polars:
    """As much of a polars frame as is asked for."""

    def iter_rows(self, *, named: bool) -> Iterator[dict[str, Any]]:
        assert named
        return iter([{"text": text, "label": label} for text, label in zip(TEXTS, LABELS, strict=True)])


class MapDataset(list[dict[str, Any]]):
    """PaddleNLP's: rows with numbers, and the names of these."""

    label_list = LABELS


def hugging_face() -> Any:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=list(LABELS))})
    return datasets.Dataset.from_dict({"text": TEXTS, "label": [0, 1, 2]}, features=features)


SOURCES = {
    "pandas": lambda: pd.DataFrame({"text": TEXTS, "label": LABELS}, index=[5, 5, 7]),
    "categories": lambda: pd.DataFrame({"text": TEXTS, "label": pd.Categorical(LABELS)}),
    "polars": Polars,
    "datasets": hugging_face,
    "load_dataset": lambda: MapDataset({"text": text, "label": at} for at, text in enumerate(TEXTS)),
    "pairs": lambda: zip(TEXTS, LABELS, strict=True),
    "mappings": lambda: ({"text": text, "label": label} for text, label in zip(TEXTS, LABELS, strict=True)),
}


@pytest.mark.parametrize("source", SOURCES)
def test_what_is_written_reads_as_the_same_rows(source: str, tmp_path: Path) -> None:
    assert write_examples(SOURCES[source](), tmp_path / "rows.jsonl") == 3

    found = read_examples(tmp_path / "rows.jsonl", text_column="text", label_column="label")
    assert (found.texts, found.labels) == (TEXTS, LABELS)


def test_other_columns_are_kept(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"内容": TEXTS, "类别": [1, 2, 3], "价": [1.5, np.nan, 2], "日": pd.to_datetime(["2026-01-02", None, "2026-01-03"])}
    )
    frame["tags"] = [["a"], [], ["b", "c"]]
    write_examples(frame, tmp_path / "rows.jsonl", text_column="内容", label_column="类别")

    lines = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text(encoding="utf-8").split("\n")[:-1]]
    assert [line["价"] for line in lines] == [1.5, None, 2]
    assert lines[0]["日"] == datetime.datetime(2026, 1, 2).isoformat()
    assert [line["日"] for line in lines[1:]] == [None, "2026-01-03T00:00:00"]
    assert [line["tags"] for line in lines] == [["a"], [], ["b", "c"]]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "there are no rows"),
        ("text", "expected a DataFrame"),
        ({"text": ["a"]}, "expected a DataFrame"),
        (["text"], "row 1 is 'text'; expected a mapping"),
        ([("a", "b", "c")], "expected a mapping, or a pair"),
        ([{"text": "a"}], "row 1 has no column 'label', only 'text'"),
        ([("a", object())], "'label' of row 1 is"),
        (MapDataset([{"text": "a", "label": 3}]), "is 3; expected a number below 3"),
    ],
)
def test_rows_that_cannot_be_used_leave_no_file(rows: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        write_examples(rows, tmp_path / "rows.jsonl")
    assert not list(tmp_path.iterdir())
    with pytest.raises(RecipeError, match="ends in"):
        write_examples(rows, tmp_path / "rows.csv")
