"""Texts of a page and of its figures: what can be shown, and how numbers are written."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["format_bytes", "plural", "printable"]

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")


def printable(text: str) -> str:
    """Replace control characters and lone surrogates by U+FFFD; write an invisible text as its code points."""
    cleaned = _CONTROL.sub("\ufffd", text)
    if cleaned and not any(_is_visible(character) for character in cleaned):
        return " ".join(f"U+{ord(character):04X}" for character in cleaned[:4])
    return cleaned


def _is_visible(character: str) -> bool:
    return not character.isspace() and unicodedata.category(character) not in ("Cc", "Cf", "Mc", "Me", "Mn")


def format_bytes(number: float) -> str:
    """Write a number of bytes with its unit, such as 1.5 MiB."""
    for unit in ("bytes", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"


def plural(number: int, noun: str) -> str:
    """Write a count with its noun: 1 row, 2,000 rows, 3 batches."""
    if number == 1:
        return f"1 {noun}"
    return f"{number:,} {noun}{'es' if noun.endswith('ch') else 's'}"
