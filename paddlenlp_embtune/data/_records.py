"""Records of a data file in any format, one after the other, in bounded memory wherever the format allows it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from paddlenlp_embtune.data._delimited import DELIMITERS, Table, looks_quoted
from paddlenlp_embtune.data.formats.annotations import flat_task
from paddlenlp_embtune.data.formats.arrow_tables import arrow_records
from paddlenlp_embtune.data.formats.columns import describe_roles, missing_column, open_table, resolve_columns
from paddlenlp_embtune.data.formats.folders import folder_records
from paddlenlp_embtune.data.formats.json_objects import json_objects
from paddlenlp_embtune.data.formats.tagged_lines import PREFIX, conll_records, fasttext_records
from paddlenlp_embtune.data.formats.workbooks import sheet_rows
from paddlenlp_embtune.errors import DataError, RecipeError, any_of, expected_names
from paddlenlp_embtune.utils.json_yaml import MAX_BYTES, shorten
from paddlenlp_embtune.utils.text_files.decoding import file_blocks
from paddlenlp_embtune.utils.text_files.gzip_blocks import unpacked_blocks
from paddlenlp_embtune.utils.text_files.line_reader import LineReader
from paddlenlp_embtune.utils.text_files.read_options import ReadOptions, check_read_options

__all__ = ["FORMATS", "Records", "data_files", "line_reader", "text_of"]

FORMATS = {
    ".tsv": "TSV",
    ".txt": "TSV",
    ".csv": "CSV",
    ".json": "JSON",
    ".jsonl": "JSON lines",
    ".ndjson": "JSON lines",
    ".xlsx": "workbook",
    ".parquet": "Parquet",
    ".arrow": "Arrow",
    ".feather": "Arrow",
    ".conll": "CoNLL",
    ".bio": "CoNLL",
}
_PATTERN = re.compile(r"[*?\[]")
_ADVICE = "save it as UTF-8, or state its encoding, for example with --encoding gb18030 (data.encoding: gb18030)"

Place = tuple[str, Mapping[str, Any]]


def data_files(path: Path) -> list[Path]:
    """Return the files that a path stands for: itself, those of a pattern, or all of a folder; none if there is nothing."""
    if path.is_dir():
        return sorted(each for each in path.rglob("*") if each.is_file())
    if path.exists():
        return [path]
    return sorted(path.parent.glob(path.name)) if _PATTERN.search(path.name) else []


def line_reader(blocks: Iterable[bytes], name: str, encoding: str | None) -> LineReader:
    """Read lines of data; messages tell how to declare an encoding."""
    return LineReader(blocks, name, error=DataError, encoding=encoding, advice=_ADVICE)


class Records:
    """Yields the records of a file, a folder, or all files of a pattern such as ``part-*.csv``.

    Args:
        path: the file; its ending tells the format, and ``.gz`` behind it that it is compressed. A folder holds a file or a
            folder for each label.
        columns: that each record must have: the text, and the label where there are two or more. ``roles`` tells what the file
            calls them.
        options: how the file is read.
    Raises:
        RecipeError: there is no such encoding, quoting or delimiter.
    """

    def __init__(self, path: Path, columns: Sequence[str], *, options: ReadOptions | None = None) -> None:
        self.notes: list[str] = []
        self.columns: tuple[str, ...] = ()
        """The columns of the file, once its first record has been read."""
        self.roles: dict[str, str] = {}
        """The column of the file for each one that is asked for, once its first record has been read."""
        self._path, self._columns = path, tuple(columns)
        self._options = check_read_options(options or ReadOptions(), where="--", error=RecipeError)

    def __iter__(self) -> Iterator[Place]:
        """Yield each record's place, for messages, and the record under the file's own names.

        Raises:
            DataError: the file is missing or empty, is in another encoding or format, lacks a column, or may be read in
                several ways.
            MissingDependencyError: a package that reads the format is not installed.
        """
        if _PATTERN.search(self._path.name) and not self._path.exists():
            yield from self._all_files()
            return
        source = itertools.islice(self._source(), self._options.limit)
        empty = True
        for place, record in source:
            empty = False
            yield place, record
        if empty and not self._seen:
            raise DataError(f"{self._path} is empty; expected a header and at least one labelled text")

    @property
    def options(self) -> ReadOptions:
        """How the file is read, with names such as ``comma`` as the characters that they stand for."""
        return self._options

    def is_headerless(self, column: str) -> bool:
        """Whether a table was found to have no header, so that the column has a number for its name."""
        return self.is_table and self.roles[column].isdigit() and not column.isdigit()

    @property
    def is_table(self) -> bool:
        """Whether the file has rows of fields, and not objects."""
        return _kind_of(self._path) in (*DELIMITERS, "workbook")

    def lines(self) -> Iterator[str]:
        """Yield the lines of a file of plain text."""
        reader = self._reader()
        for line, _ in reader:
            yield line
        self._note_encoding(reader)

    def _all_files(self) -> Iterator[Place]:
        files = data_files(self._path)
        if not files:
            raise DataError(f"no file is called {self._path}; expected a path, or a pattern that files match")
        for file in files:
            part = Records(file, self._columns, options=self._options)
            for place, record in part:
                self.columns = self.columns or part.columns
                self.roles = part.roles
                yield f"{place} of {file.name}", record
            self.notes += part.notes

    def _source(self) -> Iterator[Place]:
        if self._path.is_dir():
            return self._folder()
        kind = _kind_of(self._path)
        if kind is None:
            ending = "".join(self._path.suffixes[-2:] if self._path.suffix.lower() == ".gz" else self._path.suffixes[-1:])
            known = expected_names(ending, FORMATS) if ending else f"expected {any_of(list(FORMATS))}"
            raise DataError(f"{self._path} ends in {ending!r}; {known}")
        if kind in DELIMITERS:
            return self._delimited(kind)
        if kind == "CoNLL":
            return self._named(conll_records(self._numbered_lines(), str(self._path)))
        if kind == "workbook":
            return self._sheet()
        if kind in ("Parquet", "Arrow"):
            self._require_file()
            return self._named(arrow_records(self._path, kind))
        return self._json(kind)

    def _reader(self, max_bytes: int | None = None) -> LineReader:
        return line_reader(self._blocks(max_bytes), str(self._path), self._options.encoding)

    def _blocks(self, max_bytes: int | None) -> Iterator[bytes]:
        try:
            blocks = file_blocks(self._path, error=DataError, max_bytes=max_bytes)
            if self._path.suffix.lower() == ".gz":
                blocks = unpacked_blocks(blocks, str(self._path), max_bytes=max_bytes, error=DataError)
            yield from blocks
        except (FileNotFoundError, NotADirectoryError):
            raise self._no_file() from None

    def _require_file(self) -> None:
        if not self._path.is_file():
            raise self._no_file()

    def _no_file(self) -> DataError:
        return DataError(f"there is no file {self._path}; expected a path to a {', '.join(FORMATS)} file")

    def _numbered_lines(self) -> Iterator[tuple[int, str]]:
        reader = self._reader()
        for line, _ in reader:
            self._seen = True
            yield reader.number, line
        self._note_encoding(reader)

    def _note_encoding(self, reader: LineReader) -> None:
        if reader.guessed:
            name = {"cp950": "Big5", "gb18030": "GB18030"}.get(str(reader.encoding), str(reader.encoding).upper())
            self.notes.append(f"{self._path} is not UTF-8 and was read as {name}; if that is wrong, state it with --encoding")

    def _delimited(self, kind: str) -> Iterator[Place]:
        if self._path.is_file() and self._is_fasttext():
            yield from self._named(fasttext_records(self._numbered_lines(), str(self._path)))
            return
        quoted = self._is_quoted(kind)
        reader = self._reader()
        options = self._options
        table = Table(
            reader,
            str(self._path),
            kind,
            self._columns,
            quoted=quoted,
            delimiter=options.delimiter,
            header=options.header,
        )
        for place, row in table:
            if not self.columns and table.opened is not None:
                self.columns, self.roles = tuple(table.opened.names), table.opened.roles
            yield place, row
        self._seen = reader.number > 0 and table.opened is not None
        self.notes += table.notes
        self._note_encoding(reader)

    def _is_fasttext(self) -> bool:
        first = next((line for line, _ in self._reader() if line.strip()), "")
        return any(word.startswith(PREFIX) for word in first.split())

    def _is_quoted(self, kind: str) -> bool:
        quoting = self._options.quoting
        if kind == "CSV" or quoting != "auto" or not self._path.is_file():
            return quoting == "csv" or (kind == "CSV" and quoting == "auto")
        if not any(b'"' in block for block in self._blocks(None)):
            return False
        quoted, count = looks_quoted(self._reader(), self._options.delimiter or DELIMITERS[kind])
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

    def _sheet(self) -> Iterator[Place]:
        self._require_file()
        rows = sheet_rows(self._path, self._columns, sheet=self._options.sheet)
        opened = open_table(rows, self._columns, header=self._options.header, where=str(self._path))
        if opened is None:
            return
        self._seen, self.columns, self.roles = True, tuple(opened.names), opened.roles
        for place, cells in opened.rows:
            yield place, dict(zip(opened.names, ("" if cell is None else cell for cell in cells), strict=False))
        self.notes += opened.notes

    def _folder(self) -> Iterator[Place]:
        def lines_of(file: Path) -> Iterator[tuple[int, str]]:
            part = Records(file, self._columns, options=self._options)
            yield from part._numbered_lines()
            self.notes += part.notes

        return self._named(folder_records(self._path, lines_of))

    def _json(self, kind: str) -> Iterator[Place]:
        reader = self._reader(MAX_BYTES if kind == "JSON" else None)
        yield from self._named(json_objects(reader, str(self._path), whole=kind == "JSON", notes=self.notes))
        self._seen = self._seen or reader.number > 0
        self._note_encoding(reader)

    def _named(self, records: Iterable[tuple[str, Mapping[str, Any]]]) -> Iterator[Place]:
        """Find the columns that were asked for."""
        for place, given in records:
            where = f"{place} of {self._path}"
            row = flat_task(given, self._columns, where)
            if not self.columns:
                self._seen, self.columns = True, tuple(row)
                found = resolve_columns(row, self._columns, where=where)
                self.roles = found or {column: column for column in self._columns}
                self.notes += describe_roles(self.roles, str(self._path))
            for name in self.roles.values():
                if name not in row:
                    raise missing_column(row, name, where, self._columns)
            yield place, row

    _seen = False


def _kind_of(path: Path) -> str | None:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [".gz"]:
        kind = FORMATS.get(suffixes[-2]) if len(suffixes) > 1 else None
        return None if kind in ("workbook", "Parquet", "Arrow") else kind
    return FORMATS.get(path.suffix.lower())


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
