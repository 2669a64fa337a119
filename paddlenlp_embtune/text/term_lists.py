"""Lists of terms as people have them: one a line, or the user dictionaries of jieba; and which terms no text contains."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.text._term_matcher import TermMatcher, unique_terms
from paddlenlp_embtune.text.normalization import CLEANING, clean
from paddlenlp_embtune.utils.text_files.line_reader import read_lines

__all__ = ["TermList", "describe_unused_terms", "read_term_list", "unused_terms"]

_SHOWN = 5
# Parts of speech as jieba's dictionaries have them, after ICTCLAS.
_TAGS = frozenset(
    re.findall(
        r"\w+",
        "a ad ag an b c d df dg e eng f g h i j k l m mg mq n ng nr nrfg nrt ns nt nz o p q r rg rr rz s t tg u ud ug uj ul uv "
        "uz v vd vg vi vn vq x y z zg",
    )
)
_ENTRY = re.compile(r"(?P<term>.+?)(?:[ \t]+(?P<count>\d+))?(?:[ \t]+(?P<tag>[a-z]{1,4}))?")
_COMMENT = re.compile(r"#(?:\s|$)|//\s")


@dataclasses.dataclass(frozen=True)
class TermList:
    """Terms of a file.

    Args:
        path: of the file.
        terms: in their order.
        entries: lines from which a frequency or a part of speech was left out; 0 where the file is a plain list.
    """

    path: Path
    terms: tuple[str, ...]
    entries: int = 0

    def remarks(self) -> list[str]:
        """Return a line about what was left out, if anything was."""
        if not self.entries:
            return []
        return [
            f"{self.path.name} is a dictionary in jieba's format: of {self.entries} lines the frequency or the part of speech "
            "was left out"
        ]


def read_term_list(path: Path) -> TermList:
    """Read domain terms, one a line; blank lines and lines that begin with ``# `` are passed over.

    A file in jieba's format has a frequency, a part of speech or both behind its terms. A list is one where a line ends in a
    number and a part of speech of jieba's, or where each of several lines ends in a number. Behind a tab nothing is read.

    Raises:
        DataError: the file cannot be read, its encoding cannot be told, or it holds no term.
    """
    try:
        lines = read_lines(path, error=DataError)
    except OSError as error:
        raise DataError(f"cannot read the terms {path}: {error.strerror}; expected a file with one term a line") from None
    wanted = [line.strip() for line in lines if line.strip() and not _COMMENT.match(line.strip())]
    if not wanted:
        raise DataError(f"{path} holds no term; expected one a line")
    parsed = [match for line in wanted if (match := _ENTRY.fullmatch(line))]
    numbered = sum(match["count"] is not None for match in parsed)
    full = any(match["count"] is not None and match["tag"] in _TAGS for match in parsed)
    if full or (numbered == len(wanted) > 1):
        terms = [_term(line) for line in wanted]
        changed = sum(term != line for term, line in zip(terms, wanted, strict=True))
        return TermList(path, tuple(terms), changed)
    return TermList(path, tuple(line.partition("\t")[0].strip() for line in wanted))


def unused_terms(terms: Iterable[str], texts: Iterable[str], *, lowercase: bool, cleaning: int = CLEANING) -> tuple[str, ...]:
    """Return the terms, cleaned as texts are, that no text contains.

    Args:
        terms: as given.
        texts: to look in.
        lowercase: as the texts are cleaned.
        cleaning: the rule, as the texts are cleaned.
    """
    wanted = unique_terms(terms, lowercase=lowercase, cleaning=cleaning)
    matcher, left = TermMatcher(wanted), set(wanted)
    for text in texts:
        if not left:
            break
        left -= matcher.contained(clean(text, lowercase=lowercase, cleaning=cleaning))
    return tuple(term for term in wanted if term in left)


def describe_unused_terms(name: str, unused: Sequence[str], count: int) -> str:
    """Word for people how many of a list's terms no text contains, with the first of them."""
    shown = ", ".join(unused[:_SHOWN]) + (", ..." if len(unused) > _SHOWN else "")
    return f"{len(unused)} of {count} terms of {name} are in no text: {shown}"


def _term(line: str) -> str:
    match = _ENTRY.fullmatch(line)
    if match is None or (match["tag"] is not None and match["tag"] not in _TAGS):
        return line.partition("\t")[0].strip()
    return match["term"].strip()
