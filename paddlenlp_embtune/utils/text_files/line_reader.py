"""Streaming, numbered lines of external text files, with a maximum length."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from paddlenlp_embtune.errors import EmbtuneError
from paddlenlp_embtune.utils.json_yaml import MAX_BYTES
from paddlenlp_embtune.utils.text_files.decoding import BlockDecoder, file_blocks

__all__ = ["MAX_LINE_LENGTH", "LineReader", "read_lines", "split_byte_lines", "split_lines"]

MAX_LINE_LENGTH = 1 << 24
"""Maximum number of characters of a line, or of a record over several lines."""

# LF, CR LF, the CR CR LF left by double newline translation, and CR alone; no other character ends a line.
_END = re.compile(r"(\r{0,2}\n|\r)")
_BYTE_END = re.compile(rb"\r{0,2}\n|\r")


class LineReader:
    """Yields the lines of a text together with their line endings.

    Args:
        blocks: of bytes, of any size.
        name: of the file, for messages.
        error: the exception to raise.
        encoding: declared, as :func:`paddlenlp_embtune.utils.text_files.decoding.check_encoding` returns it; None detects it.
        advice: the next step if the encoding cannot be detected.
        max_length: maximum number of characters of a line.
    """

    def __init__(
        self,
        blocks: Iterable[bytes],
        name: str,
        *,
        error: type[EmbtuneError],
        encoding: str | None = None,
        advice: str = "save it as UTF-8",
        max_length: int = MAX_LINE_LENGTH,
    ) -> None:
        self._decoder = BlockDecoder(blocks, encoding=encoding)
        self._name, self._error, self._advice, self._max_length = name, error, advice, max_length
        self.number = 0

    @property
    def encoding(self) -> str | None:
        """The encoding; None until it is known."""
        return self._decoder.encoding

    @property
    def guessed(self) -> bool:
        """Whether the encoding was detected from the content alone."""
        return self._decoder.guessed

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Yield the text and the line ending of each line; ``number`` is the number of the last one, from 1.

        Raises:
            EmbtuneError: of the type given; a line is too long or cannot be decoded; the message gives its number.
        """
        parts, held, size = list[str](), "", 0
        try:
            for chunk in self._decoder:
                text = held + chunk
                kept = len(text) - min(2, len(text) - len(text.rstrip("\r")))  # a line feed may follow
                whole, rest = _split(text[:kept])
                held = text[kept:]
                if whole:
                    self._check_length(size + len(whole[0][0]))
                    whole[0] = "".join([*parts, whole[0][0]]), whole[0][1]
                    parts, size = [], 0
                for pair in whole:
                    self.number += 1
                    yield pair
                parts.append(rest)
                size += len(rest)
                self._check_length(size)
        except UnicodeError as fault:
            problem, before = fault.args
            number = self.number + 1 + len(_END.findall(held + before))
            raise self._error(f"{self._name} {problem}, on line {number}; {self._advice}") from None
        whole, rest = _split("".join([*parts, held]))
        for pair in [*whole, *([(rest, "")] if rest else [])]:
            self.number += 1
            yield pair

    def _check_length(self, size: int) -> None:
        if size > self._max_length:
            raise self._error(
                f"line {self.number + 1} of {self._name} is longer than the limit of {self._max_length:,} characters; "
                "break it up, or check that this is a text file"
            )


def split_lines(content: str) -> list[str]:
    """Split a text as :class:`LineReader` does: at LF, CR, CR LF and CR CR LF, and nowhere else."""
    whole, rest = _split(content)
    return [line for line, _ in whole] + ([rest] if rest else [])


def split_byte_lines(content: bytes) -> list[bytes]:
    """Split bytes of an ASCII-compatible encoding as :func:`split_lines` splits text."""
    lines = _BYTE_END.split(content)
    return lines if lines[-1] else lines[:-1]


def read_lines(path: Path, *, error: type[EmbtuneError], encoding: str | None = None) -> list[str]:
    """Read all lines of a list file, such as tokens or terms.

    Raises:
        FileNotFoundError, NotADirectoryError: there is no such file; callers report this themselves.
        EmbtuneError: of the type given; the file cannot be read or is too large, or its encoding cannot be detected.
    """
    blocks = file_blocks(path, error=error, max_bytes=MAX_BYTES)
    return [line for line, _ in LineReader(blocks, str(path), error=error, encoding=encoding)]


def _split(text: str) -> tuple[list[tuple[str, str]], str]:
    """Return complete lines with their endings, and the rest after the last ending."""
    if "\r" not in text:
        *lines, rest = text.split("\n")
        return [(line, "\n") for line in lines], rest
    parts = _END.split(text)
    return list(zip(parts[:-1:2], parts[1::2], strict=True)), parts[-1]
