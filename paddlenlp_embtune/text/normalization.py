"""Cleaning text before it is split into tokens."""

from __future__ import annotations

import functools
import re
import unicodedata

from paddlenlp_embtune.text.unicode_classes import BLANKS, CONTROLS, FORMER_CONTROLS, IGNORABLE, RADICALS, regex_class

__all__ = ["CLEANING", "clean", "is_blank"]

CLEANING = 2
"""The cleaning rule of new tokenizers. A bundle records its own; one without a record uses rule 1."""

_SPACE = re.compile(r"\s+")
_LONE = r"\ud800-\udfff"
_SURROGATE = re.compile(f"[{_LONE}]")
_UNWANTED = {1: re.compile(f"[{regex_class(FORMER_CONTROLS)}]"), 2: re.compile(f"[{regex_class(CONTROLS, IGNORABLE)}]")}
_REPLACED = RADICALS | {code: " " for first, last in BLANKS for code in range(first, last + 1)}
_FOLDED = "".join(map(chr, _REPLACED))
_ODD = {
    1: re.compile(f"[{regex_class(FORMER_CONTROLS)}{_LONE}]"),
    2: re.compile(f"[{regex_class(CONTROLS, IGNORABLE)}{_LONE}{_FOLDED}]"),
}
_VISIBLE = re.compile(rf"[^\s{regex_class(CONTROLS, IGNORABLE, BLANKS)}]")
_MAX_MARKS = 30


def clean(text: str, *, lowercase: bool, cleaning: int = CLEANING) -> str:
    """Fold width and case, drop invisible characters, and collapse white space.

    Full-width letters, digits and punctuation become their half-width forms (Unicode NFKC), so that ``ＡＢ，`` and ``AB,``
    are one text. Control characters and Unicode's Default_Ignorable_Code_Point are dropped, radicals become the ideographs
    that they represent, and the empty Braille pattern becomes a space. Lone surrogates become U+FFFD. Of a run of combining
    marks only 30 are kept, because normalization takes time that grows with its square. The result has no line breaks.

    Args:
        text: the original text.
        lowercase: fold case.
        cleaning: the rule: 2, or 1 for older bundles, which drops fewer invisible characters and keeps radicals.
    Source:
        Unicode Standard Annex 15, section 13, for the number 30
    """
    if text.isascii() and text.isprintable():
        folded = text
    else:
        wanted = text
        if _ODD[cleaning].search(text):
            wanted = _UNWANTED[cleaning].sub("", _SURROGATE.sub("\ufffd", text))
            if cleaning > 1:
                wanted = wanted.translate(_REPLACED)
        if len(wanted) > _MAX_MARKS:
            wanted = _marks().sub(lambda run: run[0][:_MAX_MARKS], wanted)
        folded = unicodedata.normalize("NFKC", wanted)
    folded = _SPACE.sub(" ", folded).strip()
    return folded.lower() if lowercase else folded


def is_blank(text: str) -> bool:
    """Return whether a text has no visible character, whichever tokenizer reads it."""
    return _VISIBLE.search(text) is None


@functools.cache
def _marks() -> re.Pattern[str]:
    """Return a pattern for longer runs of combining marks; built on first use, as it checks every character up to U+1FFFF."""
    marks = "".join(character for code in range(0x300, 0x20000) if unicodedata.combining(character := chr(code)))
    return re.compile(f"[{marks}]{{{_MAX_MARKS + 1},}}")
