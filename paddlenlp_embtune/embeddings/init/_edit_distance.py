"""An index for finding texts one edit away from a word, fast enough for millions of words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

__all__ = ["EditIndex", "one_edit"]

_MIN_LENGTH = 3


class EditIndex:
    """Indexes texts of three characters or more by what remains when one character is deleted.

    Two texts one edit apart share such a remainder, or one is the remainder of the other; so a query costs one lookup per
    character, however many texts there are.

    Args:
        texts: the texts to index; shorter ones are ignored, as short words are one edit away from many unrelated words.
    Source:
        Mor and Fraenkel (1982), "A hash code method for detecting and correcting spelling errors"
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts: dict[str, list[str]] = {}
        for text in dict.fromkeys(texts):
            if len(text) >= _MIN_LENGTH:
                for key in _remainders(text):
                    self._texts.setdefault(key, []).append(text)
        self._lengths = frozenset(len(key) for key in self._texts)

    def __bool__(self) -> bool:
        return bool(self._texts)

    def near(self, word: str) -> set[str]:
        """Return the texts that are exactly one edit away from a word."""
        length = len(word)
        if length not in self._lengths and length - 1 not in self._lengths:
            return set()
        return {text for key in _remainders(word) if key in self._texts for text in self._texts[key] if one_edit(word, text)}


def one_edit(one: str, other: str) -> bool:
    """Return whether two texts differ by one insertion, deletion, substitution or transposition of neighbours.

    Source:
        Damerau (1964), "A technique for computer detection and correction of spelling errors"
    """
    short, long = sorted((one, other), key=len)
    if len(long) - len(short) > 1 or short == long:
        return False
    at = next((at for at, (a, b) in enumerate(zip(short, long, strict=False)) if a != b), len(short))
    if len(short) < len(long):
        return short[at:] == long[at + 1 :]
    exchanged = short[at : at + 2] == long[at : at + 2][::-1] and short[at + 2 :] == long[at + 2 :]
    return short[at + 1 :] == long[at + 1 :] or exchanged


def _remainders(text: str) -> Iterator[str]:
    yield text
    for at in range(len(text)):
        yield text[:at] + text[at + 1 :]
