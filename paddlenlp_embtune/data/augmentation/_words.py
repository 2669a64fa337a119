"""A text as words, with what may be done to each."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence

from paddlenlp_embtune.data.augmentation._protection import Protection
from paddlenlp_embtune.text import WordCutter

__all__ = ["Word", "join", "split_words"]

_BREAK = re.compile(r"[\s，。！？；：、,.!?;:…~～]")


@dataclasses.dataclass(frozen=True)
class Word:
    """A word of a text.

    Args:
        text: its characters.
        fixed: it stays where it is and as it is, because it is protected, or no word but a mark.
        held: it follows a negation in its clause, so it may only be replaced.
        stretch: number of the run of words between two fixed ones.
    """

    text: str
    fixed: bool
    held: bool
    stretch: int

    @property
    def movable(self) -> bool:
        """Whether the word may be dropped or moved within its stretch."""
        return not (self.fixed or self.held)


def split_words(text: str, cutter: WordCutter, protection: Protection) -> list[Word]:
    """Cut a text into words, which concatenate to the text; what is protected lies in words of its own."""
    words: list[Word] = []
    negated, stretch = False, 0
    for piece, protected in _pieces(text, cutter, protection):
        fixed = protected or not any(character.isalnum() for character in piece)
        if _BREAK.search(piece):
            negated = False
        words.append(Word(piece, fixed, negated and not fixed, stretch))
        negated = negated or (protected and protection.negates(piece))
        stretch += fixed
    return words


def join(words: Sequence[Word]) -> str:
    """Return the text of words."""
    return "".join(word.text for word in words)


def _pieces(text: str, cutter: WordCutter, protection: Protection) -> Iterator[tuple[str, bool]]:
    """Cut a text into words, and tell whether each has something protected; no cut goes through it."""
    spans = protection.spans(text)
    inside = {place for start, end in spans for place in range(start + 1, end)}
    starts = {start for start, _ in spans}
    begin, end = 0, 0
    for piece in cutter.cut(text):
        end += len(piece)
        if end not in inside:
            yield text[begin:end], any(place in starts for place in range(begin, end))
            begin = end
