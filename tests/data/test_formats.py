"""Files as users have them: each is read as it was meant, or refused with the remedy."""

from __future__ import annotations

import datetime
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from paddlenlp_embtune.data import Examples, ReadOptions, read_examples, read_texts
from paddlenlp_embtune.errors import DataError, MissingDependencyError, RecipeError

TEXTS = ("公司中标大单", "股东减持股份", "业绩大幅增长", "董事长被立案")
LABELS = ("利好", "利空", "利好", "利空")
ROWS = list(zip(TEXTS, LABELS, strict=True))
Writer = Callable[[Path], None]


def read(path: Path, **options: Any) -> Examples:
    columns = {name: options.pop(name, name.split("_")[0]) for name in ("text_column", "label_column")}
    return read_examples(path, **columns, options=ReadOptions(**options))


def lines(*parts: str, encoding: str = "utf-8", end: str = "\n") -> Writer:
    return lambda path: path.write_bytes((end.join(parts) + end).encode(encoding)) and None


def table(delimiter: str, *names: str, encoding: str = "utf-8") -> Writer:
    head = [delimiter.join(names)] if names else []
    return lines(*head, *(delimiter.join(row) for row in ROWS), encoding=encoding)


def objects(make: Callable[[str, str], Any], *, by_line: bool = False) -> Writer:
    found = [make(text, label) for text, label in ROWS]
    if by_line:
        return lines(*(json.dumps(each, ensure_ascii=False) for each in found))
    return lines(json.dumps(found, ensure_ascii=False, indent=1))


def task(text: str, label: str, control: str = "sentiment") -> dict[str, Any]:
    result = [{"from_name": control, "to_name": "text", "type": "choices", "value": {"choices": [label]}}]
    return {"id": 1, "data": {"text": text}, "annotations": [{"id": 2, "was_cancelled": False, "result": result}]}


def workbook(*rows: tuple[Any, ...], title: str = "Sheet1", merge: str | None = None) -> Writer:
    def write(path: Path) -> None:
        openpyxl = pytest.importorskip("openpyxl")
        book = openpyxl.Workbook()
        book.active.title = title
        for row in rows:
            book.active.append(row)
        if merge is not None:
            book.active.merge_cells(merge)
        book.save(path)

    return write


def columnar(kind: str) -> Writer:
    def write(path: Path) -> None:
        arrow = pytest.importorskip("pyarrow")
        found = arrow.table({"id": list(range(4)), "content": TEXTS, "label": LABELS})
        if kind == "parquet":
            pytest.importorskip("pyarrow.parquet").write_table(found, path)
            return
        writer = arrow.ipc.new_file if kind == "file" else arrow.ipc.new_stream
        with writer(str(path), found.schema) as sink:
            sink.write_table(found)

    return write


def packed(write: Writer) -> Writer:
    def both(path: Path) -> None:
        write(path)
        path.write_bytes(gzip.compress(path.read_bytes()[:40]) + gzip.compress(path.read_bytes()[40:]))

    return both


CONLL = "\n\n".join(f"# label = {label}\n" + "\n".join(f"{token}\tO" for token in text) for text, label in ROWS)
TAGGED = "\n\n".join("\n".join(f"{token} O {label}" for token in text) for text, label in ROWS)

