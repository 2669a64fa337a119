from __future__ import annotations

import json
from pathlib import Path

import pytest

from paddlenlp_embtune import DataError
from paddlenlp_embtune.data import Examples, read_examples, read_texts


def read(name: str, content: str | bytes, folder: Path, *, skip_empty: bool = False) -> Examples:
    path = folder / name
    path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return read_examples(path, text_column="text", label_column="label", skip_empty=skip_empty)


@pytest.mark.parametrize(
    ("name", "content", "texts", "labels"),
    [
        ("a.tsv", "text\tlabel\n涨\t好\n跌\t坏\n", ("涨", "跌"), ("好", "坏")),
        ("a.txt", "label\tother\ttext\n好\tx\t涨", ("涨",), ("好",)),
        ("a.TSV", 'text\tlabel\n"涨\t好\n他说"跌"\t坏\n', ('"涨', '他说"跌"'), ("好", "坏")),
        ("a.tsv", "text\tlabel\n涨\u2028停\x85\t好\n\n跌\t坏\n\n", ("涨\u2028停\x85", "跌"), ("好", "坏")),
        ("a.tsv", "\ufefftext\tlabel\r\n涨\t好\r\n跌\t坏\r\n", ("涨", "跌"), ("好", "坏")),
        ("a.tsv", "text\tlabel\n 涨 \t 好 \n", (" 涨 ",), ("好",)),
        ("a.csv", "text,label\n涨,好\n", ("涨",), ("好",)),
        ("a.csv", 'text,label\n"涨,停","好"\n"他说""跌""",坏\n', ("涨,停", '他说"跌"'), ("好", "坏")),
        ("a.csv", 'text,label\n"一行\n两行\r\n三行",好\n跌,坏\n', ("一行\n两行\r\n三行", "跌"), ("好", "坏")),
        ("a.csv", "\ufefftext,label\r\n涨,好\r\n\r\n跌,坏\r\n", ("涨", "跌"), ("好", "坏")),
        ("a.csv", '\ufeff"text","label"\n涨,1\n', ("涨",), ("1",)),
        ("a.json", '[{"text": "涨\\n停", "label": "好", "x": null}]', ("涨\n停",), ("好",)),
        ("a.json", '\ufeff[{"text": "涨", "label": 1}, {"text": 2024, "label": -1}]\r\n', ("涨", "2024"), ("1", "-1")),
        ("a.jsonl", '{"text": "涨", "label": 0}\n\n{"text": "a\u2028b", "label": 0.5}', ("涨", "a\u2028b"), ("0", "0.5")),
        ("a.ndjson", '\ufeff{"text": "涨", "label": "好"}\r\n{"text": "跌", "label": "坏"}\r\n', ("涨", "跌"), ("好", "坏")),
    ],
)
def test_good_file(name: str, content: str, texts: tuple[str, ...], labels: tuple[str, ...], tmp_path: Path) -> None:
    rows = read(name, content, tmp_path)
    assert rows.texts == texts
    assert rows.labels == labels
    assert len(rows) == len(texts)
    assert rows.source == str(tmp_path / name)
    assert rows.skipped_empty == 0


def test_long_text(tmp_path: Path) -> None:
    assert read("a.tsv", f"text\tlabel\n{'涨' * 100_000}\t好\n", tmp_path).texts == ("涨" * 100_000,)


