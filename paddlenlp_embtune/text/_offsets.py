"""Mapping characters of the cleaned text back to spans of the original text."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterable, Iterator

from paddlenlp_embtune.text.normalization import CLEANING, clean

__all__ = ["append_span", "is_aligned", "locate", "parts_of"]


def locate(text: str, *, lowercase: bool, cleaning: int = CLEANING, limit: int | None = None) -> list[tuple[int, int]]:
    """Return the source spans (start, end) of the first ``limit`` characters that ``clean`` makes of a text.

    Characters that merge, split or are reordered (accents) share one span that covers all of them.

    Args:
        text: the original text.
        lowercase: whether the tokenizer folds case.
        cleaning: the cleaning rule of the tokenizer.
        limit: how many spans to return; None returns all.
    """
    spans, last = list[tuple[int, int]](), " "
    for start, end, cleaned in _clusters(text, lowercase=lowercase, cleaning=cleaning):
        for character in cleaned:
            if character != " " or last != " ":
                spans.append((start, end))
            last = character
        if limit is not None and len(spans) > limit:
            return spans[:limit]
    return spans[:-1] if spans and last == " " else spans


def is_aligned(text: str, cleaned: str, *, lowercase: bool, cleaning: int = CLEANING) -> bool:
    """Return quickly whether each character of a cleaned text comes from the one at the same offset of the original.

    False may be wrong in rare cases; True is always right.

    Args:
        text: the original text.
        cleaned: the result of ``clean``.
        lowercase: whether case was folded.
        cleaning: the cleaning rule that was used.
    """
    return len(text) == len(cleaned) and text.translate(_single_folds(lowercase, cleaning)) == cleaned


def append_span(spans: list[tuple[int, int]], begin: int, end: int) -> None:
    """Append a span, merging it with any spans that it overlaps."""
    count = 1
    while spans and spans[-1][1] > begin:
        begin, end = min(begin, spans[-1][0]), max(end, spans.pop()[1])
        count += 1
    spans.extend([(begin, end)] * count)


def parts_of(text: str, spans: Iterable[tuple[int, int, str]]) -> Iterator[tuple[int, int, str]]:
    """Split a text into named spans and the stretches between them, whose name is empty."""
    done = 0
    for begin, end, name in spans:
        if done < begin:
            yield done, begin, ""
        yield begin, end, name
        done = end
    if done < len(text):
        yield done, len(text), ""


class _SingleFolds(dict[int, str]):
    """Maps each character to its cleaned form if that is one character that joins no other; otherwise to an impossible one."""

    def __init__(self, lowercase: bool, cleaning: int) -> None:
        super().__init__()
        self.lowercase, self.cleaning = lowercase, cleaning

    def __missing__(self, code: int) -> str:
        alone = _fold(chr(code), self.lowercase, self.cleaning)
        self[code] = found = alone if len(alone) == 1 and not _may_join(chr(code)) else "\ufffe"
        return found


@functools.cache
def _single_folds(lowercase: bool, cleaning: int) -> _SingleFolds:
    return _SingleFolds(lowercase, cleaning)


def _clusters(text: str, *, lowercase: bool, cleaning: int) -> Iterator[tuple[int, int, str]]:
    """Split a text so that cleaning the parts gives the same as cleaning the whole: (start, end, cleaned part)."""
    alone_of: dict[str, str] = {}
    start, end, former = 0, 0, ""
    for index, character in enumerate(text):
        alone = alone_of.get(character)
        if alone is None:
            alone = alone_of[character] = _fold(character, lowercase, cleaning)
        if not alone:
            continue
        if not former:
            start = index
        else:
            # Its form depends on the letter before it, so it shares the span of that letter.
            final_sigma = character == "Σ" and lowercase and "ς" in (former + text[index : index + 2]).lower()
            if not (alone == former == " " or final_sigma or _joins(text, start, end, index, cleaning)):
                yield start, end, former if end == start + 1 else _fold(text[start:end], lowercase, cleaning)
                start = index
        end, former = index + 1, alone
    if former:
        yield start, end, _fold(text[start:end], lowercase, cleaning)


def _fold(part: str, lowercase: bool, cleaning: int) -> str:
    # The two characters around the part keep white space at its ends.
    return clean(f"一{part}一", lowercase=lowercase, cleaning=cleaning)[1:-1]


def _joins(text: str, start: int, end: int, index: int, cleaning: int) -> bool:
    """Return whether the character at ``index`` merges with those before it, or is reordered with them."""
    character = text[index]
    if character.isascii():
        return False
    if unicodedata.combining(unicodedata.normalize("NFKD", character)[0]):
        return True
    if not _may_join(character):
        return False
    parts = text[start:end], character, text[start : index + 1]
    before, alone, together = (_fold(part, False, cleaning) for part in parts)
    return together != before + alone


def _may_join(character: str) -> bool:
    """Return whether a character can merge with one before it.

    Such characters are combining, other marks (vowel signs of Indic scripts), or the end of a Hangul syllable.
    """
    first = unicodedata.normalize("NFKD", character)[0]
    return bool(unicodedata.combining(first)) or unicodedata.category(first)[0] == "M" or "\u1160" <= first <= "\u11ff"