READ: list[tuple[str, Writer, dict[str, Any]]] = [
    ("bom.csv", table(",", "text", "label", encoding="utf-8-sig"), {}),
    ("gb.csv", table(",", "text", "label", encoding="gb18030"), {}),
    ("wide.tsv", table("\t", "文本", "标签", encoding="utf-16"), {}),
    ("stated.csv", table(",", "text", "label", encoding="gb18030"), {"encoding": "gbk"}),
    ("chinese.tsv", table("\t", "内容", "类别"), {}),
    ("review.csv", table(",", "review", "class"), {}),
    ("upper.csv", table(";", "Sentence", "LABEL"), {}),
    ("bars.txt", table("|", "评论", "情感"), {}),
    ("spaced.csv", table(",", " text ", '"label"'), {}),
    ("stated_delimiter.txt", table("^", "text", "label"), {"delimiter": "^"}),
    ("named_delimiter.csv", table("\t", "text", "label"), {"delimiter": "tab"}),
    ("plain.tsv", table("\t"), {}),
    ("plain.txt", table("\t"), {}),
    ("plain.csv", table(","), {}),
    ("stated_plain.tsv", table("\t"), {"header": False}),
    ("numbers.tsv", table("\t"), {"header": False, "text_column": "1", "label_column": "2"}),
    ("label_first.tsv", lines(*(f"{label}\t{text}" for text, label in ROWS)), {}),
    ("with_id.tsv", lines(*(f"{at}\t{label}\t{text}" for at, (text, label) in enumerate(ROWS, 100))), {}),
    ("semicolons.csv", table(";"), {"header": False}),
    ("list.json", objects(lambda text, label: {"sentence": text, "label": label, "label_desc": "x"}), {}),
    ("clue.json", objects(lambda text, label: {"id": 7, "sentence": text, "label": label}, by_line=True), {}),
    ("doccano.jsonl", objects(lambda text, label: {"id": 7, "text": text, "label": [label]}, by_line=True), {}),
    ("doccano_old.jsonl", objects(lambda text, label: {"data": text, "labels": [label]}, by_line=True), {}),
    ("tasks.json", objects(task), {}),
    ("tasks_label.json", objects(lambda text, label: task(text, label, "label")), {}),
    ("tasks_stated.json", objects(task), {"label_column": "sentiment"}),
    ("min.json", objects(lambda text, label: {"id": 1, "text": text, "sentiment": label, "annotator": 3}), {}),
    ("min_choices.json", objects(lambda text, label: {"text": text, "sentiment": {"choices": [label]}}), {}),
    ("fasttext.txt", lines(*(f"__label__{label} {text}" for text, label in ROWS)), {}),
    ("fasttext_end.tsv", lines(*(f"{text} __label__{label}" for text, label in ROWS)), {}),
    ("sheet.xlsx", workbook(("text", "label"), *ROWS), {}),
    ("chinese.xlsx", workbook((None, None, None), ("编号", "内容", "类别"), *((1, *row) for row in ROWS)), {}),
    ("plain.xlsx", workbook(*ROWS), {}),
    ("named.xlsx", workbook(("text", "label"), *ROWS, title="训练"), {"sheet": "训练"}),
    ("rows.parquet", columnar("parquet"), {}),
    ("rows.arrow", columnar("stream"), {}),
    ("rows.feather", columnar("file"), {}),
    ("rows.conll", lines(*CONLL.split("\n")), {}),
    ("tagged.bio", lines(*TAGGED.split("\n")), {}),
    ("rows.tsv.gz", packed(table("\t", "text", "label")), {}),
    ("rows.jsonl.gz", packed(objects(lambda text, label: {"text": text, "label": label}, by_line=True)), {}),
]


@pytest.mark.parametrize(("name", "write", "options"), READ, ids=[name for name, _, _ in READ])
def test_a_file_is_read_as_it_was_meant(name: str, write: Writer, options: dict[str, Any], tmp_path: Path) -> None:
    write(tmp_path / name)
    rows = read(tmp_path / name, **options)
    assert (rows.texts, rows.labels) == (TEXTS, LABELS)
    assert read(tmp_path / name, **{**options, "limit": 3}).texts == TEXTS[:3]


@pytest.mark.parametrize("name", ["chinese.tsv", "plain.csv", "label_first.tsv", "chinese.xlsx", "rows.parquet", "clue.json"])
def test_what_was_taken_for_what_is_said_in_one_line(name: str, tmp_path: Path) -> None:
    {each: write for each, write, _ in READ}[name](tmp_path / name)
    (note,) = [note for note in read(tmp_path / name).remarks() if "JSON lines" not in note]
    assert "taken for the" in note


