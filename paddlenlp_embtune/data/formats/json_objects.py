"""Objects of JSON files: a list of them, or one a line."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from typing import Any

from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.utils.json_yaml import parse_json, shorten
from paddlenlp_embtune.utils.text_files.line_reader import LineReader

__all__ = ["json_objects"]

_ONE_A_LINE = re.compile(r"\s*\{.*\}[ \t]*\r?\n\s*\{")


def json_objects(reader: LineReader, name: str, *, whole: bool, notes: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield place and object of each record.

    Args:
        reader: of the file.
        name: of the file, for messages.
        whole: whether the file is to hold one list; a file of objects a line is read as such all the same.
        notes: gets what a user may want to know about how the file was read.
    Raises:
        DataError: the file is no such JSON.
    """
    for place, value in _whole(reader, name, notes) if whole else _by_line(reader, name):
        if not isinstance(value, dict):
            raise DataError(f"{place} of {name} is {shorten(value)}; expected an object with a text and a label")
        yield place, value


def _whole(reader: LineReader, name: str, notes: list[str]) -> Iterator[tuple[str, Any]]:
    lines = iter(reader)
    content = "".join(itertools.chain.from_iterable(lines))
    if not content.strip():
        return
    if _ONE_A_LINE.match(content):
        notes.append(f"{name} has one object a line, and was read as JSON lines")
        yield from _parsed(enumerate(content.split("\n"), start=1), name)
        return
    value = parse_json(content, name, error=DataError)
    if not isinstance(value, list):
        raise DataError(f"{name} holds one {type(value).__name__}; expected a list of objects")
    yield from ((f"item {number}", item) for number, item in enumerate(value, start=1))


def _by_line(reader: LineReader, name: str) -> Iterator[tuple[str, Any]]:
    return _parsed(((reader.number, line) for line, _ in reader), name)


def _parsed(lines: Iterable[tuple[int, str]], name: str) -> Iterator[tuple[str, Any]]:
    for number, line in lines:
        if line.strip():
            yield f"line {number}", parse_json(line, f"line {number} of {name}", error=DataError)
