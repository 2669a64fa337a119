"""Texts without labels, one after the other, so that a file may be larger than memory."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from paddlenlp_embtune.data.rows import FORMATS, parse_record, read_texts, require_column, text_of
from paddlenlp_embtune.errors import DataError

__all__ = ["stream_standard_input", "stream_texts"]


def stream_texts(path: str | Path, *, text_column: str) -> Iterator[str]:
    """Yield texts without labels; blank ones too, so that answers line up with the file.

    A ``.txt`` file is one text a line. That, TSV and JSON lines are read line by line, other formats at once.

    Raises:
        DataError: as :func:`paddlenlp_embtune.data.read_texts`; what a line is wrong about is said when it is reached.
    """
    path = Path(path)
    kind = "text" if path.suffix.lower() == ".txt" else FORMATS.get(path.suffix.lower())
    if kind not in ("text", "TSV", "JSON lines") or not path.is_file():
        yield from read_texts(path, text_column=text_column)
        return
    with path.open("rb") as file:
        lines = _lines(file, str(path))
        if kind == "text":
            yield from lines
        elif kind == "TSV":
            yield from _tsv(lines, path, text_column)
        else:
            yield from _json_lines(lines, path, text_column)


def stream_standard_input() -> Iterator[str]:
    """Yield the lines of stdin as they come.

    Raises:
        DataError: stdin is not UTF-8.
    """
    yield from _lines(sys.stdin.buffer, "stdin")


def _lines(file: Iterable[bytes], name: str) -> Iterator[str]:
    """Split on line feeds, with or without carriage returns before them, and nowhere else."""
    place = 0
    for number, raw in enumerate(file):
        try:
            line = raw.decode("utf-8" if number else "utf-8-sig")
        except UnicodeDecodeError as error:
            at = place + len(raw) - len(error.object) + error.start
            raise DataError(f"{name} is not UTF-8: byte {at} is {error.object[error.start]:#04x}") from None
        place += len(raw)
        yield line.removesuffix("\n").removesuffix("\r")


def _tsv(lines: Iterator[str], path: Path, column: str) -> Iterator[str]:
    header = next(lines, "").split("\t")
    require_column(header, column, f"line 1 of {path}")
    at = header.index(column)
    for number, line in enumerate(lines, start=2):
        cells = line.split("\t")
        if not any(cells) and len(header) > 1:
            continue
        if len(cells) != len(header):
            raise DataError(
                f"line {number} of {path} has {len(cells)} fields, the header has {len(header)} ({', '.join(header)})"
            )
        yield cells[at]


def _json_lines(lines: Iterator[str], path: Path, column: str) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            where = f"line {number} of {path}"
            record = parse_record(line, where)
            require_column(record, column, where)
            yield text_of(record[column], f"{column!r} in {where}")
