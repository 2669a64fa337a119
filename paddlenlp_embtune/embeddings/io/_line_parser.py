"""Splitting blocks of a text vector file into lines, tokens and numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.embeddings.io import _float_parser
from paddlenlp_embtune.embeddings.io._streams import Stream
from paddlenlp_embtune.errors import VectorError

__all__ = ["Block", "Lines", "Offsets", "blocks", "fields_from_right", "is_number", "split_lines"]

Offsets = npt.NDArray[np.int64]

_BLOCK = 1 << 19
_MAX_LINE_BYTES = 1 << 26
_BLANKS = b" \t"
_ENDINGS = b" \t\r"


@dataclasses.dataclass(frozen=True)
class Block:
    """A block of complete lines of a file.

    Args:
        data: the lines, each with its line feed, including the last.
        offset: offset of the block in the decompressed file.
        line: number of its first line, from 1.
    """

    data: bytes
    offset: int
    line: int


@dataclasses.dataclass(frozen=True)
class Lines:
    """The parsed lines of a block.

    Args:
        data: data of the block, padded for the float parser.
        starts: first byte of each line.
        tails: byte after the last number of each line.
        counts: number of separators in each line, before ``tails``.
        separators: offsets of all separators of the block.
        first: index in ``separators`` of the one before the first value of each line; negative or on another line if a line
            has too few.
    """

    data: bytes
    starts: Offsets
    tails: Offsets
    counts: Offsets
    separators: Offsets
    first: Offsets

    def spans(self, chosen: Offsets, width: int) -> tuple[Offsets, Offsets]:
        """Return the start and end of each value of lines.

        Shapes:
            chosen: (N,) lines; returns: twice (N, width), undefined for lines without exactly ``width`` separators
        """
        index = self.first[chosen, None] + np.arange(width)
        starts = self.separators.take(index, mode="clip") + 1
        ends = np.empty_like(starts)
        ends[:, :-1] = starts[:, 1:] - 1
        ends[:, -1] = self.tails[chosen]
        return starts, ends


def blocks(stream: Stream) -> Iterator[Block]:
    """Read a stream in blocks of complete lines.

    Raises:
        VectorError: a line is too long for a text file of vectors.
    """
    parts: list[bytes] = []  # of an unfinished line
    held, offset, line = 0, 0, 1
    while True:
        data = stream.read(_BLOCK)
        cut = data.rfind(b"\n") + 1
        if cut or (not data and held):
            text = b"".join([*parts, data[:cut] or b"\n"])
            yield Block(text, offset, line)
            line += text.count(b"\n")
            offset += len(text)
            parts, held = [], 0
        if not data:
            return
        parts.append(data[cut:])
        held += len(data) - cut
        if held > _MAX_LINE_BYTES:
            raise VectorError(
                f"line {line} of {stream.path} is longer than {_MAX_LINE_BYTES >> 20} MiB; it is not a text file of vectors, "
                "or its format was not recognized: declare its format"
            )


def split_lines(block: Block, width: int) -> Lines:
    """Find lines, their separators and their values, which are the last ``width`` fields."""
    data = _float_parser.padded(block.data)
    letters = np.frombuffer(data, dtype=np.uint8)[: len(block.data)]
    feeds = np.flatnonzero(letters == ord("\n"))
    starts = np.empty_like(feeds)
    starts[0], starts[1:] = 0, feeds[:-1] + 1
    tails = feeds
    while True:
        last = letters[np.maximum(tails - 1, 0)]
        loose = (tails > starts) & ((last == _ENDINGS[0]) | (last == _ENDINGS[1]) | (last == _ENDINGS[2]))
        if not loose.any():
            break
        tails = tails - loose
    separators = np.flatnonzero((letters == _BLANKS[0]) | (letters == _BLANKS[1]))
    low, high = np.searchsorted(separators, starts), np.searchsorted(separators, tails)
    return Lines(data, starts, tails, high - low, separators, high - width)


def is_number(field: bytes) -> bool:
    """Return whether a field is a number in a format used for vectors."""
    try:
        float(field)
    except ValueError:
        return False
    return b"_" not in field


def fields_from_right(line: bytes, start: int, width: int) -> tuple[list[int], list[int], int]:
    """Find the last fields of a line that may have repeated separators.

    Returns:
        Starts and ends of the last ``width`` fields, or fewer if fewer follow the token, and the end of the text before them.
    """
    begins: list[int] = []
    ends: list[int] = []
    end = len(line)
    while len(begins) < width:
        while end > start and line[end - 1] in _BLANKS:
            end -= 1
        begin = max(line.rfind(b" ", start, end), line.rfind(b"\t", start, end)) + 1
        if begin == 0:
            break  # only the token is left
        begins.insert(0, begin)
        ends.insert(0, end)
        end = begin - 1
    while end > start and line[end - 1] in _BLANKS and line[start:end].strip(_BLANKS):
        end -= 1
    return begins, ends, end
