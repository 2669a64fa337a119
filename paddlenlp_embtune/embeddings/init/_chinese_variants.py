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
    """Return the text with every traditional character in its simplified form; there is one for each."""
    return text.translate(_tables()[0])


def to_traditional(text: str) -> tuple[str, ...]:
    """Return what a simplified text may be in traditional script, the most usual first, at most 16.

    Character by character: which of the forms of ``干`` a word takes, only its meaning says, so all are offered.
    """
    forms = _tables()[1]
    choices = itertools.product(*(forms.get(character, character) for character in text))
    return tuple("".join(choice) for choice in itertools.islice(choices, _MAX_VARIANTS))


def other_scripts(text: str) -> tuple[str, ...]:
    """Return the other spellings of a text, first the simplified, then the traditional ones; none where there are none."""
    simplified, forms = _tables()
    if not any(ord(character) in simplified or character in forms for character in text):
        return ()
    found = dict.fromkeys((to_simplified(text), *to_traditional(text)))
    return tuple(other for other in found if other != text)


@functools.cache
def _tables() -> tuple[Mapping[int, str], Mapping[str, str]]:
    """From code points of traditional characters to the simplified one, and from a simplified one to its traditional ones."""
    simplified: dict[int, str] = {}
    forms: dict[str, str] = {}
    for line in _TABLE.read_text(encoding="utf-8").splitlines():
        character, _, traditional = line.partition("\t")
        forms[character] = traditional
        simplified.update((ord(other), character) for other in traditional if other != character)
    return simplified, forms
