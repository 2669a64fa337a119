"""Spelling variants of tokens, and a filter for the names of a vector file that could match."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence

from paddlenlp_embtune.embeddings.init._chinese_variants import other_scripts
from paddlenlp_embtune.embeddings.init._edit_distance import EditIndex
from paddlenlp_embtune.embeddings.init.coverage import Origin
from paddlenlp_embtune.errors import VectorError, expected_names

__all__ = [
    "DEFAULT_FALLBACKS",
    "FALLBACKS",
    "MAX_PIECE_LENGTH",
    "RESPELLINGS",
    "check_fallbacks",
    "is_special",
    "respell",
    "spellings",
    "text_of",
    "token_filter",
]

Steps = tuple[str, ...]

# Control tokens of BERT, ERNIE, GPT and SentencePiece vocabularies, such as [CLS], [unused1], <s>, <|im_end|> or <0x0A>.
_SPECIAL = re.compile(r"\[[A-Z]+\d*\]|\[unused\d+\]|</?[A-Za-z]\w*>|<\|[^<>|]+\|>|<0x[0-9A-F]{2}>")
_MARKERS = ("##", "\u2581")
_WIDEN = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
MAX_PIECE_LENGTH = 16
"""Maximum number of characters of a name that is used as a piece of a token."""


def is_special(token: str) -> bool:
    """Return whether a token is a control token rather than text; those are matched by exact name only."""
    return token[:1] in ("[", "<") and _SPECIAL.fullmatch(token) is not None


def text_of(token: str) -> str:
    """Return the text of a piece, without the marker of its position in a word."""
    return next((token[len(mark) :] for mark in _MARKERS if token.startswith(mark) and token != mark), token)


def _cases(text: str) -> Iterable[str]:
    return text.swapcase(), text.lower(), text.upper(), text.title()


def _widths(text: str) -> Iterable[str]:
    return unicodedata.normalize("NFKC", text), text.translate(_WIDEN)


RESPELLINGS: dict[str, tuple[str, Callable[[str], Iterable[str]]]] = {
    "case": (Origin.CASE, _cases),
    "marker": (Origin.MARKER, lambda text: (text_of(text),)),
    "width": (Origin.WIDTH, _widths),
    "script": (Origin.SCRIPT, other_scripts),
}
DEFAULT_FALLBACKS = tuple(RESPELLINGS)
FALLBACKS = (*DEFAULT_FALLBACKS, "subwords", "pieces", "edit")
"""The available fallbacks for tokens without an exact match."""


def check_fallbacks(fallbacks: Sequence[str]) -> tuple[str, ...]:
    """Return the names of fallbacks; raise VectorError unless all are known and unique."""
    if isinstance(fallbacks, str):
        raise VectorError(f"fallbacks must be a list of names, such as [{fallbacks!r}], got the string {fallbacks!r}")
    for at, name in enumerate(fallbacks):
        if name not in FALLBACKS:
            raise VectorError(f"there is no fallback {name!r}; {expected_names(str(name), FALLBACKS)}")
        if name in fallbacks[:at]:
            raise VectorError(f"the fallback {name!r} is listed twice; list each once, in the order to try them")
    return tuple(fallbacks)


def spellings(token: str, fallbacks: Sequence[str] = DEFAULT_FALLBACKS) -> Iterator[tuple[str, str]]:
    """Yield spelling variants of a token with their origins, in the order to try them; special tokens have none.

    Each fallback applies to the token itself and to all variants from earlier fallbacks, so that ``##Ａ`` leads to ``a``.
    """
    forms: dict[str, Steps] = {token: ()}
    for name in fallbacks if not is_special(token) else ():
        if name in RESPELLINGS:
            yield from respell(forms, name)


def respell(forms: dict[str, Steps], name: str) -> Iterator[tuple[str, str]]:
    """Yield the new variants that one fallback makes from the existing ones, and add them to these."""
    origin, change = RESPELLINGS[name]
    for form, steps in list(forms.items()):
        for other in change(form):
            if other and other not in forms and not is_special(other):
                forms[other] = (*steps, origin)
                yield other, " + ".join(forms[other])


def token_filter(tokens: Iterable[str], fallbacks: Sequence[str] = DEFAULT_FALLBACKS) -> Callable[[str], bool]:
    """Return a filter for the names in a vector file that could match one of these tokens.

    A reader calls it once per line, so that only a few of millions of rows are kept; ``match_tokens`` finds the same in them as
    in the whole file.

    Args:
        tokens: all tokens of a vocabulary; for ``initialize_by_transfer``, also those of the model.
        fallbacks: as in ``match_tokens``; ``edit`` costs a set lookup per character of a name, the others one per name.
    Raises:
        VectorError: there is no such fallback.
    """
    names = check_fallbacks(fallbacks)
    held = set(tokens)
    ordinary = [token for token in held if not is_special(token)]
    forms = set(ordinary).union(spelling for token in ordinary for spelling, _ in spellings(token, names))
    held |= forms
    if "pieces" in names:
        texts = set(map(text_of, forms))
        held.update(text[start:end] for text in texts for start, end in _spans(text))
        held.update(spelling for part in set().union(*texts) for spelling, _ in spellings(part, names))
    if "edit" not in names:
        return held.__contains__
    index = EditIndex(map(text_of, ordinary))
    return lambda name: name in held or bool(index.near(name))


def _spans(text: str) -> Iterator[tuple[int, int]]:
    for start in range(len(text)):
        for end in range(start + 1, min(len(text), start + MAX_PIECE_LENGTH) + 1):
            yield start, end
