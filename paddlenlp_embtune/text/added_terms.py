"""Domain terms added to a trained model's tokenizer as new tokens, with ids after the existing ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.text._offsets import is_aligned, locate, parts_of
from paddlenlp_embtune.text._term_matcher import TermMatcher, clean_term
from paddlenlp_embtune.text.base import Tokenizer, TokenizerOnBase
from paddlenlp_embtune.text.normalization import CLEANING, clean
from paddlenlp_embtune.text.vocabulary import Vocabulary

__all__ = ["AddedTerms", "TermTokenizer", "add_terms"]


@dataclasses.dataclass(frozen=True)
class TermTokenizer(TokenizerOnBase):
    """Finds added terms in a text, and tokenizes the rest with another tokenizer.

    Terms are searched in the cleaned text, case-folded if the other tokenizer folds case: leftmost first, then longest, never
    inside a Latin word or a number, and never starting or ending inside a character of the original text. The text between
    two terms is tokenized on its own, so spaces beside a term are dropped. A text without terms gets the same ids as before.

    Args:
        base: the original tokenizer; its ids stay.
        terms: cleaned, unique, none of them a token of ``base``; their ids follow those of ``base``.
        cleaning: the cleaning rule for finding terms, see :func:`paddlenlp_embtune.text.clean`; that of ``base`` if it has one.
    Raises:
        DataError: a term is invalid, or already in the vocabulary.
    """

    terms: tuple[str, ...]
    cleaning: int = CLEANING

    def __post_init__(self) -> None:
        if isinstance(self.base, TermTokenizer):
            raise DataError(
                "the base tokenizer must not have added terms itself; pass one list of terms, or add more with add_terms"
            )
        object.__setattr__(self, "cleaning", getattr(self.base, "cleaning", self.cleaning))
        for number, term in enumerate(self.terms, start=1):
            if clean_term(term, lowercase=self.lowercase, number=number, cleaning=self.cleaning) != term:
                raise DataError(
                    f"line {number}: the term {term!r} is not cleaned as texts are; use add_terms, which cleans terms"
                )
            if term in self.base.vocabulary:
                raise DataError(f"line {number}: the term {term!r} is already a token; remove it")
        if len(set(self.terms)) != len(self.terms):
            raise DataError(f"the {len(self.terms)} terms contain duplicates; use add_terms, which drops them")
        self.vocabulary  # noqa: B018 - made now, not at the first text

    def __getstate__(self) -> dict[str, Any]:
        return {"base": self.base, "terms": self.terms, "cleaning": self.cleaning}

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The tokens of ``base``, followed by the terms."""
        return Vocabulary([*self.base.vocabulary.tokens, *self.terms])

    def tokens(self, text: str) -> list[str]:
        """Split a text into terms and the tokens between them."""
        found: list[str] = []
        for begin, end, term in self._parts(text):
            found += [term] if term else self.base.tokens(text[begin:end])
        return found

    def encode(self, text: str, *, max_length: int | None = None) -> list[int]:
        """Encode a text as at most ``max_length`` ids; empty if the text has no token.

        Raises:
            DataError: ``max_length`` is too small for a single token.
        """
        fixed = len(self.prefix) + len(self.suffix)
        cleaned = clean(text, lowercase=self.lowercase, cleaning=self.cleaning)
        spans, straight = self._spans(text, cleaned)
        # Encode characters and words from the cleaned text where that is equivalent: cleaning is most of the work.
        direct = getattr(self.base, "encode_cleaned", None)
        if not spans or (max_length is not None and max_length <= fixed):
            return direct(cleaned, max_length=max_length) if direct else self.base.encode(text, max_length=max_length)
        ids, own = self.vocabulary.ids, list[int]()
        for begin, end, term in parts_of(text, spans):
            room = None if max_length is None else max_length - len(own)
            if room is not None and room <= fixed:
                break
            if term:
                own.append(ids[term])
            elif direct and straight:
                own += direct(cleaned[begin:end].strip(" "), max_length=room)
            else:
                read = self.base.encode(text[begin:end], max_length=room)
                own += read[len(self.prefix) : len(read) - len(self.suffix)]
        return [*self.prefix, *own, *self.suffix]

    def offsets(self, text: str, *, limit: int | None = None) -> list[tuple[int, int]]:
        """Return the spans (start, end) of the first ``limit`` tokens in a text; None returns all."""
        offsets: list[tuple[int, int]] = []
        for begin, end, term in self._parts(text):
            room = None if limit is None else limit - len(offsets)
            if room is not None and room <= 0:
                break
            if term:
                offsets.append((begin, end))
            else:
                inside = self.base.offsets(text[begin:end], limit=room)
                offsets += [(begin + first, begin + last) for first, last in inside] if begin else inside
        return offsets

    def config(self) -> dict[str, Any]:
        """Return the options for rebuilding this tokenizer from the same vocabulary and files."""
        return {"name": "terms", "count": len(self.terms), "base": self.base.config(), "cleaning": self.cleaning}

    def files(self) -> Mapping[str, bytes]:
        """Return the files that ``base`` needs besides its vocabulary."""
        return self.base.files()

    @cached_property
    def _matcher(self) -> TermMatcher:
        return TermMatcher(self.terms)

    def _spans(self, text: str, cleaned: str) -> tuple[list[tuple[int, int, str]], bool]:
        """Return start, end and name of each term in the original text, and whether offsets in the cleaned text are equal."""
        found = self._matcher.spans(cleaned)
        if not found:
            return [], True
        if is_aligned(text, cleaned, lowercase=self.lowercase, cleaning=self.cleaning):
            return [(begin, end, cleaned[begin:end]) for begin, end in found], True
        offsets = locate(text, lowercase=self.lowercase, cleaning=self.cleaning)
        named = [
            (offsets[begin][0], offsets[end - 1][1], cleaned[begin:end])
            for begin, end in found
            if (begin == 0 or offsets[begin - 1] != offsets[begin])
            and (end == len(offsets) or offsets[end - 1] != offsets[end])
        ]
        return named, False

    def _parts(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Split a text into terms and the stretches between them, whose name is empty."""
        return parts_of(text, self._spans(text, clean(text, lowercase=self.lowercase, cleaning=self.cleaning))[0])


@dataclasses.dataclass(frozen=True)
class AddedTerms:
    """The outcome of adding terms.

    Args:
        added: new tokens, in the order of their ids.
        known: terms that were tokens already.
        repeated: duplicates, without their first occurrence.
    """

    added: tuple[str, ...]
    known: tuple[str, ...]
    repeated: tuple[str, ...]


def add_terms(tokenizer: Tokenizer, terms: Sequence[str]) -> tuple[TermTokenizer, AddedTerms]:
    """Add terms to a tokenizer after its last id; existing ids stay, and terms that are tokens already are skipped.

    Args:
        tokenizer: any tokenizer; if it has added terms, they are kept.
        terms: one per line of the user's list; cleaned as texts are.
    Raises:
        DataError: a term is empty or too long, contains a line break, or is a single character with an id; names the line.
    """
    added: dict[str, None] = {}
    known: dict[str, None] = {}
    repeated: list[str] = []
    cleaning = getattr(tokenizer, "cleaning", CLEANING)
    for number, given in enumerate(terms, start=1):
        term = clean_term(given, lowercase=tokenizer.lowercase, number=number, cleaning=cleaning)
        if len(term) == 1 and term in tokenizer.vocabulary:
            raise DataError(
                f"line {number}: the term {term!r} is a single character that already has an id; a term must have two "
                "characters or more, or be an unknown character; remove it"
            )
        if term in added or term in known:
            repeated.append(term)
        elif term in tokenizer.vocabulary:
            known[term] = None
        else:
            added[term] = None
    former = tokenizer if isinstance(tokenizer, TermTokenizer) else TermTokenizer(tokenizer, ())
    extended = TermTokenizer(former.base, (*former.terms, *added), former.cleaning)
    return extended, AddedTerms(tuple(added), tuple(known), tuple(repeated))
