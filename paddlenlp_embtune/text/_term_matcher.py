"""Finding terms in a text: leftmost first, then longest, never inside a Latin word or a number."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from operator import add

from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.text.normalization import CLEANING, clean
from paddlenlp_embtune.text.vocabulary import PAD, UNK

__all__ = ["MAX_CHARACTERS", "TermMatcher", "clean_term", "unique_terms"]

MAX_CHARACTERS = 64
_RESERVED = (PAD, UNK, "[CLS]", "[SEP]", "[MASK]")


class TermMatcher:
    """Finds terms in cleaned text.

    A term that begins or ends with an ASCII letter or digit is not found next to another one: ``ETF`` is found in
    ``买ETF基金``, but not in ``ETFs``.

    Args:
        terms: cleaned in the same way as the texts.
    """

    def __init__(self, terms: Collection[str]) -> None:
        lengths: dict[str, set[int]] = {}
        for term in terms:
            lengths.setdefault(term[:2], set()).add(len(term))
        self._terms = frozenset(terms)
        # Keyed by the first two characters of a term (or one): this alone rules out most positions of a text.
        self._lengths = {begin: tuple(sorted(found, reverse=True)) for begin, found in lengths.items()}
        self._singles = any(len(term) == 1 for term in terms)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return start and end of each term in a cleaned text, in order and without overlap."""
        lengths, done, found = self._lengths, 0, list[tuple[int, int]]()
        if not lengths:
            return found
        pairs = enumerate(map(add, text, text[1:] + " "))
        if self._singles:
            places = [at for at, begin in pairs if begin in lengths or begin[0] in lengths]
        else:
            places = [at for at, begin in pairs if begin in lengths]
        for at in places:
            if at >= done and (end := self._end(text, at)):
                found.append((at, end))
                done = end
        return found

    def contained(self, text: str) -> set[str]:
        """Return all terms that a cleaned text contains, including those inside or across others."""
        found = set[str]()
        for at, begin in enumerate(map(add, text, text[1:] + " ")):
            if begin in self._lengths or (self._singles and begin[0] in self._lengths):
                for length in (*self._lengths.get(begin, ()), *self._lengths.get(begin[0], ())):
                    part, end = text[at : at + length], at + length
                    if part in self._terms and not _within_word(text, at) and not _within_word(text, end):
                        found.add(part)
        return found

    def _end(self, text: str, at: int) -> int:
        """Return the end of the longest term that begins at an offset; 0 if there is none."""
        if _within_word(text, at):
            return 0
        lengths = self._lengths.get(text[at : at + 2], ())
        for length in (*lengths, *self._lengths.get(text[at], ())) if self._singles else lengths:
            end = at + length
            if text[at:end] in self._terms and end <= len(text) and not _within_word(text, end):
                return end
        return 0


def clean_term(term: str, *, lowercase: bool, number: int, cleaning: int = CLEANING) -> str:
    """Clean a term as texts are cleaned.

    Args:
        term: the original term.
        lowercase: whether texts are case-folded.
        number: its line number, for the message.
        cleaning: the cleaning rule of the texts.
    Raises:
        DataError: it is empty or too long, contains a line break or a lone surrogate, or is the name of a special token.
    """
    cleaned = clean(term, lowercase=lowercase, cleaning=cleaning)
    if len(term.splitlines()) > 1 or any(character in "\r\n" or "\ud800" <= character <= "\udfff" for character in term):
        fault = "contains a line break or a lone surrogate"
    elif not cleaned:
        fault = "is empty"
    elif len(cleaned) > MAX_CHARACTERS:
        fault = f"has {len(cleaned)} characters"
    elif term.strip() in _RESERVED or cleaned in _RESERVED:
        fault = "is the name of a special token"
    else:
        return cleaned
    shown = f"{term[:MAX_CHARACTERS]!r}{'...' if len(term) > MAX_CHARACTERS else ''}"
    raise DataError(
        f"line {number}: the term {shown} {fault}; a term must be 1 to {MAX_CHARACTERS} characters on one line; fix it"
    )


def unique_terms(terms: Iterable[str], *, lowercase: bool, cleaning: int = CLEANING) -> tuple[str, ...]:
    """Clean terms and drop duplicates.

    Raises:
        DataError: as ``clean_term`` does.
    """
    cleaned = (clean_term(term, lowercase=lowercase, number=n, cleaning=cleaning) for n, term in enumerate(terms, start=1))
    return tuple(dict.fromkeys(cleaned))


def _within_word(text: str, at: int) -> bool:
    """Return whether an offset has an ASCII letter or digit on both sides."""
    if not 0 < at < len(text):
        return False
    before, after = text[at - 1], text[at]
    return before.isascii() and before.isalnum() and after.isascii() and after.isalnum()
