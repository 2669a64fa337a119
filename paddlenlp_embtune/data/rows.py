"""Reading labelled rows from TSV, CSV, JSON and JSON lines."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from paddlenlp_embtune.errors import DataError, legal_names
from paddlenlp_embtune.text import clean

__all__ = ["FORMATS", "Rows", "parse_record", "read_rows", "read_texts", "require_column", "split_lines", "text_of"]

FORMATS = {
    ".tsv": "TSV",
    ".txt": "TSV",
    ".csv": "CSV",
    ".json": "JSON",
    ".jsonl": "JSON lines",
    ".ndjson": "JSON lines",
}


@dataclasses.dataclass(frozen=True)
class Rows:
    """Labelled texts in the order of their file.

    Args:
        texts: N texts.
        labels: N labels.
        source: the path they came from.
        skipped_empty: rows that were left out because their text was empty.
    """

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    source: str
    skipped_empty: int = 0

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: Sequence[int], source: str) -> Rows:
        """Return some of the rows under another name."""
        return Rows(tuple(self.texts[i] for i in indices), tuple(self.labels[i] for i in indices), source)


def read_rows(path: str | Path, *, text_column: str, label_column: str, skip_empty: bool = False) -> Rows:
    """Read labelled rows; the format follows from the file's ending.

    Args:
        path: a ``.tsv``, ``.csv``, ``.json`` or ``.jsonl`` file in UTF-8, with a header where the format has one.
        text_column: column or key of the text.
        label_column: column or key of the label; numbers are taken as their decimal text.
        skip_empty: leave rows with an empty text out instead of refusing the file.
    Raises:
        DataError: the file is missing, empty or in another encoding; a column is missing; a text or a label is empty.
    """
    path = Path(path)
    texts: list[str] = []
    labels: list[str] = []
    empty: list[str] = []
    for place, record in _records(path, (text_column, label_column)):
        text = text_of(record[text_column], f"{text_column!r} in {place} of {path}")
        label = text_of(record[label_column], f"{label_column!r} in {place} of {path}").strip()
        if not clean(text, lowercase=False):
            empty.append(place)
            continue
        if not label:
            raise DataError(f"{place} of {path} has no label in column {label_column!r}; give it one, or remove the row")
        texts.append(text)
        labels.append(label)
    if empty and not skip_empty:
        raise DataError(
            f"{len(empty)} rows of {path} have an empty text, {empty[0]} first; legal: at least one visible character; "
            "remove them, or leave them out with --skip-empty (data.skip_empty: true)"
        )
    if not texts:
        raise DataError(f"{path} holds no rows; legal: a header and at least one labelled text")
    return Rows(tuple(texts), tuple(labels), str(path), len(empty))


def read_texts(path: str | Path, *, text_column: str) -> list[str]:
    """Read texts without labels; a ``.txt`` file is one text a line, other formats need the column.

    Blank texts are kept, so that answers line up with the file.

    Raises:
        DataError: as :func:`read_rows`, but for empty texts and labels.
    """
    path = Path(path)
    if path.suffix.lower() == ".txt":
        return split_lines(_decode(path))
    records = _records(path, (text_column,), keep_blank=True)
    return [text_of(record[text_column], f"{text_column!r} in {place} of {path}") for place, record in records]


def split_lines(content: str) -> list[str]:
    """Split on line feeds, with or without carriage returns before them, and nowhere else."""
    lines = content.split("\n")
    if not lines[-1]:
        del lines[-1]
    return [line.removesuffix("\r") for line in lines]


def _records(path: Path, columns: Sequence[str], *, keep_blank: bool = False) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (place for messages, record) with all the columns asked for present."""
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise DataError(f"{path} ends in {path.suffix!r}; {legal_names(path.suffix, FORMATS)}")
    content = _decode(path)
    if not content.strip():
        raise DataError(f"{path} is empty; legal: a header and at least one labelled text")
    records = _delimited(content, kind, path, keep_blank=keep_blank) if kind in ("TSV", "CSV") else _json(content, kind, path)
    for place, record in records:
        for column in columns:
            require_column(record, column, f"{place} of {path}")
        yield place, record


def require_column(record: Iterable[str], column: str, where: str) -> None:
    """Refuse a header or a record that lacks a column.

    Raises:
        DataError: naming those there are.
    """
    if column not in record:
        raise DataError(
            f"{where} has no column {column!r}; {legal_names(column, record)}; choose with --text-column and --label-column"
        )


def _decode(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8: byte {error.start} is {error.object[error.start]:#04x}; "
            f"convert it, for example with: iconv -f GB18030 -t UTF-8 {path.name}"
        ) from None
    except FileNotFoundError:
        raise DataError(f"there is no file {path}; legal: a path to a {', '.join(FORMATS)} file") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None


def _delimited(content: str, kind: str, path: Path, *, keep_blank: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """TSV without quoting, split on line feeds only; CSV with quoting as RFC 4180 has it."""
    table = _tsv(content) if kind == "TSV" else _csv(content, path)
    _, header = next(table)
    for column in header:
        if header.count(column) > 1:
            raise DataError(f"{path} has {header.count(column)} columns called {column!r}; legal: each name once")
    for number, cells in table:
        if not any(cells) and not (keep_blank and len(header) == 1):
            continue
        if len(cells) != len(header):
            raise DataError(
                f"line {number} of {path} has {len(cells)} fields, the header has {len(header)} ({', '.join(header)}); "
                f"{kind} fields are separated by {'one tab, without quoting' if kind == 'TSV' else 'commas'}"
            )
        yield f"line {number}", dict(zip(header, cells, strict=True))


def _tsv(content: str) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(split_lines(content), start=1):
        yield number, line.split("\t")


def _csv(content: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (number of the record's last line, cells)."""
    former = csv.field_size_limit(len(content) + 1)
    try:
        reader = csv.reader(io.StringIO(content, newline=""), strict=True)
        rows = [(reader.line_num, cells or [""]) for cells in reader]
    except csv.Error as error:
        raise DataError(f"{path} is not a CSV file: {error}") from None
    finally:
        csv.field_size_limit(former)
    yield from rows


def _json(content: str, kind: str, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    if kind == "JSON":
        value = _parse(content, str(path))
        if not isinstance(value, list):
            raise DataError(f"{path} holds one {type(value).__name__}; legal: a list of objects")
        items = [(f"item {number}", item) for number, item in enumerate(value, start=1)]
    else:
        lines = [(number, line) for number, line in enumerate(content.split("\n"), start=1) if line.strip()]
        yield from ((f"line {number}", parse_record(line, f"line {number} of {path}")) for number, line in lines)
        return
    for place, item in items:
        yield place, _record(item, f"{place} of {path}")


def parse_record(line: str, where: str) -> dict[str, Any]:
    """Read one line of JSON lines.

    Raises:
        DataError: it is no JSON, or no object.
    """
    return _record(_parse(line, where), where)


def _record(item: Any, where: str) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise DataError(f"{where} is {item!r}; legal: an object with a text and a label")
    return item


def _parse(content: str, where: str) -> Any:
    try:
        return json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not JSON: {error}") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")


def text_of(value: Any, where: str) -> str:
    """Return a text, or a number as its decimal text.

    Raises:
        DataError: it is something else.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    raise DataError(f"{where} is {value!r}; legal: a text")
