"""Splitting long texts into overlapping windows that fit a model, preferably at sentence ends."""

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
# A sentence ends at its punctuation mark plus closing quotes or brackets, or at a line break; at a full stop only before a
# space, because numbers contain full stops too. The same goes for commas and colons.
_SENTENCE_END = re.compile(r"(?:[。！？!?；;…｡]+|\.(?=[”’\"'」』）)】》]*\s))[”’\"'」』）)】》]*|\n+")
_CLAUSE_END = re.compile(r"(?:[，、：）)]|[,:](?!\d))+|\s+")
_IN_NUMBER = re.compile(r"(?<=\d)[.,:](?=\d)")

Span = tuple[int, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class WindowSpec:
    """How to read a text that is too long for the model.

    Args:
        overlap_tokens: maximum number of tokens that consecutive windows share, 0 or more.
        aggregate: how to combine the probabilities of the windows: ``mean``; ``length``, the mean weighted by tokens; or
            ``max``, the maximum per label, normalized to sum to 1.
    """

    overlap_tokens: int = 32
    aggregate: str = "mean"

    def __post_init__(self) -> None:
        check_types(self, where="windows", error=RecipeError)
        if self.overlap_tokens < 0:
            raise RecipeError(f"windows.overlap_tokens must be 0 or more, got {self.overlap_tokens}")
        require_at_most("windows.overlap_tokens", self.overlap_tokens)
        if self.aggregate not in AGGREGATES:
            raise RecipeError(f"windows.aggregate must be one of {', '.join(AGGREGATES)}, got {shorten(self.aggregate)}")


def split_windows(text: str, tokenizer: Tokenizer, *, max_length: int, overlap: int) -> list[Span]:
    """Return start and end of the windows of a long text: slices that fit the model and together contain all tokens.

    A window ends with a sentence if one ends in its second half, otherwise with a clause, otherwise between two tokens. The
    overlap with the next window begins with a sentence or a clause, otherwise with a word. Each window is encoded as a text of
    its own: encoding ``text[begin:end]`` gives the same ids as the model gets.

    Args:
        text: the original text.
        tokenizer: the model's.
        max_length: maximum number of ids of a window, including those that the tokenizer adds.
        overlap: maximum number of tokens shared with the previous window.
    Returns:
        At least one slice; exactly one if the text fits.
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
        # The rest of a split word may be tokenized into other and more pieces than inside the word.
        ends = (cuts.end(begin, max_tokens) for max_tokens in range(room, 0, -1))
        end = next(end for end in ends if end <= max(done, begin + 1) or fits(begin, end))
        if end > done:
            windows.append((spans[begin][0] if done else 0, cuts.character(end)))
            done = end
            begin = cuts.again(max(begin + 1, end - min(overlap, room // 2)), end)
        else:  # no new token fits after the overlap
            begin = done
    return windows


class _Cuts:
    """Positions where a text may be split, as token indices.

    Args:
        text: the original text.
        spans: start and end of each token.
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
        """Return the offset of a token; the end of the text for the index after the last."""
        return self._spans[index][0] if index < len(self._spans) else len(self._text)

    def end(self, begin: int, max_tokens: int) -> int:
        """Return the end of a window of at most ``max_tokens``: after a sentence, a clause or a word, or else anywhere."""
        end = begin + max_tokens
        if end >= len(self._spans):
            return len(self._spans)
        half = begin + max_tokens // 2
        words = (index for index in range(end, begin, -1) if index not in self._inside)
        return self._whole(_last(self._sentences, half, end) or _last(self._clauses, half, end) or next(words, end), begin)

    def again(self, earliest: int, end: int) -> int:
        """Return the start of the next window: at a sentence or clause of the previous one, else at a word, else after it."""
        words = (index for index in range(earliest, end) if index not in self._inside)
        border = _first(self._sentences, earliest, end) or _first(self._clauses, earliest, end)
        return self._skip(border or next(words, end))

    def _after(self, pattern: re.Pattern[str]) -> list[int]:
        """Return the indices of the tokens right after a match, ascending."""
        found = {bisect.bisect_left(self._firsts, match.end()) for match in pattern.finditer(self._text)}
        return sorted(index for index in found if 0 < index < len(self._firsts))

    def _within_word(self, index: int) -> bool:
        """Return whether a split before a token would divide a word, or the tokens of one character."""
        start = self._spans[index][0]
        return start < self._spans[index - 1][1] or (_joins(self._text[start - 1]) and _joins(self._text[start]))

    def _whole(self, end: int, begin: int) -> int:
        """Move an end so that it does not divide the tokens of one character, and exclude trailing spaces."""
        spans = self._spans
        end = next((index for index in range(end, begin, -1) if spans[index] != spans[index - 1]), end)
        while end < len(spans) and spans[end] == spans[end - 1]:
            end += 1
        return self._skip(end)

    def _skip(self, index: int) -> int:
        """Return the first token from an index on that is not a space: spaces at the ends of a window are not read."""
        while index < len(self._spans) and self._text[slice(*self._spans[index])].isspace():
            index += 1
        return index


def _joins(character: str) -> bool:
    """Return whether a character belongs to words written without spaces between their letters."""
    return character.isalnum() and not "\u2e80" <= character <= "\u9fff" and character < "\U00020000"


def _last(borders: Sequence[int], low: int, high: int) -> int | None:
    """Return the last border after ``low`` and not after ``high``."""
    index = bisect.bisect_right(borders, high) - 1
    return borders[index] if index >= 0 and borders[index] > low else None


def _first(borders: Sequence[int], low: int, high: int) -> int | None:
    """Return the first border not before ``low`` and not after ``high``."""
    index = bisect.bisect_left(borders, low)
    return borders[index] if index < len(borders) and borders[index] <= high else None