BAD = [
    ("a.tsv", "", ["a.tsv is empty"]),
    ("a.tsv", "\ufeff \n", ["a.tsv is empty"]),
    ("a.json", "", ["a.json is empty"]),
    ("a.tsv", "text\tlabel\n", ["holds no rows", "expected a header and at least one"]),
    ("a.csv", "text,label\n\n", ["holds no rows"]),
    ("a.json", "[]", ["holds no rows"]),
    ("a.tsv", "txt\tlabel\n涨\t好\n", ["no column 'text'", "did you mean 'txt'", "Expected label or txt", "--text-column"]),
    ("a.csv", "text,klasse\n涨,好\n", ["no column 'label'", "xpected klasse or text", "--label-column"]),
    ("a.jsonl", '{"text": "涨", "label": 1}\n{"text": "跌"}', ["line 2", "no column 'label'"]),
    ("a.tsv", "text\tlabel\n涨\t好\n跌\n", ["line 3", "1 fields", "the header has 2 (text, label)", "one tab"]),
    ("a.tsv", "text\tlabel\n涨\t停\t好\n", ["line 2", "3 fields"]),
    ("a.csv", "text,label\n涨,停,好\n", ["line 2", "3 fields", "commas"]),
    ("a.tsv", "text\tlabel\n涨\t好\n".encode("gbk"), ["not UTF-8", "byte 11 is 0xd5", "line 2", "--encoding gb18030"]),
    ("a.json", '[{"text": "涨"}]'.encode("utf-16"), ["no column 'label'"]),
    ("a.csv", 'text,label\n"涨,好\n', ["a.csv is not a CSV file"]),
    ("a.csv", 'text,label\n"涨"停,好\n', ["a.csv is not a CSV file"]),
    ("a.json", '{"text": "涨", "label": 1}', ["holds one dict", "expected a list of objects"]),
    ("a.json", '"涨"', ["holds one str"]),
    ("a.json", '[{"text": "涨", "label": 1}, "跌"]', ["item 2", "'跌'", "expected an object"]),
    ("a.json", "[{'text': 1}]", ["a.json is not valid JSON"]),
    ("a.jsonl", '{"text": "涨", "label": 1}\n[1]\n', ["line 2", "[1]", "expected an object"]),
    ("a.jsonl", '{"text": "涨", "label": 1}\n\n{"text": \n', ["line 3", "is not valid JSON"]),
    ("a.json", '[{"text": null, "label": 1}]', ["'text' in item 1", "None", "expected a text"]),
    ("a.json", '[{"text": "涨", "label": true}]', ["'label' in item 1", "True"]),
    ("a.json", '[{"text": "涨", "label": ["好", "坏"]}]', ["item 1", "2 labels", "['好', '坏']"]),
    ("a.json", '[{"text": "涨", "label": {"a": 1}}]', ["'label' in item 1", "expected a text"]),
    ("a.tsv", "text\tlabel\n涨\t好\n \t好\n\u3000\t坏\n", ["2 rows", "empty text, line 3 first", "--skip-empty"]),
    ("a.json", '[{"text": "涨", "label": 1}, {"text": "", "label": 1}]', ["1 rows", "item 2 first"]),
    ("a.tsv", "text\tlabel\n涨\t好\n跌\t \n", ["line 3", "no label in column 'label'"]),
    ("a.xls", "text\tlabel\n涨\t好\n", ["'.xls'", ".xlsx"]),
    ("a", "text\tlabel\n涨\t好\n", ["expected .tsv", ".csv"]),
    pytest.param("a.csv", '"text,label\n涨,好\n', ["not a CSV file"]),
    pytest.param(
        "a.csv",
        'text,label\n"一\n二",好\n,坏\n',
        ["line 4 first"],
    ),
    pytest.param(
        "a.tsv",
        "text\tlabel\n涨\t好\n\u200b\ufeff\t坏\n",
        ["1 rows", "line 3 first"],
    ),
    pytest.param(
        "a.tsv",
        "text\ttext\tlabel\n涨\t跌\t好\n",
        ["text"],
    ),
    pytest.param("a.json", "[" * 100_000, ["nests deeper than 64 levels"]),
    pytest.param("a.json", '[{"text": "涨", "label": ' + "1" * 5000 + "}]", ["JSON"]),
    pytest.param("a.json", '[{"text": "涨", "label": NaN}]', ["NaN"]),
]


