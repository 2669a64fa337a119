"""Mapping characters of the cleaned text back to their places in the original text."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterable, Iterator

from paddlenlp_embtune.text.normalization import CLEANING, clean

__all__ = ["append_span", "is_aligned", "locate", "parts_of"]


def locate(text: str, *, lowercase: bool, cleaning: int = CLEANING, limit: int | None = None) -> list[tuple[int, int]]:
    """Find where in a text the first ``limit`` characters of what ``clean`` makes of it come from, begin and end.

    Characters that become one, or several, or change places (accents), have the place of all of them together.

    Args:
        text: as given.
        lowercase: as the tokenizer cleans.
        cleaning: the rule, as the tokenizer cleans.
        limit: how many places; None finds all.
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
    """Tell, fast, whether each character of a cleaned text comes from the one at its place in the text as given.

    False may be wrong where it is rare; True never is.

    Args:
        text: as given.
        cleaned: what ``clean`` made of it.
        lowercase: as it was cleaned.
        cleaning: the rule that it was cleaned by.
    """
    return len(text) == len(cleaned) and text.translate(_single_folds(lowercase, cleaning)) == cleaned


def append_span(spans: list[tuple[int, int]], begin: int, end: int) -> None:
    """Append a place; those that overlap it, and it, become the place of all of them together."""
    count = 1
    while spans and spans[-1][1] > begin:
        begin, end = min(begin, spans[-1][0]), max(end, spans.pop()[1])
        count += 1
    spans.extend([(begin, end)] * count)


def parts_of(text: str, spans: Iterable[tuple[int, int, str]]) -> Iterator[tuple[int, int, str]]:
    """Cut a text into named spans and the stretches between them, whose name is empty."""
    done = 0
    for begin, end, name in spans:
        if done < begin:
            yield done, begin, ""
        yield begin, end, name
        done = end
    if done < len(text):
        yield done, len(text), ""


class _SingleFolds(dict[int, str]):
    """What each character becomes alone, where that is one character that joins no other; otherwise what none ever becomes."""

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
    """Cut a text where cleaning the parts one by one gives what cleaning it whole does: (begin, end, cleaned part)."""
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
            # Its form depends on the letter before it, so it shares the place of that letter.
            final_sigma = character == "Σ" and lowercase and "ς" in (former + text[index : index + 2]).lower()
            if not (alone == former == " " or final_sigma or _joins(text, start, end, index, cleaning)):
                yield start, end, former if end == start + 1 else _fold(text[start:end], lowercase, cleaning)
                start = index
        end, former = index + 1, alone
    if former:
        yield start, end, _fold(text[start:end], lowercase, cleaning)


def _fold(part: str, lowercase: bool, cleaning: int) -> str:
    # Between two characters that join with nothing, white space at the ends stays.
    return clean(f"一{part}一", lowercase=lowercase, cleaning=cleaning)[1:-1]


def _joins(text: str, start: int, end: int, index: int, cleaning: int) -> bool:
    """Tell whether the character at ``index`` becomes one with those before it, or changes places with them."""
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
    """Tell whether a character is of those that can become one with a forerunner.

    They combine, or are marks otherwise (vowel signs of Indian scripts), or the end of a Hangul syllable.
    """
    first = unicodedata.normalize("NFKD", character)[0]
    return bool(unicodedata.combining(first)) or unicodedata.category(first)[0] == "M" or "\u1160" <= first <= "\u11ff"
