"""Tables of text, TSV and CSV: records over one line or several, quoting, headers as spreadsheets write them."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from paddlenlp_embtune.errors import DataError, any_of, expected_names, suggestion
from paddlenlp_embtune.utils.text_files.line_reader import MAX_LINE_LENGTH, LineReader

__all__ = ["DELIMITERS", "Table", "looks_quoted", "missing_column"]

DELIMITERS = {"TSV": "\t", "CSV": ","}
_OTHERS = (",", ";", "\t", "|")
_NAMES = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "vertical bar"}
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?[\d.,]*")

Line = tuple[str, str]
_Number = Callable[[], int]


class Table:
    """Yields the rows of a TSV or CSV file under their header.

    Args:
        lines: of the file.
        name: of the file, for messages.
        kind: ``TSV`` or ``CSV``, for the delimiter that is expected and for messages.
        columns: that the header must have; where it has them with another delimiter alone, that one is taken.
        quoted: whether a field in double quotes may hold delimiters, line ends and, doubled, quotes, as RFC 4180 has it.
    """

    def __init__(self, lines: LineReader, name: str, kind: str, columns: Sequence[str], *, quoted: bool) -> None:
        self._lines, self._name, self._kind, self._columns, self._quoted = lines, name, kind, columns, quoted
        self.delimiter = DELIMITERS[kind]
        self.notes: list[str] = []
        self.has_header = False

    def __iter__(self) -> Iterator[tuple[int, dict[str, str]]]:
        """Yield the number of each row's first line, and its fields by column; rows without a character hold empty fields.

        Raises:
            DataError: the header lacks a column or has one twice, a row has other fields than the header, or a quote is wrong.
        """
        source = iter(self._lines)
        header = self._header(source)
        if header is None:
            return
        self.has_header = True
        width = len(header)
        named = max(at for at, column in enumerate(header, start=1) if column)
        for number, cells in self._records(source):
            if len(cells) == width:
                yield number, dict(zip(header, cells, strict=True))
                continue
            if len(cells) == 1 and not cells[0].strip() and width > 1:
                yield number, dict.fromkeys(header, "")
                continue
            if len(cells) < named or any(cells[width:]):
                raise self._uneven(number, len(cells), header)
            yield number, dict(zip(header, itertools.chain(cells, itertools.repeat("")), strict=False))

    def _header(self, source: Iterator[Line]) -> list[str] | None:
        """Read the names of the columns and detect the delimiter; None for an empty file."""
        line = self._first_line(source)
        if line is None:
            return None
        first = self._lines.number
        self._detect_delimiter(line)
        _, header = next(_records(iter([(line, "")]), lambda: first, self._name, self.delimiter, quoted=self._quoted))
        for column in header:
            if column and header.count(column) > 1:
                raise DataError(f"{self._name} has {header.count(column)} columns called {column!r}; rename one of them")
        for column in self._columns:
            if column not in header:
                raise missing_column(header, column, f"line {first} of {self._name}", self._columns, self.delimiter)
        return header

    def _first_line(self, source: Iterator[Line]) -> str | None:
        """The first line with anything on it, behind the line that tells Excel the delimiter."""
        for line, _ in source:
            if found := _SEPARATOR_LINE.fullmatch(line.strip(" ")):
                self.delimiter = found[1]
            elif line.strip():
                return line
        return None

    def _detect_delimiter(self, header: str) -> None:
        if self._has_columns(header, self.delimiter):
            return
        for other in _OTHERS:
            if self._has_columns(header, other):
                usual = _NAMES.get(self.delimiter, repr(self.delimiter))
                self.notes.append(
                    f"{self._name} has a {_NAMES[other]} between its fields, not a {usual}, and was read accordingly"
                )
                self.delimiter, self._quoted = other, True
                return

    def _has_columns(self, line: str, delimiter: str) -> bool:
        cells = [_unquoted(cell) if self._quoted or delimiter != self.delimiter else cell for cell in line.split(delimiter)]
        return all(column in cells for column in self._columns)

    def _records(self, source: Iterator[Line]) -> Iterator[tuple[int, list[str]]]:
        return _records(source, lambda: self._lines.number, self._name, self.delimiter, quoted=self._quoted)

    def _uneven(self, number: int, count: int, header: Sequence[str]) -> DataError:
        parted = f"one {_NAMES.get(self.delimiter, repr(self.delimiter))}" if self._kind == "TSV" else f"{self._plural()}"
        how = "" if self._quoted or self._kind == "CSV" else ", without quoting"
        return DataError(
            f"line {number} of {self._name} has {count} fields, the header has {len(header)} ({', '.join(header)}); "
            f"{self._kind} fields are separated by {parted}{how}"
        )

    def _plural(self) -> str:
        return f"{_NAMES[self.delimiter]}s" if self.delimiter in _NAMES else repr(self.delimiter)


def missing_column(
    header: Iterable[str], column: str, where: str, columns: Sequence[str] = (), delimiter: str | None = None
) -> DataError:
    """Return the error about a header or a record that lacks a column; it names those there are, the nearest first."""
    names = list(header)
    folded = {name.strip("\ufeff\"' \t").casefold(): name for name in reversed(names)}
    if (same := folded.get(column.strip().casefold())) is not None and same != column:
        found = suggestion(same) + any_of(sorted(names))
    else:
        found = expected_names(column, names)
        if delimiter is not None and not any(each.strip().casefold() in folded for each in columns):
            example = ("<TAB>" if delimiter == "\t" else delimiter).join(columns)
            found += f"; where the file has no header, put one above its rows: {example}"
    options = "--text-column and --label-column" if len(columns) < 3 else "--text-column, --label-column and --weight-column"
    return DataError(f"{where} has no column {column!r}; {found}; choose with {options}")


def looks_quoted(lines: LineReader, delimiter: str) -> tuple[bool, int]:
    """Whether all quotes of a table are placed as CSV writers place them; reads to the end.

    They quote either all fields of text, or those alone that hold a delimiter, a line end, a quote (doubled) or a comma.

    Returns:
        whether they are, and the number of quoted fields.
    """
    needed = needless = bare = plain_commas = by_comma = 0
    try:
        for fields in _fields(iter(lines), delimiter):
            for value, quoted in fields:
                if not quoted:
                    bare += bool(value) and not _NUMBER.fullmatch(value)
                    plain_commas += "," in value
                elif any(mark in value for mark in ('"', delimiter, "\n", "\r")):
                    needed += 1
                elif "," in value:
                    by_comma += 1
                else:
                    needless += 1
    except csv.Error:
        return False, 0
    count = needed + needless + by_comma
    if not count:
        return False, 0
    return (not needless and not (by_comma and plain_commas)) or not bare, count


def _records(
    source: Iterator[Line], number: _Number, name: str, delimiter: str, *, quoted: bool
) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of each record's first line, and its fields."""
    for line, end in source:
        first = number()
        if not quoted or '"' not in line:
            yield first, line.split(delimiter)
            continue
        try:
            yield first, [value for value, _ in _parse(line, end, source, delimiter)]
        except csv.Error as fault:
            raise DataError(
                f"{name} is not a CSV file: {str(fault).format(line=number(), first=first)}; double each quote within a quoted "
                "field, or leave quotes out"
            ) from None


