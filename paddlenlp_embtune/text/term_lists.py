"""Reading term lists, plain or in jieba's user dictionary format, and finding terms that no text contains."""

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
# Part-of-speech tags of jieba's dictionaries, based on ICTCLAS.
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
    """The terms of a file.

    Args:
        path: of the file.
        terms: in file order.
        entries: number of lines whose frequency or part of speech was ignored; 0 for a plain list.
    """

    path: Path
    terms: tuple[str, ...]
    entries: int = 0

    def remarks(self) -> list[str]:
        """Return a line about ignored fields, if there were any."""
        if not self.entries:
            return []
        return [
            f"{self.path.name} is a dictionary in jieba's format: on {self.entries} lines the frequency or the part of speech "
            "was left out"
        ]


def read_term_list(path: Path) -> TermList:
    """Read domain terms, one per line; blank lines and lines that begin with ``# `` are skipped.

    In jieba's format, a frequency, a part of speech or both follow each term. A file is in this format if a line ends in a
    number and one of jieba's part-of-speech tags, or if there are several lines and all end in a number. Text after a tab is
    ignored.

    Raises:
        DataError: the file cannot be read, its encoding cannot be detected, or it has no terms.
    """
    try:
        lines = read_lines(path, error=DataError)
    except OSError as error:
        raise DataError(f"cannot read the terms {path}: {error.strerror}; pass a file with one term per line") from None
    wanted = [line.strip() for line in lines if line.strip() and not _COMMENT.match(line.strip())]
    if not wanted:
        raise DataError(f"{path} has no terms; write one per line")
    parsed = [match for line in wanted if (match := _ENTRY.fullmatch(line))]
    numbered = sum(match["count"] is not None for match in parsed)
    full = any(match["count"] is not None and match["tag"] in _TAGS for match in parsed)
    if full or (numbered == len(wanted) > 1):
        terms = [_term(line) for line in wanted]
        changed = sum(term != line for term, line in zip(terms, wanted, strict=True))
        return TermList(path, tuple(terms), changed)
    return TermList(path, tuple(line.partition("\t")[0].strip() for line in wanted))


def unused_terms(terms: Iterable[str], texts: Iterable[str], *, lowercase: bool, cleaning: int = CLEANING) -> tuple[str, ...]:
    """Return the terms, after cleaning, that no text contains.

    Args:
        terms: the original terms.
        texts: the texts to search.
        lowercase: whether the texts are case-folded.
        cleaning: the cleaning rule of the texts.
    """
    wanted = unique_terms(terms, lowercase=lowercase, cleaning=cleaning)
    matcher, left = TermMatcher(wanted), set(wanted)
    for text in texts:
        if not left:
            break
        left -= matcher.contained(clean(text, lowercase=lowercase, cleaning=cleaning))
    return tuple(term for term in wanted if term in left)


def describe_unused_terms(name: str, unused: Sequence[str], count: int) -> str:
    """Return a message on how many terms of a list no text contains, with the first few of them."""
    shown = ", ".join(unused[:_SHOWN]) + (", ..." if len(unused) > _SHOWN else "")
    return f"{len(unused)} of {count} terms of {name} are in no text: {shown}"


def _term(line: str) -> str:
    match = _ENTRY.fullmatch(line)
    if match is None or (match["tag"] is not None and match["tag"] not in _TAGS):
        return line.partition("\t")[0].strip()
    return match["term"].strip()
