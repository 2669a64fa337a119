"""Traditional and simplified Chinese characters, from the tables of OpenCC (see assets/scripts/NOTICE)."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from pathlib import Path

__all__ = ["other_scripts", "to_simplified", "to_traditional"]

_TABLE = Path(__file__).parent.parent.parent / "assets" / "scripts" / "traditional_simplified.txt"
_MAX_VARIANTS = 16


def to_simplified(text: str) -> str:
    """Convert every traditional character to its simplified form, which is unique."""
    return text.translate(_tables()[0])


def to_traditional(text: str) -> tuple[str, ...]:
    """Return the possible traditional forms of a simplified text, most common first, at most 16.

    Conversion is per character: which form of ``干`` is right depends on the meaning of the word, so all are returned.
    """
    forms = _tables()[1]
    choices = itertools.product(*(forms.get(character, character) for character in text))
    return tuple("".join(choice) for choice in itertools.islice(choices, _MAX_VARIANTS))


def other_scripts(text: str) -> tuple[str, ...]:
    """Return the variants of a text in the other script: the simplified one, then the traditional ones; may be empty."""
    simplified, forms = _tables()
    if not any(ord(character) in simplified or character in forms for character in text):
        return ()
    found = dict.fromkeys((to_simplified(text), *to_traditional(text)))
    return tuple(other for other in found if other != text)


@functools.cache
def _tables() -> tuple[Mapping[int, str], Mapping[str, str]]:
    """Return the mapping from traditional code points to simplified characters, and from these to traditional ones."""
    simplified: dict[int, str] = {}
    forms: dict[str, str] = {}
    for line in _TABLE.read_text(encoding="utf-8").splitlines():
        character, _, traditional = line.partition("\t")
        forms[character] = traditional
        simplified.update((ord(other), character) for other in traditional if other != character)
    return simplified, forms
