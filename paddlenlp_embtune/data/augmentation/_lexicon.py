"""Groups of words, or of characters, that may stand for one another, read from a file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.utils.text_files.line_reader import read_lines

__all__ = ["Alternatives", "alternatives", "read_groups"]

Alternatives = Mapping[str, Sequence[str]]
"""What may stand for a word, in the order of the groups; never the word itself."""

_PARTED = re.compile(r"[\s,，、]+")
_CILIN = re.compile(r"[A-Z][a-z]\d\d[A-Z]\d\d(?P<kind>[=#@])")


def read_groups(path: Path, *, setting: str, characters: bool = False) -> list[list[str]]:
    """Read groups of words, one a line, separated by white space or commas; lines that begin with ``# `` are skipped.

    In Cilin's format, a line begins with a code that ends in ``=`` for synonyms, ``#`` for related words or ``@`` for a word
    alone; only the first kind is read.

    Args:
        path: of the file.
        setting: of the recipe that names the file, for messages.
        characters: whether every member of a group is one character; a group may then be written without separators.
    Raises:
        DataError: the file cannot be read, or has no group of two or more.
    """
    try:
        lines = read_lines(path, error=DataError)
    except OSError as error:
        raise DataError(
            f"{setting} is {path}, which cannot be read: {error.strerror}; expected a file with a group a line"
        ) from None
    groups = []
    for line in lines:
        code = _CILIN.match(line)
        if line.startswith("# ") or (code and code["kind"] != "="):
            continue
        members = [word for word in _PARTED.split(line[code.end() :] if code else line) if word]
        groups.append(list("".join(members)) if characters else members)
    if not any(len(set(group)) > 1 for group in groups):
        what = "characters" if characters else "words"
        raise DataError(f"{setting} is {path}, which has no group; expected two or more {what} a line, separated by spaces")
    return groups


def alternatives(groups: Iterable[Iterable[str]]) -> dict[str, tuple[str, ...]]:
    """Return for each word the other words of all its groups, each once."""
    found: dict[str, dict[str, None]] = {}
    for group in groups:
        members = list(dict.fromkeys(group))
        for word in members:
            found.setdefault(word, {}).update(dict.fromkeys(other for other in members if other != word))
    return {word: tuple(others) for word, others in found.items() if others}
