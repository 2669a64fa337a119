"""Cleaning text before it is cut into tokens."""

from __future__ import annotations

import functools
import re
import unicodedata

__all__ = ["clean"]

_SPACE = re.compile(r"\s+")
# Control characters but white space, and everything that takes no room: joiners, marks of direction, soft hyphens.
_NO_ROOM = (
    r"\u0000-\u0008\u000e-\u001b\u007f-\u0084\u0086-\u009f\u00ad\u061c\u180e"
    r"\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufffe\uffff"
)
_UNWANTED, _SURROGATE = re.compile(f"[{_NO_ROOM}]"), re.compile(r"[\ud800-\udfff]")
_ODD = re.compile(rf"[{_NO_ROOM}\ud800-\udfff]")
_MOST_MARKS = 30


def clean(text: str, *, lowercase: bool) -> str:
    """Fold width and case, drop control and zero-width characters, and make every run of white space one space.

    Full-width letters, digits and punctuation become their half-width twins (Unicode NFKC), so that ``ＡＢ，`` and ``AB,``
    are one text. Lone surrogates become U+FFFD. Of a run of combining marks the first 30 are kept, for normalization takes
    time that grows with its square. The result never holds a line break.

    Source:
        Unicode Standard Annex 15, section 13, for the number 30
    """
    if text.isascii() and text.isprintable():
        folded = text
    else:
        wanted = _UNWANTED.sub("", _SURROGATE.sub("\ufffd", text)) if _ODD.search(text) else text
        if len(wanted) > _MOST_MARKS:
            wanted = _marks().sub(lambda run: run[0][:_MOST_MARKS], wanted)
        folded = unicodedata.normalize("NFKC", wanted)
    folded = _SPACE.sub(" ", folded).strip()
    return folded.lower() if lowercase else folded


@functools.cache
def _marks() -> re.Pattern[str]:
    """Match longer runs of combining marks; made at first use, for it asks about every character up to U+1FFFF."""
    marks = "".join(character for code in range(0x300, 0x20000) if unicodedata.combining(character := chr(code)))
    return re.compile(f"[{marks}]{{{_MOST_MARKS + 1},}}")
