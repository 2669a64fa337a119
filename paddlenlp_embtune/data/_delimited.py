"""Tables of text, TSV and CSV: records over one line or several, quoting, headers as spreadsheets write them."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Callable, Iterator, Sequence

from paddlenlp_embtune.data.formats.columns import OpenedTable, open_table, resolve_columns
from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.utils.text_files.line_reader import MAX_LINE_LENGTH, LineReader

__all__ = ["DELIMITERS", "Table", "looks_quoted"]

DELIMITERS = {"TSV": "\t", "CSV": ","}
_OTHERS = (",", ";", "\t", "|")
_NAMES = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "vertical bar"}
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?[\d.,]*")

Line = tuple[str, str]
_Number = Callable[[], int]


class Table:
    """Yields the rows of a TSV or CSV file under its header, or under numbers where it has none.

    Args:
        lines: of the file.
        name: of the file, for messages.
        kind: ``TSV`` or ``CSV``, for the delimiter that is expected and for messages.
        columns: that are asked for; where another delimiter alone gives them, that one is taken.
        quoted: whether a field in double quotes may hold delimiters, line ends and, doubled, quotes, as RFC 4180 has it.
        delimiter: declared; None takes that of the kind, or another one that gives the columns.
        header: whether there is one; None finds out.
    """

    def __init__(
        self,
        lines: LineReader,
        name: str,
        kind: str,
        columns: Sequence[str],
        *,
        quoted: bool,
        delimiter: str | None = None,
        header: bool | None = None,
    ) -> None:
        self._lines, self._name, self._kind, self._columns, self._quoted = lines, name, kind, columns, quoted
        self._declared, self._has_names = delimiter, header
        self.delimiter = delimiter or DELIMITERS[kind]
        self.notes: list[str] = []
        self.opened: OpenedTable | None = None

    def __iter__(self) -> Iterator[tuple[str, dict[str, str]]]:
        """Yield each row's first line, as messages call it, and its fields by column; blank rows hold empty fields.

        Raises:
            DataError: the header lacks a column or has one twice, a row has other fields than the header, or a quote is wrong.
        """
        source = iter(self._lines)
        first = self._first_line(source)
        if first is None:
            return
        self._detect_delimiter(first[0])
        records = ((f"line {at}", cells) for at, cells in self._records(itertools.chain([first], source)))
        self.opened = opened = open_table(records, self._columns, header=self._has_names, where=self._name)
        assert opened is not None  # there is a first line
        self.notes += opened.notes
        header = opened.names
        width = len(header)
        named = max((at for at, column in enumerate(header, start=1) if column), default=0)
        for place, cells in opened.rows:
            if len(cells) == width:
                yield place, dict(zip(header, cells, strict=True))
                continue
            if len(cells) == 1 and not cells[0].strip() and width > 1:
                yield place, dict.fromkeys(header, "")
                continue
            if len(cells) < named or any(cells[width:]):
                raise self._uneven(place, len(cells), header)
            yield place, dict(zip(header, itertools.chain(cells, itertools.repeat("")), strict=False))

    def _first_line(self, source: Iterator[Line]) -> Line | None:
        """The first line with anything on it, behind the line that tells Excel the delimiter."""
        for line, end in source:
            if found := _SEPARATOR_LINE.fullmatch(line.strip(" ")):
                self.delimiter = self._declared or found[1]
            elif line.strip():
                return line, end
        return None

    def _detect_delimiter(self, header: str) -> None:
        if self._declared is not None or self._has_columns(header, self.delimiter):
            return
        nameless = self._has_names is False and self.delimiter not in header
        for other in _OTHERS:
            if self._has_columns(header, other) or (nameless and other in header):
                usual = _NAMES.get(self.delimiter, repr(self.delimiter))
                self.notes.append(
                    f"{self._name} has a {_NAMES[other]} between its fields, not a {usual}, and was read accordingly"
                )
                self.delimiter, self._quoted = other, True
                return

    def _has_columns(self, line: str, delimiter: str) -> bool:
        cells = [_unquoted(cell) if self._quoted or delimiter != self.delimiter else cell for cell in line.split(delimiter)]
        return resolve_columns(cells, self._columns, where=self._name) is not None

    def _records(self, source: Iterator[Line]) -> Iterator[tuple[int, list[str]]]:
        return _records(source, lambda: self._lines.number, self._name, self.delimiter, quoted=self._quoted)

    def _uneven(self, place: str, count: int, header: Sequence[str]) -> DataError:
        parted = f"one {_NAMES.get(self.delimiter, repr(self.delimiter))}" if self._kind == "TSV" else f"{self._plural()}"
        how = "" if self._quoted or self._kind == "CSV" else ", without quoting"
        return DataError(
            f"{place} of {self._name} has {count} fields, the header has {len(header)} ({', '.join(header)}); "
            f"{self._kind} fields are separated by {parted}{how}"
        )

    def _plural(self) -> str:
        return f"{_NAMES[self.delimiter]}s" if self.delimiter in _NAMES else repr(self.delimiter)


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
