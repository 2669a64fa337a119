"""Cleaning steps that a recipe states, which change a text before it is split into tokens.

They come before the rules of :func:`paddlenlp_embtune.text.clean`, which tokenizers of characters and words follow anyway.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence

from paddlenlp_embtune.text._mojibake import HAN, LATIN, LOST, RUN, mojibake_edits
from paddlenlp_embtune.text.unicode_classes import CONTROLS, IGNORABLE, describe_ranges, regex_class

__all__ = ["CLEANING_STEPS", "apply_cleaning", "cleaning_edits", "describe_cleaning", "trace_cleaning"]

Edit = tuple[int, int, str]
"""Start and end of a stretch of a text, and what replaces it."""
Span = tuple[int, int]

_ROUNDS = 4  # of all steps: an escaped tag becomes a tag
_INLINE = "a|abbr|b|big|code|em|font|i|ins|label|mark|q|s|small|span|strike|strong|sub|sup|tt|u"
_BLOCKS = (
    "article|aside|audio|blockquote|body|br|button|center|dd|div|dl|dt|embed|figure|footer|form|h[1-6]|head|header|hr|html|iframe"
    "|img|input|li|link|main|meta|nav|object|ol|option|p|param|pre|script|section|select|source|style|svg|table|tbody|td|textarea"
    "|tfoot|th|thead|title|tr|ul|video|o:p|st1:[a-z]+|v:[a-z]+|w:[a-z]+"
)
_MARKUP = re.compile(
    rf"(?P<inline></?(?:{_INLINE})(?:\s[^<>]*)?/?>)"
    r"|(?P<entity>&(?:[a-z]{2,8}\d?|\#\d{1,7}|\#x[0-9a-f]{1,6});)"
    r"|<!--.*?-->"
    r"|<(?P<whole>script|style)\b[^<>]*>.*?</(?P=whole)\s*>"
    rf"|</?(?:{_BLOCKS})(?:\s[^<>]*)?/?>",
    re.DOTALL | re.IGNORECASE,
)
_URL = re.compile(r"(?:https?://|www\.)[!#-;=?-Z_a-z~]+", re.IGNORECASE)
_MENTION = re.compile(r"(?://\s*|回复\s*)?@[\w\-·]{1,30}(?:\s?[:：])?")
_CONTROL = re.compile(rf"[{regex_class(CONTROLS, IGNORABLE)}\ud800-\udfff]+")
_WIDE = re.compile("[\u3000\uff01-\uffee]")


def _markup(text: str) -> Iterator[Edit]:
    for match in _MARKUP.finditer(text) if "<" in text or "&" in text else ():
        replaced = html.unescape(match[0]) if match["entity"] else "" if match["inline"] else " "
        if replaced != match[0]:
            yield match.start(), match.end(), replaced


def _substituted(pattern: re.Pattern[str], replacement: str, mark: str = "") -> Callable[[str], Iterator[Edit]]:
    def edits(text: str) -> Iterator[Edit]:
        for match in pattern.finditer(text) if mark in text else ():
            yield match.start(), match.end(), replacement

    return edits


def _width(text: str) -> Iterator[Edit]:
    for match in _WIDE.finditer(text) if not text.isascii() else ():
        if (folded := unicodedata.normalize("NFKC", match[0])) != match[0]:
            yield match.start(), match.end(), folded


_STEPS: dict[str, Callable[[str], Iterator[Edit]]] = {
    "mojibake": mojibake_edits,
    "controls": _substituted(_CONTROL, ""),
    "markup": _markup,
    "urls": _substituted(_URL, " "),
    "mentions": _substituted(_MENTION, " ", "@"),
    "width": _width,
}


def _ascii(pattern: re.Pattern[str]) -> str:
    """Write a pattern with escapes in place of what is not ASCII or cannot be seen."""
    return "`" + pattern.pattern.encode("ascii", "backslashreplace").decode("ascii") + "`"


CLEANING_STEPS: dict[str, str] = {
    "mojibake": "repair UTF-8 that was read as Windows-1252 or GBK; drop U+FFFD, 锟斤拷 and 烫烫烫",
    "controls": "drop control characters, invisible characters and lone surrogates",
    "markup": "drop HTML tags within words, replace other tags and comments by a space, and entities by their characters",
    "urls": "replace addresses that begin with http://, https:// or www. by a space",
    "mentions": "replace @names, also behind // or 回复, by a space",
    "width": "replace full-width letters, digits and signs, and the full-width space, by their usual forms",
}
"""Each step with what it does, in the order in which they are best applied."""


_RULES: dict[str, tuple[str, ...]] = {
    "mojibake": (
        "In a text with a character beyond ASCII, look for three patterns in the text as it is; where matches overlap, the "
        "first counts, of those that begin alike the longest.",
        f"{_ascii(LOST)}: remove it.",
        f"{_ascii(LATIN)}: take each character as a byte (its code point, or its byte in Windows-1252), and read the bytes as "
        "UTF-8; leave it where they are none.",
        f"{_ascii(RUN)}: read its bytes in GB18030 as UTF-8; leave it where they are none, or where less than 0.6 of the "
        f"result matches {_ascii(HAN)}.",
    ),
    "controls": (f"Remove {describe_ranges(tuple(sorted((*CONTROLS, *IGNORABLE))))} and lone surrogates.",),
    "markup": (
        f"Find {_ascii(_MARKUP)}, without regard to case and with dots that match line ends. Replace the group `inline` by "
        "nothing, `entity` by the text that it stands for in HTML 5, if it is one, and all else by U+0020.",
    ),
    "urls": (f"Replace {_ascii(_URL)}, without regard to case, by U+0020.",),
    "mentions": (f"Replace {_ascii(_MENTION)} by U+0020.",),
    "width": (f"Replace each {_ascii(_WIDE)} by its Unicode NFKC form.",),
}


def cleaning_edits(text: str, step: str) -> list[Edit]:
    """Return what one step changes in a text: disjoint stretches in order, and what replaces each."""
    return list(_STEPS[step](text))


def describe_cleaning(step: str) -> tuple[str, ...]:
    """Describe a step exactly enough to write it again in another language, in one line or more."""
    return _RULES[step]


def apply_cleaning(text: str, steps: Sequence[str]) -> str:
    """Apply steps in order, and again until nothing changes, at most four times; a cleaned text stays as it is."""
    for _ in range(_ROUNDS):
        before = text
        for step in steps:
            if edits := cleaning_edits(text, step):
                text = _replaced(text, edits)
        if text == before:
            break
    return text


def trace_cleaning(text: str, steps: Sequence[str]) -> tuple[str, list[Span] | None]:
    """Apply steps, and return for each character of the result the span that it comes from; None where nothing changed.

    Characters that replace one stretch share its span.
    """
    spans: list[Span] | None = None
    for _ in range(_ROUNDS):
        before = text
        for step in steps:
            if edits := cleaning_edits(text, step):
                spans = _traced(spans if spans is not None else [(at, at + 1) for at in range(len(text))], edits)
                text = _replaced(text, edits)
        if text == before:
            break
    return text, spans


def _replaced(text: str, edits: Sequence[Edit]) -> str:
    parts, done = list[str](), 0
    for begin, end, new in edits:
        parts += (text[done:begin], new)
        done = end
    return "".join([*parts, text[done:]])


def _traced(spans: Sequence[Span], edits: Sequence[Edit]) -> list[Span]:
    traced, done = list[Span](), 0
    for begin, end, new in edits:
        traced += spans[done:begin]
        traced += [(spans[begin][0], spans[end - 1][1])] * len(new)
        done = end
    return [*traced, *spans[done:]]