@pytest.mark.parametrize(("name", "content", "parts"), BAD)
def test_bad_file(name: str, content: str | bytes, parts: list[str], tmp_path: Path) -> None:
    with pytest.raises(DataError) as raised:
        read(name, content, tmp_path)
    for part in parts:
        assert part in str(raised.value)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no file .*none\.tsv"):
        read_examples(tmp_path / "none.tsv", text_column="text", label_column="label")
    (tmp_path / "folder.tsv").mkdir()
    with pytest.raises(DataError, match=r"folder\.tsv is a folder with 0 \.txt files"):
        read_examples(str(tmp_path / "folder.tsv"), text_column="text", label_column="label")


def test_skip_empty_leaves_out_and_counts(tmp_path: Path) -> None:
    content = "text\tlabel\n涨\t好\n \t好\n\u3000\t\n跌\t坏\n"
    rows = read("a.tsv", content, tmp_path, skip_empty=True)
    assert rows.texts == ("涨", "跌")
    assert rows.labels == ("好", "坏")
    assert rows.skipped_empty == 2


def test_skip_empty_of_everything_is_no_rows(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no rows"):
        read("a.tsv", "text\tlabel\n \t好\n", tmp_path, skip_empty=True)


@pytest.mark.timeout(20)
def test_a_long_text_in_csv(tmp_path: Path) -> None:
    assert read("a.csv", f'text,label\n"{"涨" * 100_000}",好\n', tmp_path).texts == ("涨" * 100_000,)


def test_a_text_above_the_csv_module_limit(tmp_path: Path) -> None:
    assert len(read("a.csv", f'text,label\n"{"涨" * 140_000}",好\n', tmp_path)) == 1


@pytest.mark.parametrize(
    ("name", "content", "texts"),
    [
        ("a.txt", "涨\n\n text \n", ["涨", "", " text "]),
        ("a.txt", "\ufeff涨\u2028停\n跌", ["涨\u2028停", "跌"]),
        ("a.tsv", "label\ttext\nx\t\nx\t涨\n", ["", "涨"]),
        ("a.csv", 'text,x\n"涨\n停",1\n', ["涨\n停"]),
        ("a.jsonl", json.dumps({"text": ""}) + "\n" + json.dumps({"text": "涨"}), ["", "涨"]),
        pytest.param("a.txt", "涨\r\n跌\r\n", ["涨", "跌"]),
    ],
)
def test_read_texts_keeps_blank_ones(name: str, content: str, texts: list[str], tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content.encode("utf-8"))
    assert read_texts(tmp_path / name, text_column="text") == texts


@pytest.mark.parametrize(
    ("name", "part"), [("none.txt", "there is no file"), ("gbk.txt", "not UTF-8"), ("a.tsv", "column 'text'")]
)
def test_read_texts_refuses(name: str, part: str, tmp_path: Path) -> None:
    (tmp_path / "gbk.txt").write_bytes("涨".encode("gbk"))
    (tmp_path / "a.tsv").write_text("label\nx\n", encoding="utf-8")
    with pytest.raises(DataError, match=part):
        read_texts(tmp_path / name, text_column="text")


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "viel", "", "1e7"])
def test_a_weight_that_is_no_number_above_zero_is_refused(value: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text(f"text\tlabel\tw\n涨\t好\t0.5\n跌\t坏\t{value}\n", encoding="utf-8")
    with pytest.raises(DataError, match=f"line 3 of .*a.tsv has the weight '{value}' in column 'w'; expected a number above 0"):
        read_examples(path, text_column="text", label_column="label", weight_column="w")


def test_weights_stay_with_their_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"text": "", "label": 1, "w": 9}\n{"text": "涨", "label": 1, "w": 2}\n{"text": "跌", "label": 0, "w": "0.5"}\n'
    )
    rows = read_examples(path, text_column="text", label_column="label", weight_column="w", skip_empty=True)
    assert rows.weights == (2.0, 0.5)
    assert rows.take([1], "half").weights == (0.5,)
    assert read_examples(path, text_column="text", label_column="label", skip_empty=True).weights is None
    path.write_text('{"text": "涨", "label": 1, "w": true}\n')
    with pytest.raises(DataError, match="has the weight True"):
        read_examples(path, text_column="text", label_column="label", weight_column="w")
