"""Every format, line end, byte order mark, encoding and blank row: as many texts as rows, streamed or read at once."""

from __future__ import annotations

import itertools
import json
import logging
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from paddlenlp_embtune import DataError
from paddlenlp_embtune.data import ReadOptions, read_examples, read_texts, stream_texts
from paddlenlp_embtune.errors import RecipeError

ROWS = [("公司的业绩大好", "好"), ("", ""), ("我们都不要买", "坏"), ("", ""), ("市场上没有人说", "坏"), ("", "")]
TEXTS = [text for text, _ in ROWS]
ENDS = {"LF": "\n", "CR": "\r", "CRLF": "\r\n", "CRCRLF": "\r\r\n"}
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "gb18030"]


def content(ending: str, end: str, *, last: bool = True) -> str:
    if ending == "txt":
        rows = [text for text, _ in ROWS]
    elif ending in ("tsv", "csv"):
        rows = [("\t" if ending == "tsv" else ",").join(pair) for pair in [("text", "label"), *ROWS]]
    else:
        records = [json.dumps({"text": text or None, "label": label}, ensure_ascii=False) for text, label in ROWS]
        rows = records if ending == "jsonl" else ["[", *[f"{record}," for record in records[:-1]], records[-1], "]"]
    return end.join([*rows, ""] if last else rows)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("ending", ["txt", "tsv", "csv", "json", "jsonl"])
def test_as_many_texts_as_rows(ending: str, end: str, encoding: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{ending}"
    for last in (True, False) if ending != "txt" else (True,):  # without its end, an empty last line is none
        path.write_bytes(content(ending, ENDS[end], last=last).encode(encoding))
        assert read_texts(path, text_column="text") == list(stream_texts(path, text_column="text")) == TEXTS
    if ending in ("tsv", "csv"):
        rows = read_examples(path, text_column="text", label_column="label")
        assert (rows.texts, rows.labels) == (tuple(filter(None, TEXTS)), ("好", "坏", "坏"))
        assert (rows.skipped_blank, rows.skipped_empty) == (3, 0)
        assert any("3 rows without any text" in remark for remark in rows.remarks())


@pytest.mark.parametrize("blank", ["", ",", " ,", '"",""', " "])
def test_blank_rows_keep_their_place(blank: str, tmp_path: Path) -> None:
    for ending, change in (("csv", str), ("tsv", lambda row: row.replace(",", "\t").replace('"', ""))):
        path = tmp_path / f"a.{ending}"
        path.write_text("\n".join(map(change, ["text,label", "涨,好", blank, "跌,坏", blank])) + "\n", encoding="utf-8")
        assert [text.strip() for text in stream_texts(path, text_column="text")] == ["涨", "", "跌", ""]


HEADERS = [
    ("a.csv", "text,label,,\n涨,好\n跌,坏,,\n平,好,,,,\n", None),
    ("a.csv", "text;label\n涨;好\n跌;坏\n平;好\n", "semicolon"),
    ("a.csv", "text\tlabel\n涨\t好\n跌\t坏\n平\t好\n", "tab"),
    ("a.tsv", "text,label\n涨,好\n跌,坏\n平,好\n", "comma"),
    ("a.tsv", "text|label\n涨|好\n跌|坏\n平|好\n", "vertical bar"),
    ("a.csv", "sep=,\ntext,label\n涨,好\n跌,坏\n平,好\n", None),
    ("a.csv", "\ufeffsep=;\r\ntext;label\r\n涨;好\r\n跌;坏\r\n平;好\r\n", None),
    ("a.csv", '"sep=,"\n"text","label"\n"涨","好"\n"跌","坏"\n平,好\n', None),
    ("a.csv", "\n\ntext,label\n涨,好\n跌,坏\n平,好\n", None),
]


@pytest.mark.parametrize(("name", "written", "note"), HEADERS)
def test_headers_as_spreadsheets_write_them(name: str, written: str, note: str | None, tmp_path: Path) -> None:
    (tmp_path / name).write_text(written, encoding="utf-8", newline="")
    rows = read_examples(tmp_path / name, text_column="text", label_column="label")
    assert (rows.texts, rows.labels) == (("涨", "跌", "平"), ("好", "坏", "好"))
    notes: list[str] = []
    assert list(stream_texts(tmp_path / name, text_column="text", notes=notes)) == ["涨", "跌", "平"]
    assert [note is not None and note in each for each in notes] == [True] * (note is not None)


REFUSED: list[tuple[str, str, list[str]]] = [
    ("a.tsv", "text\ttext\tlabel\n涨\t跌\t好\n", ["2 columns called 'text'"]),
    ("a.csv", "text,label,label\n涨,跌,好\n", ["2 columns called 'label'"]),
    ("a.tsv", "内容\t评论\tlabel\n涨\t跌\t好\n", ["no column 'text'", "'内容', '评论'", "--text-column"]),
    ("a.csv", "text,类别,情感\n涨,好,坏\n", ["no column 'label'", "'类别', '情感'", "--label-column"]),
    ("a.txt", "业绩翻倍\t强烈利好\n被立案\t强烈利空\n", ["line 1", "no column 'text'", "--no-header --text-column 1"]),
    ("a.csv", "text,label\n涨,好\n跌\n", ["line 3", "1 fields"]),
    ("a.csv", "text,label\n涨,好\n跌,坏,更坏\n", ["line 3", "3 fields"]),
    ("a.csv", 'text,label\n"一\n二",好\n跌,坏,x\n', ["line 4", "3 fields"]),
    ("a.csv", 'text,label\n涨,好\n"他"说",坏\n', ["not a CSV file", "line 3"]),
    ("a.csv", 'text,label\n涨,好\n"跌,坏\n平,好\n', ["not a CSV file", "line 3 is not closed"]),
    ("a.csv", 'text,label\n涨,好\n"跌\n平,坏\n"涨"x,好\n', ["not a CSV file", "line 3", "line 5"]),
    ("a.jsonl", '{"text": "涨", "label": "好"}\n{"text": "a", "text": "b", "label": "坏"}\n', ["line 2", "'text' twice"]),
    ("a.json", '[{"text": "涨", "label": "好", "label": "坏"}]', ["'label' twice"]),
]


@pytest.mark.parametrize(("name", "written", "parts"), REFUSED)
def test_bad_files_are_refused_alike_with_the_line(name: str, written: str, parts: list[str], tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(written.encode("utf-8"))
    with pytest.raises(DataError) as raised:
        read_examples(tmp_path / name, text_column="text", label_column="label")
    assert all(part in str(raised.value) for part in parts), raised.value
    if not name.endswith(".txt") and "--label-column" not in parts:
        with pytest.raises(DataError):
            list(stream_texts(tmp_path / name, text_column="text"))


def test_a_label_with_half_a_character_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "涨", "label": "好"}\n{"text": "跌", "label": "\\ud800"}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"line 2 of .* half a character"):
        read_examples(tmp_path / "a.jsonl", text_column="text", label_column="label")