@pytest.mark.parametrize("name", ["chinese.tsv", "plain.tsv", "doccano.jsonl", "tasks.json", "chinese.xlsx", "rows.parquet"])
def test_texts_alone_are_found_as_well(name: str, tmp_path: Path) -> None:
    {each: write for each, write, _ in READ}[name](tmp_path / name)
    assert read_texts(tmp_path / name, text_column="text") == list(TEXTS)


def test_a_folder_has_a_file_or_a_folder_for_each_label(tmp_path: Path) -> None:
    for label in ("利好", "利空"):
        texts = [text for text, of in ROWS if of == label]
        (tmp_path / "files").mkdir(exist_ok=True)
        (tmp_path / "files" / f"{label}.txt").write_text("\n".join(texts), encoding="utf-8")
        (tmp_path / "folders" / label).mkdir(parents=True)
        for at, text in enumerate(texts):
            (tmp_path / "folders" / label / f"{at}.txt").write_text(f"{text}\n第二行\n", encoding="gb18030")
    assert sorted(zip(*_columns(read(tmp_path / "files")), strict=True)) == sorted(ROWS)
    found = sorted(zip(*_columns(read(tmp_path / "folders")), strict=True))
    assert found == sorted((f"{text}\n第二行", label) for text, label in ROWS)


