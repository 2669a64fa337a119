"""Files whose rows have several labels: what is read, what is found out, and what is refused with the remedy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from paddlenlp_embtune.data import Examples, ReadOptions, hold_out, read_examples
from paddlenlp_embtune.errors import DataError


def read(path: Path, *, several: bool | None = None, **options: Any) -> Examples:
    return read_examples(path, text_column="text", label_column="label", several=several, options=ReadOptions(**options))


def lines(path: Path, *rows: object) -> Path:
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    return path


def text(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


SETS = (("财报", "回购"), ("财报",), ())


@pytest.mark.parametrize("empty", [[], ""])
def test_lists_in_json_lines_are_several_labels_and_none_is_one_of_the_answers(tmp_path: Path, empty: Any) -> None:
    rows = [{"text": "a", "label": ["财报", "回购"]}, {"text": "b", "label": ["财报"]}, {"text": "c", "label": empty}]
    if empty == "":
        with pytest.raises(DataError, match=r"two kinds of labels: line 1 has the list .* and line 3 has the label ''"):
            read(lines(tmp_path / "rows.jsonl", *rows))
        return
    found = read(lines(tmp_path / "rows.jsonl", *rows))
    assert found.label_sets == SETS
    assert "1 rows with none, 1 rows with 1, 1 rows with 2" in found.remarks()[-1]


def test_lists_of_one_label_each_are_single_labels(tmp_path: Path) -> None:
    found = read(lines(tmp_path / "rows.jsonl", {"text": "a", "label": ["x"]}, {"text": "b", "label": ["y"]}))
    assert found.label_sets is None
    assert found.labels == ("x", "y")


def test_doccano_and_fasttext_and_label_studio_hold_several(tmp_path: Path) -> None:
    doccano = lines(tmp_path / "d.jsonl", {"text": "a", "label": ["x", "y"]}, {"text": "b", "label": []})
    fasttext = text(tmp_path / "f.txt", "__label__x __label__y 公司 中标\n__label__x 减持\n")
    choices = {"from_name": "label", "type": "choices", "value": {"choices": ["x", "y"]}}
    studio = tmp_path / "s.json"
    studio.write_text(json.dumps([{"data": {"text": "a"}, "annotations": [{"result": [choices]}]}]), encoding="utf-8")
    assert read(doccano).label_sets == (("x", "y"), ())
    assert read(fasttext).label_sets == (("x", "y"), ("x",))
    assert read(fasttext).texts == ("公司 中标", "减持")
    assert read(studio).label_sets == (("x", "y"),)


@pytest.mark.parametrize(
    ("separator", "cell"), [(",", "财报,回购"), ("comma", "财报 , 回购"), ("|", "财报|回购"), ("##", "财报##回购")]
)
def test_a_separator_parts_labels_and_an_empty_cell_is_none(tmp_path: Path, separator: str, cell: str) -> None:
    path = text(tmp_path / "rows.tsv", f"text\tlabel\na\t{cell}\nb\t财报\nc\t\n")
    assert read(path, label_separator=separator).label_sets == SETS


def test_paddlenlp_writes_no_header_and_commas(tmp_path: Path) -> None:
    rows = [
        f"第{n}条很长的案情描述\t{label}"
        for n, label in enumerate(["盗窃", "抢劫", "盗窃,抢劫", "盗窃", "抢劫", "盗窃,抢劫"] * 3)
    ]
    path = text(tmp_path / "train.txt", "\n".join(rows))
    found = read(path)
    assert found.label_sets is not None
    assert found.label_sets[2] == ("盗窃", "抢劫")
    assert any("labels with commas" in line and "--label-kind single" in line for line in found.notes)
    assert read(path, several=False).labels[2] == "盗窃,抢劫"


def test_a_header_with_commas_in_labels_stays_single(tmp_path: Path) -> None:
    path = text(tmp_path / "rows.tsv", "text\tlabel\na\tx,y\nb\tx\nc\ty\n")
    assert read(path).label_sets is None


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ('{"text": "a", "label": ["x", "y"]}\n{"text": "b", "label": "x"}', {}, "two kinds of labels: line 1 has the list"),
        ('{"text": "a", "label": [0, 1, 0]}', {}, "a number twice; where these are 0 or 1 for each label, write the names"),
        ('{"text": "a", "label": ["x", ""]}', {}, "an empty label beside others"),
        ('{"text": "a", "label": ["x", null]}', {}, "'label' in line 1 of .* is None; expected a text"),
        ('{"text": "a", "label": ["x", ["y"]]}', {}, "expected a text"),
        ('{"text": "a", "label": "x"}', {"several": True}, "expected lists of labels, or what parts the labels in a text"),
        ('{"text": "a", "label": ["x", "y"]}', {"several": False}, "line 1 of .* has 2 labels, .*embtune check, train"),
        (
            '{"text": "a", "label": "x,y"}',
            {"several": False, "label_separator": ","},
            "to be read with the label separator ','",
        ),
    ],
)
def test_what_is_no_set_of_labels_is_refused_in_one_line(
    tmp_path: Path, content: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message) as raised:
        read(text(tmp_path / "rows.jsonl", content), **options)
    assert "\n" not in str(raised.value)


def test_numbers_are_labels_by_their_text_and_repeated_names_count_once(tmp_path: Path) -> None:
    found = read(lines(tmp_path / "rows.jsonl", {"text": "a", "label": [3, 5]}, {"text": "b", "label": ["x", "x"]}))
    assert found.label_sets == (("3", "5"), ("x",))
    assert any("1 labels that a row has twice were taken once" in line for line in found.notes)


def test_held_out_rows_leave_every_label_to_learn_from() -> None:
    sets = tuple(("common", f"rare{n % 7}") if n % 5 == 0 else ("common",) if n % 2 else () for n in range(60))
    rows = Examples(tuple(f"文本{n}" for n in range(60)), tuple(map(" ".join, sets)), "rows", label_sets=sets)
    train, dev = hold_out(rows, ratio=0.2, seed=1)
    assert len(train) + len(dev) == 60
    assert 6 <= len(dev) <= 20
    assert {label for own in train.labels_of_rows for label in own} == {label for own in sets for label in own}
    assert dev.label_sets is not None
