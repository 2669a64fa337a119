"""Where in a text as given the characters of the cleaned text come from."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from paddlenlp_embtune.text.cleaning import clean

__all__ = ["locate"]


def locate(text: str, *, lowercase: bool, limit: int | None = None) -> list[tuple[int, int]]:
    """Find where in a text the first ``limit`` characters of ``clean(text, lowercase=lowercase)`` come from, begin and end.

    Characters that become one, or several, or change places (accents), have the place of all of them together.

    Args:
        text: as given.
        lowercase: as the tokenizer cleans.
        limit: how many places; None finds all.
    """
    places, last = list[tuple[int, int]](), " "
    for start, end, cleaned in _clusters(text, lowercase=lowercase):
        for character in cleaned:
            if character != " " or last != " ":
                places.append((start, end))
            last = character
        if limit is not None and len(places) > limit:
            return places[:limit]
    return places[:-1] if places and last == " " else places


def _clusters(text: str, *, lowercase: bool) -> Iterator[tuple[int, int, str]]:
    """Cut a text where cleaning the parts one by one gives what cleaning it whole does: (begin, end, cleaned part)."""
    alone_of: dict[str, str] = {}
    start, end, former = 0, 0, ""
    for index, character in enumerate(text):
        alone = alone_of.get(character)
        if alone is None:
            alone = alone_of[character] = _fold(character, lowercase=lowercase)
        if not alone:
            continue
        if not former:
            start = index
        else:
            # Its form depends on the letter before it, so it shares the place of that letter.
            final_sigma = character == "Σ" and lowercase and "ς" in (former + text[index : index + 2]).lower()
            if not (alone == former == " " or final_sigma or _joins(text, start, end, index)):
                yield start, end, former if end == start + 1 else _fold(text[start:end], lowercase=lowercase)
                start = index
        end, former = index + 1, alone
    if former:
        yield start, end, _fold(text[start:end], lowercase=lowercase)


def _fold(part: str, *, lowercase: bool) -> str:
    # Between two characters that join with nothing, white space at the ends stays.
    return clean(f"一{part}一", lowercase=lowercase)[1:-1]


def _joins(text: str, start: int, end: int, index: int) -> bool:
    """Tell whether the character at ``index`` becomes one with those before it, or changes places with them."""
    character = text[index]
    if character.isascii():
        return False
    first = unicodedata.normalize("NFKD", character)[0]
    if unicodedata.combining(first):
        return True
    # What else composes with its forerunner is a mark too (vowel signs of Indian scripts), or the end of a Hangul syllable.
    if not (unicodedata.category(first).startswith("M") or "\u1160" <= first <= "\u11ff"):
        return False
    parts = text[start:end], character, text[start : index + 1]
    before, alone, together = (_fold(part, lowercase=False) for part in parts)
    return together != before + alone