QUOTED = [
    ('text\tlabel\n"""涨""停"\t好\n跌\t坏\n', ['"涨"停', "跌"], "were read so"),
    ('text\tlabel\n"一\n二"\t好\n跌\t坏\n', ["一\n二", "跌"], "were read so"),
    ('text\tlabel\n"一\t二"\t好\n跌\t坏\n', ["一\t二", "跌"], "were read so"),
    ('"text"\t"label"\n"涨"\t"好"\n"跌"\t"坏"\n', ["涨", "跌"], "were read so"),
    ('text\tlabel\n"a, b"\t好\n跌\t坏\n', ["a, b", "跌"], "were read so"),
    ('text\tlabel\n"涨"\t好\n跌\t坏\n', ['"涨"', "跌"], "were kept as text"),
    ('text\tlabel\n"涨"停\t好\n跌\t坏\n', ['"涨"停', "跌"], None),
    ('text\tlabel\n"涨\t好\n他说"跌"\t坏\n', ['"涨', '他说"跌"'], None),
    ('text\tlabel\n"""涨""停"\t好\n跌"\t坏\n', ['"""涨""停"', '跌"'], None),
]


@pytest.mark.parametrize(("written", "texts", "note"), QUOTED)
def test_quotes_in_tsv(written: str, texts: list[str], note: str | None, tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text(written, encoding="utf-8")
    notes: list[str] = []
    assert list(stream_texts(path, text_column="text", notes=notes)) == texts
    assert [note is not None and note in each for each in notes] == [True] * (note is not None)
    assert list(read_examples(path, text_column="text", label_column="label").texts) == texts


def test_quotes_as_declared(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text('text\tlabel\n"涨"\t好\n', encoding="utf-8")
    assert read_texts(path, text_column="text", options=ReadOptions(quoting="csv")) == ["涨"]
    assert read_texts(path, text_column="text", options=ReadOptions(quoting="none")) == ['"涨"']
    (tmp_path / "a.csv").write_text('text,label\n"涨,好\n', encoding="utf-8")
    assert read_texts(tmp_path / "a.csv", text_column="text", options=ReadOptions(quoting="none")) == ['"涨']
    with pytest.raises(RecipeError, match=r"--quoting is 'all'"):
        read_texts(path, text_column="text", options=ReadOptions(quoting="all"))


def test_what_pandas_writes_is_read_back(tmp_path: Path) -> None:
    import csv

    pairs = [('他说"涨"', "好"), ("一\n二", "坏"), ("a\tb", "坏"), ("平, 稳", "好"), ("", "x"), ('"', "好")]
    for quoting, delimiter in itertools.product((csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC), (",", "\t", ";")):
        path = tmp_path / ("a.tsv" if delimiter == "\t" else "a.csv")
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, quoting=quoting, delimiter=delimiter).writerows([("text", "label"), *pairs])
        assert read_texts(path, text_column="text") == [text for text, _ in pairs]


def test_encodings_are_declared_or_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes("text\tlabel\n涨\t好\n跌\t坏\n".encode("gb18030"))
    rows = read_examples(path, text_column="text", label_column="label", options=ReadOptions(encoding="gbk"))
    assert (rows.texts, rows.notes) == (("涨", "跌"), ())
    path.write_bytes(content("tsv", "\n").encode("gb18030"))
    with caplog.at_level(logging.WARNING):
        assert read_texts(path, text_column="text") == TEXTS
    assert "was read as GB18030" in caplog.text
    assert "was read as GB18030" in read_examples(path, text_column="text", label_column="label").remarks()[0]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
@pytest.mark.parametrize("ending", ["txt", "tsv", "csv", "json", "jsonl"])
def test_pipes(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{ending}"
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.write_bytes(content(ending, "\n").encode()))
    writer.start()
    assert list(stream_texts(path, text_column="text")) == TEXTS
    writer.join()


def test_records_that_never_end_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paddlenlp_embtune.data._delimited.MAX_LINE_LENGTH", 1000)
    path = tmp_path / "a.csv"
    path.write_text('text,label\n"涨,好\n' + "跌,坏\n" * 1000, encoding="utf-8")
    with pytest.raises(DataError, match="line 2 is not closed"):
        list(stream_texts(path, text_column="text"))


@pytest.mark.parametrize("value", [None, ""])
def test_null_is_an_empty_text(value: Any, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": value}) + "\n", encoding="utf-8")
    assert read_texts(tmp_path / "a.jsonl", text_column="text") == [""]