def _fields(source: Iterator[Line], delimiter: str) -> Iterator[list[tuple[str, bool]]]:
    for line, end in source:
        if '"' not in line:
            yield [(value, False) for value in line.split(delimiter)]
        else:
            yield list(_parse(line, end, source, delimiter, strict=True))


def _parse(line: str, end: str, source: Iterator[Line], delimiter: str, *, strict: bool = False) -> Iterator[tuple[str, bool]]:
    """Split a record, with further lines where a quoted field continues; yield each field and whether it was quoted."""
    at = 0
    while True:
        if line.startswith('"', at):
            value, line, end, at = _quoted_field(line, end, source, at + 1)
            if at < len(line) and not line.startswith(delimiter, at):
                raise csv.Error(
                    "a quoted field of the row that begins in line {first} ends in line {line} before its delimiter"
                )
            yield value, True
        else:
            value = line[at:].partition(delimiter)[0]
            if strict and '"' in value:
                raise csv.Error
            yield value, False
            at += len(value)
        if at >= len(line):
            return
        at += len(delimiter)


def _quoted_field(line: str, end: str, source: Iterator[Line], start: int) -> tuple[str, str, str, int]:
    """Read a field behind its opening quote; return it, the line that it ends in, that line's end, and the place behind it."""
    parts, size = list[str](), 0
    while True:
        stop = line.find('"', start)
        if stop < 0:
            parts += [line[start:], end]
            size += len(line) - start
            following = next(source, None)
            if following is None or size > MAX_LINE_LENGTH:
                raise csv.Error("the quote that opens a field in line {first} is not closed")
            (line, end), start = following, 0
        elif line.startswith('"', stop + 1):
            parts.append(line[start : stop + 1])
            start = stop + 2
        else:
            parts.append(line[start:stop])
            return "".join(parts), line, end, stop + 1


def _unquoted(cell: str) -> str:
    return cell[1:-1].replace('""', '"') if len(cell) > 1 and cell[0] == cell[-1] == '"' else cell
