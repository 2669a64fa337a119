"""Which pieces serve Chinese text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

__all__ = ["chinese_pieces"]

_SPACE = "\u2581"
# Radicals, 々〇 and the numerals of Suzhou among them; all blocks of ideographs.
_HAN = re.compile("[\u2e80-\u2fdf\u3005\u3007\u3021-\u3029\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]+")
_LETTERS = re.compile("[A-Za-z]+")
_SIGNS = ("P", "S", "N")
_EMOJI_FORM = "\ufe0f"
_SHORT = 2
# What the whole model makes of "query:" and "passage:", which e5 was trained to see before a text; "ry" stays anyhow.
_OF_PREFIXES = (f"{_SPACE}que", f"{_SPACE}passage")


def chinese_pieces(pieces: Sequence[str]) -> set[int]:
    """Choose the pieces that Chinese text is made of; the others are those of other scripts, and the words of Latin ones.

    A piece stays if, the mark of a space before it aside, it is
    - made of Han characters, simplified, traditional and Japanese alike;
    - made of punctuation, symbols, emoji and numbers, whose digits are ASCII;
    - made of ASCII letters and all capitals, as names and units are (ETF, CD, VIP); or of one or two of them without the
      mark of a space, as they stand within Chinese text, so that any other word can be spelled;
    - that mark alone, or a piece of the prefixes ``query: `` and ``passage: ``.

    Args:
        pieces: all of them, in the order of their numbers.
    Returns:
        the numbers of those that stay.
    """
    return {number for number, piece in enumerate(pieces) if _stays(piece)}


def _stays(piece: str) -> bool:
    text = piece.removeprefix(_SPACE)
    if not text or _HAN.fullmatch(text):
        return bool(piece)
    if piece in _OF_PREFIXES:
        return True
    if _LETTERS.fullmatch(text):
        return text.isupper() or (text == piece and len(piece) <= _SHORT)
    return all(map(_is_sign, text))


def _is_sign(character: str) -> bool:
    if unicodedata.category(character) == "Nd":
        return character.isascii()
    return unicodedata.category(character)[0] in _SIGNS or character == _EMOJI_FORM
