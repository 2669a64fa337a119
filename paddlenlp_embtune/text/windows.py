"""Windows over long texts: slices that fit a model, cut where sentences end, each a little over the one before."""

from __future__ import annotations

import bisect
import dataclasses
import re
from collections.abc import Sequence

from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.schema import check_types
from paddlenlp_embtune.text.tokenizers import Tokenizer

__all__ = ["AGGREGATES", "WindowSpec", "split_windows"]

AGGREGATES = ("mean", "max", "length")
# A sentence ends at its mark and the quotes or brackets that close after it, or at a line break; a full stop only before a
# space, because numbers hold points too; so they do commas and colons.
_SENTENCE_END = re.compile(r"(?:[。！？!?；;…｡]+|\.(?=[”’\"'」』）)】》]*\s))[”’\"'」』）)】》]*|\n+")
_CLAUSE_END = re.compile(r"(?:[，、：）)]|[,:](?!\d))+|\s+")
_IN_NUMBER = re.compile(r"(?<=\d)[.,:](?=\d)")

Place = tuple[int, int]


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
            raise RecipeError(f"windows.overlap_tokens is {self.overlap_tokens}; legal: 0 or more")
        if self.aggregate not in AGGREGATES:
            raise RecipeError(f"windows.aggregate is {self.aggregate!r}; legal: {', '.join(AGGREGATES)}")


def split_windows(text: str, tokenizer: Tokenizer, *, max_length: int, overlap: int) -> list[Place]:
    """Find the windows of a long text: begin and end of slices whose ids fit, which together hold all of its tokens.

    A window ends with a sentence if one ends in its second half, or else with a clause, or else between two tokens; so does
    what the next one takes up again. Each window is read as if it were a text of its own: whoever encodes ``text[begin:end]``
    gets what the model got.

    Args:
        text: as given.
        tokenizer: the model's.
        max_length: the most ids of a window, those that the tokenizer adds included.
        overlap: the most tokens that a window takes up from the one before.
    Returns:
        One slice at least; a text that fits is one slice.
    """
    room = max(1, max_length - len(tokenizer.prefix) - len(tokenizer.suffix))
    places = tokenizer.offsets(text)
    if len(places) <= room:
        return [(0, len(text))]
    firsts = [start for start, _ in places]
    sentences, clauses = _borders(_SENTENCE_END, text, firsts), _borders(_CLAUSE_END, text, firsts)
    inside = {index for index in range(1, len(places)) if not _may_cut(text, places[index - 1], places[index])}
    inside.update(bisect.bisect_left(firsts, at) for match in _IN_NUMBER.finditer(text) for at in match.span())
    windows, begin, done, most = list[Place](), 0, 0, room
    while True:
        end = min(begin + most, len(places))
        if end < len(places):
            end = (
                _last(sentences, begin + most // 2, end) or _last(clauses, begin + most // 2, end) or _back(end, begin, inside)
            )
            end = _whole(text, places, end, begin)
        if end <= done:  # nothing new fits behind what would be taken up again
            begin = done
            continue
        stop = places[end][0] if end < len(places) else len(text)
        if end > begin + 1 and most > 1 and len(tokenizer.encode(text[places[begin][0] : stop])) > max_length:
            most -= 1  # the rest of a word that was cut may have other pieces, and more of them
            continue
        # The next window's begin, so that marks which are no tokens of their own stay with the sentence that they end.
        windows.append((places[begin][0] if begin else 0, stop))
        if end == len(places):
            return windows
        earliest = max(begin + 1, end - min(overlap, room // 2))
        begin = _skip(text, places, _first(sentences, earliest, end) or _first(clauses, earliest, end) or end)
        done, most = end, room


def _borders(pattern: re.Pattern[str], text: str, firsts: Sequence[int]) -> list[int]:
    """Numbers of the tokens that begin right after a match, ascending."""
    found = (bisect.bisect_left(firsts, match.end()) for match in pattern.finditer(text))
    return sorted({index for index in found if 0 < index < len(firsts)})


def _may_cut(text: str, left: Place, right: Place) -> bool:
    """Tell whether a slice may end between two tokens: not within a word, nor within what one character became."""
    if right[0] < left[1]:
        return False
    before, after = text[right[0] - 1], text[right[0]]
    return not (_joins(before) and _joins(after))


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


def _back(end: int, begin: int, inside: set[int]) -> int:
    """The last place at or before ``end`` where a slice may end; ``end`` itself where there is none."""
    return next((index for index in range(end, begin, -1) if index not in inside), end)


def _whole(text: str, places: Sequence[Place], end: int, begin: int) -> int:
    """Move an end that stands within what one character became, and set the spaces after it before it."""
    back = next((index for index in range(end, begin, -1) if places[index] != places[index - 1]), end)
    while back < len(places) and places[back] == places[back - 1]:
        back += 1
    return _skip(text, places, back)


def _skip(text: str, places: Sequence[Place], index: int) -> int:
    """The first token from a number on that is no space: those at the ends of a window are not read."""
    return next((at for at in range(index, len(places)) if not text[places[at][0] : places[at][1]].isspace()), len(places))
