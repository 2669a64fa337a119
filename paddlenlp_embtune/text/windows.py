"""Windows over long texts: slices that fit a model, cut where sentences end, each a little over the one before."""

from __future__ import annotations

import bisect
import dataclasses
import re
from collections.abc import Sequence

from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.text.base import Tokenizer
from paddlenlp_embtune.utils.json_yaml import shorten
from paddlenlp_embtune.utils.schema import check_types, require_at_most

__all__ = ["AGGREGATES", "WindowSpec", "split_windows"]

AGGREGATES = ("mean", "max", "length")
# A sentence ends at its mark and the quotes or brackets that close after it, or at a line break; a full stop only before a
# space, because numbers hold points too; so they do commas and colons.
_SENTENCE_END = re.compile(r"(?:[。！？!?；;…｡]+|\.(?=[”’\"'」』）)】》]*\s))[”’\"'」』）)】》]*|\n+")
_CLAUSE_END = re.compile(r"(?:[，、：）)]|[,:](?!\d))+|\s+")
_IN_NUMBER = re.compile(r"(?<=\d)[.,:](?=\d)")

Span = tuple[int, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class WindowSpec:
    """How a text that is too long for the model is read.

    Args:
        overlap_tokens: a window begins at most this many tokens before the end of the one before it, 0 or more.
        aggregate: how the windows' probabilities become one answer: ``mean``; ``length``, their mean weighted by tokens; or
            ``max``, the highest of each label, scaled to add up to 1.
    """

    overlap_tokens: int = 32
    aggregate: str = "mean"

    def __post_init__(self) -> None:
        check_types(self, where="windows", error=RecipeError)
        if self.overlap_tokens < 0:
            raise RecipeError(f"windows.overlap_tokens is {self.overlap_tokens}; expected 0 or more")
        require_at_most("windows.overlap_tokens", self.overlap_tokens)
        if self.aggregate not in AGGREGATES:
            raise RecipeError(f"windows.aggregate is {shorten(self.aggregate)}; expected {', '.join(AGGREGATES)}")


def split_windows(text: str, tokenizer: Tokenizer, *, max_length: int, overlap: int) -> list[Span]:
    """Find the windows of a long text: begin and end of slices whose ids fit, which together hold all of its tokens.

    A window ends with a sentence if one ends in its second half, or else with a clause, or else between two tokens. What the
    next one takes up again begins with a sentence or a clause, or else with a word. Each window is read as if it were a text of
    its own: whoever encodes ``text[begin:end]`` gets what the model got.

    Args:
        text: as given.
        tokenizer: the model's.
        max_length: the most ids of a window, those that the tokenizer adds included.
        overlap: the most tokens that a window takes up from the one before.
    Returns:
        One slice at least; a text that fits is one slice.
    """
    room = max(1, max_length - len(tokenizer.prefix) - len(tokenizer.suffix))
    spans = tokenizer.offsets(text)
    if len(spans) <= room:
        return [(0, len(text))]
    cuts = _Cuts(text, spans)

    def fits(begin: int, end: int) -> bool:
        return len(tokenizer.encode(text[spans[begin][0] : cuts.character(end)])) <= max_length

    windows, begin, done = list[Span](), 0, 0
    while done < len(spans):
        # The rest of a word that was cut may have other pieces than it had in the word, and more of them.
        ends = (cuts.end(begin, max_tokens) for max_tokens in range(room, 0, -1))
        end = next(end for end in ends if end <= max(done, begin + 1) or fits(begin, end))
        if end > done:
            windows.append((spans[begin][0] if done else 0, cuts.character(end)))
            done = end
            begin = cuts.again(max(begin + 1, end - min(overlap, room // 2)), end)
        else:  # nothing new fits behind what would be taken up again
            begin = done
    return windows


class _Cuts:
    """Where a text may be cut, in numbers of its tokens.

    Args:
        text: as given.
        spans: begin and end of each token.
    """

    def __init__(self, text: str, spans: Sequence[Span]) -> None:
        self._text, self._spans = text, spans
        self._firsts = [start for start, _ in spans]
        self._sentences = self._after(_SENTENCE_END)
        self._clauses = self._after(_CLAUSE_END)
        self._inside = {index for index in range(1, len(spans)) if self._within_word(index)}
        numbers = (at for match in _IN_NUMBER.finditer(text) for at in match.span())
        self._inside.update(bisect.bisect_left(self._firsts, at) for at in numbers)

    def character(self, index: int) -> int:
        """Where a token begins; the text's end for the number after the last."""
        return self._spans[index][0] if index < len(self._spans) else len(self._text)

    def end(self, begin: int, max_tokens: int) -> int:
        """Where a window of at most so many tokens ends: with a sentence, a clause, a word, or in need anywhere."""
        end = begin + max_tokens
        if end >= len(self._spans):
            return len(self._spans)
        half = begin + max_tokens // 2
        words = (index for index in range(end, begin, -1) if index not in self._inside)
        return self._whole(_last(self._sentences, half, end) or _last(self._clauses, half, end) or next(words, end), begin)

    def again(self, earliest: int, end: int) -> int:
        """Where the window after one that ended begins: with a sentence or a clause of it, or else with a word, or after it."""
        words = (index for index in range(earliest, end) if index not in self._inside)
        border = _first(self._sentences, earliest, end) or _first(self._clauses, earliest, end)
        return self._skip(border or next(words, end))

    def _after(self, pattern: re.Pattern[str]) -> list[int]:
        """Numbers of the tokens that begin right after a match, ascending."""
        found = {bisect.bisect_left(self._firsts, match.end()) for match in pattern.finditer(self._text)}
        return sorted(index for index in found if 0 < index < len(self._firsts))

    def _within_word(self, index: int) -> bool:
        """Tell whether a cut before a token would go through a word, or through what one character became."""
        start = self._spans[index][0]
        return start < self._spans[index - 1][1] or (_joins(self._text[start - 1]) and _joins(self._text[start]))

    def _whole(self, end: int, begin: int) -> int:
        """Move an end out of what one character became, and set the spaces after it before it."""
        spans = self._spans
        end = next((index for index in range(end, begin, -1) if spans[index] != spans[index - 1]), end)
        while end < len(spans) and spans[end] == spans[end - 1]:
            end += 1
        return self._skip(end)

    def _skip(self, index: int) -> int:
        """The first token from a number on that is no space: those at the ends of a window are not read."""
        while index < len(self._spans) and self._text[slice(*self._spans[index])].isspace():
            index += 1
        return index


def _joins(character: str) -> bool:
    """Tell whether a character is part of words that are written without spaces between their letters."""
    return character.isalnum() and not "\u2e80" <= character <= "\u9fff" and character < "\U00020000"


def _last(borders: Sequence[int], low: int, high: int) -> int | None:
    """The last border after ``low`` and not after ``high``."""
    index = bisect.bisect_right(borders, high) - 1
    return borders[index] if index >= 0 and borders[index] > low else None


def _first(borders: Sequence[int], low: int, high: int) -> int | None:
    """The first border not before ``low`` and not after ``high``."""
    index = bisect.bisect_left(borders, low)
    return borders[index] if index < len(borders) and borders[index] <= high else None
