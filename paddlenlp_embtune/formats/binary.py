"""Vectors in word2vec's binary format: a header line, then rows of a token, a space and float32 values."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from paddlenlp_embtune.errors import VectorError
from paddlenlp_embtune.formats.gathering import Gatherer
from paddlenlp_embtune.formats.options import ReadOptions, VectorFormat
from paddlenlp_embtune.formats.streams import Stream
from paddlenlp_embtune.formats.table import VectorTable
from paddlenlp_embtune.formats.textual import looks_like_rows, parse_header

__all__ = ["WORD2VEC_BINARY"]

_BLOCK = 1 << 20
_TOKEN_MOST = 1 << 12
_HEADER_MOST = 64


@dataclasses.dataclass
class _Cursor:
    """A stream with what has been read of it and not been used; ``offset`` is the byte that ``data`` begins at."""

    stream: Stream
    data: bytes
    offset: int
    ended: bool = False

    def more(self, used: int) -> None:
        """Drop what has been used and read a further block."""
        block = self.stream.read(_BLOCK)
        self.ended = not block
        self.data, self.offset = self.data[used:] + block, self.offset + used


def _detects(_path: Path, head: bytes) -> bool:
    first, feed, rest = head[: _HEADER_MOST + 1].partition(b"\n")
    return bool(feed) and parse_header(first) is not None and bool(rest) and not looks_like_rows(head[len(first) + 1 :])


def _read(source: str, options: ReadOptions) -> VectorTable:
    path = Path(source)
    with Stream(path, options.progress) as stream:
        start = stream.read(_BLOCK)
        line, _, rest = start.partition(b"\n")
        header = parse_header(line[:_HEADER_MOST])
        if header is None:
            raise VectorError(
                f"{path} begins with {start[:24]!r}; legal in word2vec's binary format: the number of rows, their width, and a "
                "line feed"
            )
        rows, width = header
        least = rows * (4 * width + 2)
        if stream.plain_size is not None and least > stream.size:
            raise VectorError(
                f"the header of {path} says {rows:,} rows of {width:,}, at least {least:,} bytes, but the file ends at byte "
                f"{stream.size:,}: it is cut off, or its header is wrong; fetch it again"
            )
        gatherer = Gatherer(str(path), options, width=width, expected=rows if stream.plain_size is not None else None)
        cursor = _Cursor(stream, rest, len(line) + 1)
        done = 0
        while done < rows:
            done += _read_block(cursor, gatherer, done, rows)
        _check_end(cursor, gatherer, rows)
    return gatherer.finish()


def _read_block(cursor: _Cursor, gatherer: Gatherer, done: int, rows: int) -> int:
    """Read the whole rows that are there; return how many."""
    data, offset, size = cursor.data, cursor.offset, 4 * gatherer.width
    tokens: list[str] = []
    parts: list[bytes] = []
    places: list[int] = []
    at = number = 0
    while done + number < rows:
        # Some writers put a line feed behind each row, so here one may stand before the next.
        start = at + 1 if data[at : at + 1] == b"\n" else at
        space = data.find(b" ", start, start + _TOKEN_MOST)
        end = space + 1 + size
        if space < 0 or end > len(data):
            break
        token = _decode(data[start:space], gatherer, done + number, offset + start)
        if token is not None and gatherer.wants(token):
            tokens.append(token)
            parts.append(data[space + 1 : end])
            places.append(offset + start)
        at = end
        number += 1
    if tokens:
        values = np.frombuffer(b"".join(parts), dtype="<f4").reshape(len(tokens), gatherer.width)
        gatherer.add(tokens, values, lambda row: f"the row at byte {places[row]:,}")
    if done + number < rows:
        _advance(cursor, at, gatherer, done + number, rows)
    else:
        cursor.data, cursor.offset = data[at:], offset + at
    return number


def _advance(cursor: _Cursor, at: int, gatherer: Gatherer, row: int, rows: int) -> None:
    """Read on behind the last whole row.

    Raises:
        VectorError: there is nothing more, or no token where one should begin.
    """
    rest = len(cursor.data) - at
    if rest > _TOKEN_MOST and cursor.data.find(b" ", at + 1, at + 1 + _TOKEN_MOST) < 0:
        raise VectorError(
            f"{gatherer.name}: row {row + 1:,} of {rows:,}, at byte {cursor.offset + at:,}, has no token of up to "
            f"{_TOKEN_MOST:,} bytes with a space behind it; the width in the header is wrong, or the file is of another format"
        )
    cursor.more(at)
    if cursor.ended:
        raise VectorError(
            f"{gatherer.name} is cut off in row {row + 1:,} of {rows:,}, which begins at byte {cursor.offset:,}; the file "
            f"ends {rest:,} bytes later, and the values alone need {4 * gatherer.width:,}; fetch it again"
        )


def _decode(token: bytes, gatherer: Gatherer, row: int, byte: int) -> str | None:
    try:
        if text := token.decode("utf-8"):
            return text
        gatherer.damaged("without a token", f"row {row + 1:,} at byte {byte:,}: there is no token")
    except UnicodeDecodeError as error:
        gatherer.damaged(
            "whose token is not UTF-8",
            f"row {row + 1:,} at byte {byte + error.start:,}: the token {token[:40]!r} is not UTF-8, or the header's width "
            f"{gatherer.width} is wrong",
        )
    return None


def _check_end(cursor: _Cursor, gatherer: Gatherer, rows: int) -> None:
    cursor.more(0)
    if (rest := cursor.data.strip(b"\r\n\0 ")) or not cursor.ended:
        raise VectorError(
            f"{gatherer.name}: the header says {rows:,} rows, but {len(rest):,} bytes or more follow the last of them, from "
            f"byte {cursor.offset:,} on; its number of rows or its width {gatherer.width} is wrong"
        )


WORD2VEC_BINARY = VectorFormat(_read, _detects)