def test_the_files_of_a_pattern_are_one_split(tmp_path: Path) -> None:
    for at, (text, label) in enumerate(ROWS):
        lines("text\tlabel", f"{text}\t{label}")(tmp_path / f"part-{at}.tsv")
    assert read(tmp_path / "part-*.tsv").texts == TEXTS
    with pytest.raises(DataError, match="no file is called"):
        read(tmp_path / "none-*.tsv")
    (tmp_path / "part-1.tsv").write_text("text\tlabel\n涨\t\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"line 2 of part-1\.tsv"):
        read(tmp_path / "part-*.tsv")


def _columns(rows: Examples) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return rows.texts, rows.labels


def raw(content: bytes) -> Writer:
    return lambda path: path.write_bytes(content) and None


def spoiled(write: Writer, change: Callable[[bytes], bytes]) -> Writer:
    def both(path: Path) -> None:
        write(path)
        path.write_bytes(change(path.read_bytes()))

    return both


ANNOTATIONS = [each for label in "ab" for each in task("涨", label)["annotations"]]

REFUSED: list[tuple[str, Writer, dict[str, Any], list[str]]] = [
    ("two.csv", table(",", "content", "review"), {}, ["'content', 'review'", "--text-column"]),
    ("two_labels.csv", lines("text,类别,情感", "涨,a,b"), {}, ["'类别', '情感'", "--label-column"]),
    ("unknown.csv", table(",", "spalte", "klasse"), {}, ["no column 'text'", "spalte", "--no-header"]),
    ("header_stated.tsv", table("\t"), {"header": True}, ["no column 'text'"]),
    (
        "ambiguous.tsv",
        lines(*(f"{text}\t{label}\t{at % 2}" for at, (text, label) in enumerate(ROWS))),
        {"header": False},
        ["columns 2 or 3 may be the label", "--label-column 2"],
    ),
    ("narrow.tsv", lines(*TEXTS), {"header": False}, ["no column"]),
    ("many.jsonl", lines('{"text": "涨", "label": ["a", "b"]}'), {}, ["line 1", "2 labels", "keep one"]),
    ("none.jsonl", lines('{"text": "涨", "label": []}'), {}, ["line 1", "has no label"]),
    ("spans.jsonl", lines('{"text": "涨", "label": [[0, 1, "ORG"]]}'), {}, ["line 1", "expected a text"]),
    ("disagree.json", lines(json.dumps([{**task("涨", "a"), "annotations": ANNOTATIONS}])), {}, ["item 1", "disagree"]),
    ("unlabelled.json", lines(json.dumps([{**task("涨", "a"), "annotations": []}])), {}, ["item 1", "has no label"]),
    ("lines.txt", lines("__label__a __label__b 涨"), {}, ["line 1", "2 labels"]),
    ("later.txt", lines("__label__a 涨", "跌"), {}, ["line 2", "0 labels"]),
    ("formula.xlsx", workbook(("text", "label"), ("涨", "=A2")), {}, ["B2", "formula"]),
    ("merged.xlsx", workbook(("text", "label"), *ROWS, merge="B2:B3"), {}, ["merged", "B2:B3"]),
    ("date.xlsx", workbook(("text", "label"), ("涨", datetime.date(2026, 1, 2))), {}, ["row 2", "expected a text"]),
    ("empty.xlsx", workbook(), {}, ["no sheet with anything"]),
    ("sheet.xlsx", workbook(("text", "label"), *ROWS), {"sheet": "训练"}, ["no sheet '训练'", "Sheet1"]),
    ("locked.xlsx", raw(b"\xd0\xcf\x11\xe0" + bytes(100)), {}, ["locked by a password"]),
    ("text.xlsx", table(",", "text", "label"), {}, ["no Excel workbook"]),
    ("named.csv", workbook(("text", "label"), *ROWS), {}, ["Excel workbook", ".xlsx"]),
    ("damaged.parquet", spoiled(columnar("parquet"), lambda content: content[:-20]), {}, ["Parquet", "write the file again"]),
    ("text.arrow", table(",", "text", "label"), {}, ["Arrow", "write the file again"]),
    ("short.tsv.gz", spoiled(packed(table("\t", "text", "label")), lambda content: content[:-5]), {}, ["ends in the middle"]),
    ("plain.csv.gz", table(",", "text", "label"), {}, ["not packed by gzip"]),
    ("packed.csv", packed(table(",", "text", "label")), {}, ["gzip", ".gz"]),
    ("sheet.xlsx.gz", raw(b"x"), {}, ["'.xlsx.gz'"]),
    ("untagged.conll", lines("涨 O", "停 O"), {}, ["line 1", "# label ="]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "write", "options", "parts"), REFUSED, ids=[name for name, *_ in REFUSED])
def test_a_file_is_refused_with_the_remedy(
    name: str, write: Writer, options: dict[str, Any], parts: list[str], tmp_path: Path
) -> None:
    write(tmp_path / name)
    with pytest.raises(DataError) as raised:
        read(tmp_path / name, **options)
    assert all(part in str(raised.value) for part in (*parts, name)), raised.value


def test_several_sheets_need_a_name_unless_one_alone_has_the_columns(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(("说明",))
    rows = book.create_sheet("数据")
    for row in (("内容", "类别"), *ROWS):
        rows.append(row)
    book.save(tmp_path / "one.xlsx")
    assert read(tmp_path / "one.xlsx").texts == TEXTS
    book.copy_worksheet(rows).title = "测试"
    book.save(tmp_path / "two.xlsx")
    with pytest.raises(DataError, match=r"3 sheets that may be meant: Sheet, 数据, 测试; choose one with --sheet"):
        read(tmp_path / "two.xlsx")


@pytest.mark.parametrize(("name", "module"), [("a.xlsx", "openpyxl"), ("a.parquet", "pyarrow")])
def test_a_missing_package_names_its_extra(name: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / name).write_bytes(b"PK")
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(MissingDependencyError, match=rf"needs {module}; .*\[files\]"):
        read(tmp_path / name)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"delimiter": "ab"}, "delimiter is 'ab'"), ({"delimiter": '"'}, "a quote"), ({"limit": 0}, "limit must be 1 or more")],
)
def test_an_option_that_cannot_be_is_refused(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=message):
        read(tmp_path / "a.tsv", **options)
