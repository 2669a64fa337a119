"""Reading word2vec's binary format: a header line, then rows of a token, a space and float32 values."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.embeddings.io._row_collector import RowCollector
from paddlenlp_embtune.embeddings.io._streams import Stream
from paddlenlp_embtune.embeddings.io.options import ReadOptions, VectorFormat
from paddlenlp_embtune.embeddings.io.vector_table import VectorTable
from paddlenlp_embtune.embeddings.io.word2vec_text import looks_like_rows, parse_header
from paddlenlp_embtune.errors import VectorError

__all__ = ["WORD2VEC_BINARY"]

_BLOCK = 1 << 20
_MAX_TOKEN_BYTES = 1 << 12
_TOKEN_USUAL = 64
_MAX_HEADER_BYTES = 64
_AHEAD = 3
_MIN_USUAL, _MAX_USUAL = 1e-8, 1e6
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

Row = tuple[int, int]
"""Start and end of the token of a row in the data."""


@dataclasses.dataclass
class _Cursor:
    """A stream with its unconsumed data; ``offset`` is the file offset of ``data``."""

    stream: Stream
    data: bytes
    offset: int
    ended: bool = False

    def more(self, used: int) -> None:
        """Drop consumed data and read another block."""
        block = self.stream.read(_BLOCK)
        self.ended = not block
        self.data, self.offset = self.data[used:] + block, self.offset + used


def _detects(_path: Path, head: bytes) -> bool:
    first, feed, rest = head[: _MAX_HEADER_BYTES + 1].partition(b"\n")
    return bool(feed) and parse_header(first) is not None and bool(rest) and not looks_like_rows(head[len(first) + 1 :])


def _read(source: str, options: ReadOptions) -> VectorTable:
    path = Path(source)
    with Stream(path, options.progress) as stream:
        start = stream.read(_BLOCK)
        line, _, rest = start.partition(b"\n")
        header = parse_header(line[:_MAX_HEADER_BYTES])
        if header is None:
            raise VectorError(
                f"{path} begins with {start[:24]!r}; expected in word2vec's binary format: the number of rows, their width, "
                "and a line feed"
            )
        rows, width = header
        min_bytes = rows * (4 * width + 2)
        if stream.plain_size is not None and min_bytes > stream.size:
            raise VectorError(
                f"the header of {path} declares {rows:,} rows of {width:,}, at least {min_bytes:,} bytes, but the file ends "
                f"at byte {stream.size:,}: it is truncated, or its header is wrong; download it again"
            )
        collector = RowCollector(str(path), options, width=width, expected=rows if stream.plain_size is not None else None)
        cursor = _Cursor(stream, rest, len(line) + 1)
        done = 0
        while done < rows:
            done += _read_block(cursor, collector, done, rows)
        _check_end(cursor, collector, rows)
    return collector.finish()


def _read_block(cursor: _Cursor, collector: RowCollector, done: int, rows: int) -> int:
    """Read the complete rows available; return their number."""
    data, offset, size = cursor.data, cursor.offset, 4 * collector.width
    found, at = _plain_rows(data, size, rows - done)
    if _is_suspicious(data, found, at, size):
        found, at = _searched_rows(cursor, collector, done, rows)
    tokens: list[str] = []
    parts: list[bytes] = []
    offsets: list[int] = []
    for number, (start, space) in enumerate(found):
        token = _decode(data[start:space], collector, done + number, offset + start)
        if token is not None and collector.wants(token):
            tokens.append(token)
            parts.append(data[space + 1 : space + 1 + size])
            offsets.append(offset + start)
    if tokens:
        values = np.frombuffer(b"".join(parts), dtype="<f4").reshape(len(tokens), collector.width)
        collector.add(tokens, values, lambda row: f"the row at byte {offsets[row]:,}")
    if done + len(found) < rows:
        _advance(cursor, at, collector, done + len(found), rows)
    else:
        cursor.data, cursor.offset = data[at:], offset + at
    return len(found)


def _plain_rows(data: bytes, size: int, max_rows: int) -> tuple[list[Row], int]:
    """Find complete rows of tokens without spaces, and the start of the next one."""
    found, at = list[Row](), 0
    while len(found) < max_rows:
        start = _start_of(data, at)
        space = data.find(b" ", start, start + _MAX_TOKEN_BYTES)
        end = space + 1 + size
        if space < 0 or end > len(data):
            break
        found.append((start, space))
        at = end
    return found, at


def _is_suspicious(data: bytes, found: list[Row], at: int, size: int) -> bool:
    """Return whether row boundaries may be wrong: a token with a space, as gensim allows, shifts all that follow."""
    values = np.frombuffer(b"".join(data[space + 1 : space + 1 + size] for _, space in found), dtype="<f4")
    if not _are_usual(values):
        return True
    if len(data) - at > _MAX_TOKEN_BYTES and data.find(b" ", at, at + _MAX_TOKEN_BYTES) < 0:
        return True
    return not all(_is_token(data[start:space]) for start, space in found)


def _searched_rows(cursor: _Cursor, collector: RowCollector, done: int, rows: int) -> tuple[list[Row], int]:
    """Find rows whose tokens may contain spaces: those followed by tokens and plausible values.

    Raises:
        VectorError: the end of a row cannot be determined.
    """
    search = _Search(cursor.data, 4 * collector.width, rows, cursor.ended)
    margin = 0 if cursor.ended else (_AHEAD + 2) * (search.size + _TOKEN_USUAL)
    found, at = list[Row](), 0
    while done + len(found) < rows and at + margin <= len(cursor.data):
        number = done + len(found)
        likely = search.candidates(at, number)
        if len(likely) > 1 or (collector.options.damaged == "skip" and not likely and search.is_astray(at, number)):
            raise VectorError(
                f"{collector.name}: nothing tells where row {number + 1:,} of {rows:,} ends, which begins at byte "
                f"{cursor.offset + at:,}: a token holds spaces, or the width in the header is wrong; save the vectors as text"
            )
        start = _start_of(cursor.data, at)
        row = likely[0] if likely else (start, cursor.data.find(b" ", start, start + _MAX_TOKEN_BYTES))
        if row[1] < 0 or row[1] + 1 + search.size > len(cursor.data):
            break
        found.append(row)
        at = row[1] + 1 + search.size
    return found, at


@dataclasses.dataclass
class _Search:
    """Finds row boundaries by checking what follows.

    Args:
        data: from the start of a row on.
        size: size of the values of a row in bytes.
        rows: number of rows of the file.
        ended: whether the file ends with the data.
    """

    data: bytes
    size: int
    rows: int
    ended: bool
    _known: dict[tuple[int, int], bool] = dataclasses.field(default_factory=dict)
    _usual: dict[int, bool] = dataclasses.field(default_factory=dict)
    _rows: dict[int, list[Row]] = dataclasses.field(default_factory=dict)

    def candidates(self, at: int, number: int) -> list[Row]:
        """Return the rows that may begin at an offset: a token, plausible values, and further rows after them."""
        return [
            (start, space)
            for start, space in self._candidates(at)
            if self._has_usual(space + 1) and self.can_follow(space + 1 + self.size, number + 1, _AHEAD)
        ]

    def is_astray(self, at: int, number: int) -> bool:
        """Return whether an offset is not the start of a row: its values look like text, and no row follows."""
        start = _start_of(self.data, at)
        space = self.data.find(b" ", start, start + _MAX_TOKEN_BYTES)
        content = self.data[space + 1 : space + 1 + self.size]  # the file may end inside it
        values = np.frombuffer(content[: len(content) // 4 * 4], dtype="<f4")
        odd = space < 0 or len(values) * 4 < self.size or not _are_usual(values[np.isfinite(values)])
        return odd and not self.can_follow(space + 1 + self.size, number + 1, _AHEAD)

    def can_follow(self, at: int, number: int, depth: int) -> bool:
        """Return whether ``depth`` rows can begin at an offset, or the file can end there."""
        if number == self.rows:
            return not self.ended or not self.data[at:].strip(b"\r\n\0 ")
        if at + self.size > len(self.data):
            return not self.ended
        if (known := self._known.get((at, depth))) is None:
            known = self._known[at, depth] = any(
                self._has_usual(space + 1) and (depth == 1 or self.can_follow(space + 1 + self.size, number + 1, depth - 1))
                for _, space in self._candidates(at)
            )
        return known

    def _has_usual(self, at: int) -> bool:
        if (known := self._usual.get(at)) is None:
            values = np.frombuffer(self.data, dtype="<f4", count=self.size // 4, offset=at)
            known = self._usual[at] = _are_usual(values)
        return known

    def _candidates(self, at: int) -> list[Row]:
        if (known := self._rows.get(at)) is None:
            known = self._rows[at] = list(self._tokens(at))
        return known

    def _tokens(self, at: int) -> Iterator[Row]:
        start = _start_of(self.data, at)
        space = self.data.find(b" ", start + 1, start + _MAX_TOKEN_BYTES)
        while space > 0 and space + 1 + self.size <= len(self.data) and _is_token(self.data[start:space]):
            yield start, space
            space = self.data.find(b" ", space + 1, start + _MAX_TOKEN_BYTES)


def _start_of(data: bytes, at: int) -> int:
    """Skip the line feed that some writers add after each row."""
    return at + 1 if data[at : at + 1] == b"\n" else at


def _is_token(token: bytes) -> bool:
    if not token:
        return False
    try:
        return _CONTROL.search(token.decode("utf-8")) is None
    except UnicodeDecodeError:
        return False


def _are_usual(values: npt.NDArray[np.float32]) -> bool:
    """Return whether the magnitudes are plausible for vectors; text read as numbers is not."""
    sizes = np.abs(values)
    return bool(((sizes < _MAX_USUAL) & ((sizes > _MIN_USUAL) | (sizes == 0))).all())


def _advance(cursor: _Cursor, at: int, collector: RowCollector, row: int, rows: int) -> None:
    """Read on after the last complete row.

    Raises:
        VectorError: the file ends, or there is no token where one should begin.
    """
    rest = len(cursor.data) - at
    if rest > _MAX_TOKEN_BYTES and cursor.data.find(b" ", at + 1, at + 1 + _MAX_TOKEN_BYTES) < 0:
        raise VectorError(
            f"{collector.name}: row {row + 1:,} of {rows:,}, at byte {cursor.offset + at:,}, has no token of up to "
            f"{_MAX_TOKEN_BYTES:,} bytes followed by a space; the width in the header is wrong, or the file has another format"
        )
    if cursor.ended:
        raise VectorError(
            f"{collector.name} is cut off in row {row + 1:,} of {rows:,}, which begins at byte {cursor.offset + at:,}; the "
            f"file ends {rest:,} bytes later, and the values alone need {4 * collector.width:,}; fetch it again"
        )
    cursor.more(at)


def _decode(token: bytes, collector: RowCollector, row: int, byte: int) -> str | None:
    try:
        if text := token.decode("utf-8"):
            return text
        collector.damaged("without a token", f"row {row + 1:,} at byte {byte:,}: there is no token")
    except UnicodeDecodeError as error:
        collector.damaged(
            "whose token is not UTF-8",
            f"row {row + 1:,} at byte {byte + error.start:,}: the token {token[:40]!r} is not UTF-8, or the header's width "
            f"{collector.width} is wrong",
        )
    return None


def _check_end(cursor: _Cursor, collector: RowCollector, rows: int) -> None:
    cursor.more(0)
    if (rest := cursor.data.strip(b"\r\n\0 ")) or not cursor.ended:
        raise VectorError(
            f"{collector.name}: the header says {rows:,} rows, but {len(rest):,} bytes or more follow the last of them, from "
            f"byte {cursor.offset:,} on; its number of rows or its width {collector.width} is wrong"
        )


WORD2VEC_BINARY = VectorFormat(_read, _detects)
