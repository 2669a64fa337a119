"""Reading text vectors, a token and its numbers per line: word2vec (also fastText's ``.vec``), and GloVe, without header.

Lines end at line feeds only, fields at spaces and tabs only; all other characters may be part of a token. A token may contain
spaces, as some in GloVe do: the last fields of a line are the numbers. A token may end in a number only if the header states
the width and that number is an integer beside values that are not; otherwise the line has too many numbers.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.embeddings.io import _float_parser
from paddlenlp_embtune.embeddings.io._line_parser import (
    Block,
    Lines,
    Offsets,
    blocks,
    fields_from_right,
    is_number,
    split_lines,
)
from paddlenlp_embtune.embeddings.io._row_collector import RowCollector
from paddlenlp_embtune.embeddings.io._streams import Stream
from paddlenlp_embtune.embeddings.io.options import ReadOptions, VectorFormat
from paddlenlp_embtune.embeddings.io.vector_table import VectorTable
from paddlenlp_embtune.errors import VectorError

__all__ = ["GLOVE", "WORD2VEC", "first_sparse_pair", "looks_like_rows", "parse_header"]

_BOM = b"\xef\xbb\xbf"
_SAMPLE = 50
_PAIR = re.compile(rb"\d+:[-+]?[\d.]+(?:[eE][-+]?\d+)?")
_MAX_DIGITS = 18


def parse_header(line: bytes) -> tuple[int, int] | None:
    """Return rows and width of a header, or None if the line is not a header."""
    fields = line.removeprefix(_BOM).split()
    if len(fields) != 2 or not all(field.isdigit() and len(field) <= _MAX_DIGITS for field in fields):
        return None
    return int(fields[0]), int(fields[1])


def looks_like_rows(text: bytes) -> bool:
    """Return whether the (possibly incomplete) first line of ``text`` is a token with numbers."""
    line, feed, _ = text.partition(b"\n")
    fields = line.split()
    if not feed:
        fields = fields[:-1]  # the last may be incomplete
    numbers = fields[1:]
    return bool(numbers) and b"\0" not in line and sum(map(is_number, numbers)) * 2 >= len(numbers)


def _detects_word2vec(_path: Path, head: bytes) -> bool:
    first, _, rest = head.partition(b"\n")
    header = parse_header(first)
    if header is None or (rest and not looks_like_rows(rest)):
        return False
    return not rest or header[1] == 1 or len(rest.partition(b"\n")[0].split()) != 2


def _detects_glove(_path: Path, head: bytes) -> bool:
    return looks_like_rows(head)


def _read_word2vec(source: str, options: ReadOptions) -> VectorTable:
    path = Path(source)
    with Stream(path, options.progress) as stream:
        parts = blocks(stream)
        first = _first_block(parts, path)
        line, _, rest = first.data.partition(b"\n")
        header = parse_header(line)
        if header is None:
            raise VectorError(
                f"line 1 of {path} is {_shown(line)}; expected in word2vec's format: the number of rows and their width; "
                "without such a line the format is 'glove'"
            )
        rows, width = header
        # A value takes two bytes, a token one.
        fits = stream.plain_size is None or rows * (2 * width + 1) <= stream.size
        collector = RowCollector(
            str(path), options, width=width, expected=rows if fits and stream.plain_size is not None else None
        )
        if not fits and options.damaged == "refuse":
            raise VectorError(
                f"line 1 of {path} says {rows:,} rows of {width}, which do not fit into its {stream.size:,} bytes; the header "
                "is wrong, or the file is cut off: fetch it again"
            )
        reader = _TextReader(collector, declared=rows)
        if rest:
            reader.read(Block(rest, first.offset + len(line) + 1, 2))
        for block in parts:
            reader.read(block)
    reader.check_count()
    return collector.finish()


def _read_glove(source: str, options: ReadOptions) -> VectorTable:
    path = Path(source)
    with Stream(path, options.progress) as stream:
        parts = blocks(stream)
        first = _first_block(parts, path)
        if first.data.startswith(_BOM) and first.data[3:4] not in (b" ", b"\t"):
            first = Block(first.data[3:], 3, 1)
        collector = RowCollector(str(path), options, width=_common_width(first.data, path))
        reader = _TextReader(collector)
        reader.read(first)
        for block in parts:
            reader.read(block)
    return collector.finish()


def _first_block(parts: Iterator[Block], path: Path) -> Block:
    block = next(parts, None)
    if block is None:
        raise VectorError(f"{path} is empty; fetch it again")
    if block.data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise VectorError(f"{path} begins with the byte order mark of UTF-16; save it as UTF-8")
    return block


def _common_width(data: bytes, path: Path) -> int:
    """Return the most common width of the first lines: the number of trailing numeric fields."""
    counts: Counter[int] = Counter()
    for line in data.split(b"\n", _SAMPLE)[:_SAMPLE]:
        fields = line.split()
        numbers = next((at for at, field in enumerate(reversed(fields)) if not is_number(field)), len(fields))
        if (width := min(numbers, len(fields) - 1)) > 0:
            counts[width] += 1
    if not counts:
        raise VectorError(f"{path} does not begin with lines of a token and its numbers; declare its format")
    return min(counts, key=lambda width: (-counts[width], width))


@dataclasses.dataclass
class _TextReader:
    """Parses blocks into a collector.

    Args:
        collector: receives the rows.
        declared: number of rows in the header; None without a header.
    """

    collector: RowCollector
    declared: int | None = None
    found: int = 0
    last_line: int = 1
    _blanks: list[int] = dataclasses.field(default_factory=list)

    def read(self, block: Block) -> None:
        """Parse the rows of one block of the file."""
        lines = split_lines(block, self.collector.width)
        self._count(block, lines)
        chosen, tokens, repaired = self._choose(block, lines)
        if not chosen:
            return
        starts, ends = lines.spans(np.array(chosen), self.collector.width)
        for row, spans in repaired.items():
            starts[row], ends[row] = spans
        values, broken = _float_parser.parse(lines.data, starts.ravel(), ends.ravel())
        table = values.reshape(starts.shape)
        if broken.size:
            rows = self._without_broken(block, chosen, broken, starts, ends)
            chosen, tokens, table = [chosen[row] for row in rows], [tokens[row] for row in rows], table[rows]
        self.collector.add(tokens, table, lambda row: f"line {block.line + chosen[row]}")

    def check_count(self) -> None:
        """Compare the number of rows with the header.

        Raises:
            VectorError: they differ, and the options reject damage.
        """
        if self.declared is None or self.found == self.declared:
            return
        message = f"the header says {self.declared:,} rows, the file ends at line {self.last_line} with {self.found:,}"
        if self.collector.options.damaged == "skip":
            self.collector.remark(message)
            return
        raise VectorError(f"{self.collector.name}: {message}; if it is cut off, fetch it again, or fix its first line")

    def _count(self, block: Block, lines: Lines) -> None:
        """Count rows; blank lines are allowed only at the end."""
        self._blanks.extend((np.flatnonzero(lines.tails == lines.starts) + block.line).tolist())
        self.last_line = block.line + len(lines.starts) - 1
        full = np.flatnonzero(lines.tails > lines.starts)
        self.found += full.size
        while full.size and self._blanks and self._blanks[0] < block.line + full[-1]:
            self.collector.damaged("blank lines", f"line {self._blanks.pop(0)} is blank; expected a token and its numbers")

    def _choose(self, block: Block, lines: Lines) -> tuple[list[int], list[str], dict[int, tuple[list[int], list[int]]]]:
        """Decode and filter tokens; return rows, tokens, and the values of unusual rows."""
        regular = np.flatnonzero(lines.counts == self.collector.width)
        stops = np.full(len(lines.starts), -1)
        stops[regular] = lines.separators[lines.first[regular]]
        chosen: list[int] = []
        tokens: list[str] = []
        unusual: dict[int, tuple[list[int], list[int]]] = {}
        wants = self.collector.wants
        for row, (start, stop) in enumerate(zip(lines.starts.tolist(), stops.tolist(), strict=True)):
            end, spans = stop, None
            if stop < 0:
                if (found := self._unusual(block, lines, row)) is None:
                    continue
                end, spans = found
            token = self._decode(block, start, end, block.line + row)
            if token is None or not wants(token):
                continue
            if spans is not None:
                unusual[len(chosen)] = spans
            chosen.append(row)
            tokens.append(token)
        return chosen, tokens, unusual

    def _unusual(self, block: Block, lines: Lines, row: int) -> tuple[int, tuple[list[int], list[int]]] | None:
        """Find the end of the token and the values of a line whose number of separators does not match the width."""
        start, tail, width = int(lines.starts[row]), int(lines.tails[row]), self.collector.width
        if start == tail:
            return None
        begins, ends, end = fields_from_right(block.data[:tail], start, width)
        words = block.data[start:end].split()
        values = [block.data[begin:stop] for begin, stop in zip(begins, ends, strict=True)]
        if len(begins) < width or (len(words) > 1 and is_number(words[-1]) and not self._ends_token(words[-1], values)):
            found = len(block.data[start:tail].split()) - 1
            whence = "as its first lines have" if self.declared is None else "as its header says"
            self.collector.damaged(
                "of another width", f"line {block.line + row} has {found} values; expected {width}, {whence}"
            )
            return None
        return end, (begins, ends)

    def _ends_token(self, number: bytes, values: list[bytes]) -> bool:
        """Return whether a number before the values belongs to the token, as in ``windows 10``.

        True if the width is declared, the number is an integer, and few values of the line are.
        """
        return self.declared is not None and number.isdigit() and 2 * sum(map(bytes.isdigit, values)) < len(values)

    def _decode(self, block: Block, start: int, end: int, line: int) -> str | None:
        try:
            if token := block.data[start:end].decode("utf-8"):
                return token
            self.collector.damaged("without a token", f"line {line}, byte {block.offset + start}: there is no token")
        except UnicodeDecodeError as error:
            self.collector.damaged(
                "whose token is not UTF-8",
                f"line {line}, byte {block.offset + start + error.start}: the token {block.data[start:end][:40]!r} is not "
                "UTF-8; if the file is in another encoding, such as GB18030, save it as UTF-8",
            )
        return None

    def _without_broken(
        self, block: Block, chosen: list[int], broken: Offsets, starts: Offsets, ends: Offsets
    ) -> npt.NDArray[np.int64]:
        """Report the first invalid number of each row; return the other rows."""
        rows, columns = np.divmod(broken, self.collector.width)
        bad, firsts = np.unique(rows, return_index=True)
        for row, column in zip(bad.tolist(), columns[firsts].tolist(), strict=True):
            start, end = int(starts[row, column]), int(ends[row, column])
            where = f"line {block.line + chosen[row]}, byte {block.offset + start}"
            self.collector.damaged("with a value that is no number", f"{where}: {_shown(block.data[start:end])} is no number")
        return np.setdiff1d(np.arange(len(chosen)), bad)


def first_sparse_pair(text: bytes) -> str | None:
    """Return the first column:value pair if the first lines of a text are tokens with such pairs."""
    lines = text.split(b"\n", 3)[:3]
    rows = [line.split()[1:3] for line in lines[parse_header(lines[0]) is not None :]]
    pairs = [field for row in rows for field in row]
    return pairs[0].decode("ascii") if pairs and all(map(_PAIR.fullmatch, pairs)) else None


def _shown(data: bytes) -> str:
    text = data[:60].decode("utf-8", errors="backslashreplace")
    return repr(text) + ("..." if len(data) > 60 else "")


WORD2VEC = VectorFormat(_read_word2vec, _detects_word2vec)
GLOVE = VectorFormat(_read_glove, _detects_glove)
