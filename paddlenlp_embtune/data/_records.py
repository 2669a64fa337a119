"""Records of a data file in any format, one after the other, in bounded memory wherever the format allows it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from paddlenlp_embtune.data._delimited import DELIMITERS, Table, looks_quoted, missing_column
from paddlenlp_embtune.errors import DataError, RecipeError, expected_names
from paddlenlp_embtune.utils.json_yaml import MAX_BYTES, parse_json, shorten
from paddlenlp_embtune.utils.text_files.decoding import file_blocks
from paddlenlp_embtune.utils.text_files.line_reader import LineReader
from paddlenlp_embtune.utils.text_files.read_options import check_read_options

__all__ = ["FORMATS", "Records", "line_reader", "text_of"]

FORMATS = {
    ".tsv": "TSV",
    ".txt": "TSV",
    ".csv": "CSV",
    ".json": "JSON",
    ".jsonl": "JSON lines",
    ".ndjson": "JSON lines",
}
_ADVICE = "save it as UTF-8, or state its encoding, for example with --encoding gb18030 (data.encoding: gb18030)"


def line_reader(blocks: Iterable[bytes], name: str, encoding: str | None) -> LineReader:
    """Read lines of data; messages tell how to declare an encoding."""
    return LineReader(blocks, name, error=DataError, encoding=encoding, advice=_ADVICE)


class Records:
    """Yields the records of a file; ``notes`` then says what a user may want to know about how it was read.

    Args:
        path: the file; its ending tells the format.
        columns: that each record must have.
        encoding: declared; None finds out.
        quoting: ``auto``, ``csv`` or ``none``; ``auto`` looks at all of a TSV file first, unless it is a pipe.
    Raises:
        RecipeError: there is no such encoding or quoting.
    """

    def __init__(self, path: Path, columns: Sequence[str], *, encoding: str | None = None, quoting: str = "auto") -> None:
        self.notes: list[str] = []
        self._path, self._columns, self._quoting = path, columns, quoting
        self._encoding = check_read_options(encoding, quoting, where="--", error=RecipeError)

    def __iter__(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield each record's place, for messages, and the record, which has all the columns.

        Raises:
            DataError: the file is missing or empty, is in another encoding or format, or a record lacks a column.
        """
        kind = FORMATS.get(self._path.suffix.lower())
        if kind is None:
            raise DataError(f"{self._path} ends in {self._path.suffix!r}; {expected_names(self._path.suffix, FORMATS)}")
        empty = True
        for place, record in self._table(kind) if kind in DELIMITERS else self._json(kind):
            empty = False
            yield place, record
        if empty and not self._seen:
            raise DataError(f"{self._path} is empty; expected a header and at least one labelled text")

    @property
    def is_table(self) -> bool:
        """Whether the file has rows of fields, and not objects."""
        return FORMATS.get(self._path.suffix.lower()) in DELIMITERS

    def lines(self) -> Iterator[str]:
        """Yield the lines of a file of plain text."""
        reader = self._reader()
        for line, _ in reader:
            yield line
        self._note_encoding(reader)

    def _reader(self, max_bytes: int | None = None) -> LineReader:
        return line_reader(self._blocks(max_bytes), str(self._path), self._encoding)

    def _blocks(self, max_bytes: int | None) -> Iterator[bytes]:
        try:
            yield from file_blocks(self._path, error=DataError, max_bytes=max_bytes)
        except (FileNotFoundError, NotADirectoryError):
            raise DataError(f"there is no file {self._path}; expected a path to a {', '.join(FORMATS)} file") from None

    def _note_encoding(self, reader: LineReader) -> None:
        if reader.guessed:
            name = {"cp950": "Big5", "gb18030": "GB18030"}.get(str(reader.encoding), str(reader.encoding).upper())
            self.notes.append(f"{self._path} is not UTF-8 and was read as {name}; if that is wrong, state it with --encoding")

    def _table(self, kind: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        quoted = self._is_quoted(kind)
        reader = self._reader()
        table = Table(reader, str(self._path), kind, self._columns, quoted=quoted)
        for number, row in table:
            yield f"line {number}", row
        self._seen = reader.number > 0 and table.has_header
        self.notes += table.notes
        self._note_encoding(reader)

    def _is_quoted(self, kind: str) -> bool:
        if kind == "CSV" or self._quoting != "auto" or not self._path.is_file():
            return self._quoting == "csv" or (kind == "CSV" and self._quoting == "auto")
        if not any(b'"' in block for block in self._blocks(None)):
            return False
        quoted, count = looks_quoted(self._reader(), DELIMITERS[kind])
        if quoted:
            self.notes.append(
                f"{self._path} has {count} fields in double quotes, as CSV writers put them, and they were read so; to keep "
                "the quotes as text: --quoting none"
            )
        elif count:
            self.notes.append(
                f"{self._path} has {count} fields in double quotes, which were kept as text; if a spreadsheet put them there: "
                "--quoting csv"
            )
        return quoted

    def _json(self, kind: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for place, value in self._whole() if kind == "JSON" else self._by_line():
            where = f"{place} of {self._path}"
            if not isinstance(value, dict):
                raise DataError(f"{where} is {shorten(value)}; expected an object with a text and a label")
            for column in self._columns:
                if column not in value:
                    raise missing_column(value, column, where, self._columns)
            yield place, value

    def _whole(self) -> Iterator[tuple[str, Any]]:
        reader = self._reader(MAX_BYTES)
        content = "".join(part for line in reader for part in line)
        self._note_encoding(reader)
        if not content.strip():
            return
        self._seen = True
        value = parse_json(content, str(self._path), error=DataError)
        if not isinstance(value, list):
            raise DataError(f"{self._path} holds one {type(value).__name__}; expected a list of objects")
        yield from ((f"item {number}", item) for number, item in enumerate(value, start=1))

    def _by_line(self) -> Iterator[tuple[str, Any]]:
        reader = self._reader()
        for line, _ in reader:
            if line.strip():
                place = f"line {reader.number}"
                yield place, parse_json(line, f"{place} of {self._path}", error=DataError)
        self._note_encoding(reader)

    _seen = False


def text_of(value: Any, where: str) -> str:
    """Return a text, or a number as its decimal text.

    Raises:
        DataError: it is something else.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    raise DataError(f"{where} is {shorten(value)}; expected a text")
