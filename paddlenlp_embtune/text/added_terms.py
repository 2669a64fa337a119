"""Terms added to a tokenizer that a model was trained with: tokens of their own, behind all the ids that there are."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.text._offsets import is_aligned, locate, parts_of
from paddlenlp_embtune.text._term_matcher import TermMatcher, clean_term
from paddlenlp_embtune.text.base import Tokenizer
from paddlenlp_embtune.text.normalization import CLEANING, clean
from paddlenlp_embtune.text.vocabulary import Vocabulary

__all__ = ["AddedTerms", "TermTokenizer", "add_terms"]


@dataclasses.dataclass(frozen=True)
class TermTokenizer:
    """Finds added terms in a text, and lets another tokenizer read what is between them.

    Terms are found in the text as ``clean`` makes it, case folded where the other tokenizer folds it: the leftmost first, of
    those the longest, none within a word of Latin letters or a number, and none that begins or ends within a character as
    given. What is between two terms is read as if it were a text of its own, so spaces beside a term are dropped. A text
    without terms gets the ids that it had.

    Args:
        base: the tokenizer as it was; its ids stay.
        terms: cleaned, none of them a token of ``base``, each once; their ids follow those of ``base``.
        cleaning: the rule that terms are found by, see :func:`paddlenlp_embtune.text.clean`; that of ``base``, if it has one.
    Raises:
        DataError: a term is not valid, or stands in the vocabulary already.
    """

    base: Tokenizer
    terms: tuple[str, ...]
    cleaning: int = CLEANING

    def __post_init__(self) -> None:
        if isinstance(self.base, TermTokenizer):
            raise DataError(
                "terms cannot be added on top of added terms; expected one list of terms; use extend to lengthen it"
            )
        object.__setattr__(self, "cleaning", getattr(self.base, "cleaning", self.cleaning))
        for number, term in enumerate(self.terms, start=1):
            if clean_term(term, lowercase=self.lowercase, number=number, cleaning=self.cleaning) != term:
                raise DataError(f"line {number}: the term {term!r} is not clean; expected as texts are cleaned; use extend")
            if term in self.base.vocabulary:
                raise DataError(f"line {number}: the term {term!r} is a token already; expected new terms; leave it out")
        if len(set(self.terms)) != len(self.terms):
            raise DataError(f"of the {len(self.terms)} terms some stand there twice; expected each once; use extend")
        self.vocabulary  # noqa: B018 - made now, not at the first text

    def __getstate__(self) -> dict[str, Any]:
        return {"base": self.base, "terms": self.terms, "cleaning": self.cleaning}

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The tokens of ``base``, then the terms."""
        return Vocabulary([*self.base.vocabulary.tokens, *self.terms])

    @property
    def lowercase(self) -> bool:
        """Whether case is folded before anything is looked up."""
        return self.base.lowercase

    @property
    def prefix(self) -> tuple[int, ...]:
        """The ids that ``encode`` puts before those of a text."""
        return self.base.prefix

    @property
    def suffix(self) -> tuple[int, ...]:
        """The ids that ``encode`` puts after those of a text."""
        return self.base.suffix

    def tokens(self, text: str) -> list[str]:
        """Cut a text into terms and the tokens of what is between them."""
        found: list[str] = []
        for begin, end, term in self._parts(text):
            found += [term] if term else self.base.tokens(text[begin:end])
        return found

    def encode(self, text: str, *, max_length: int | None = None) -> list[int]:
        """Turn a text into at most ``max_length`` ids; none where there is no own token.

        Raises:
            DataError: ``max_length`` leaves no room for a token.
        """
        fixed = len(self.prefix) + len(self.suffix)
        cleaned = clean(text, lowercase=self.lowercase, cleaning=self.cleaning)
        spans, straight = self._spans(text, cleaned)
        # Characters and words are read from the cleaned text, where it is the same: cleaning is most of the work.
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
        """Find where in a text its first ``limit`` tokens come from, begin and end; None finds all."""
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
        """Return the options that rebuild this tokenizer on the same vocabulary and files."""
        return {"name": "terms", "count": len(self.terms), "base": self.base.config(), "cleaning": self.cleaning}

    def files(self) -> Mapping[str, bytes]:
        """Return what ``base`` needs beside its vocabulary."""
        return self.base.files()

    @cached_property
    def _matcher(self) -> TermMatcher:
        return TermMatcher(self.terms)

    def _spans(self, text: str, cleaned: str) -> tuple[list[tuple[int, int, str]], bool]:
        """Begin, end and name of each term in a text as given; and whether places in the cleaned text are the same."""
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
        """Cut a text into terms and the stretches between them, whose name is empty."""
        return parts_of(text, self._spans(text, clean(text, lowercase=self.lowercase, cleaning=self.cleaning))[0])


@dataclasses.dataclass(frozen=True)
class AddedTerms:
    """What became of terms that were to be added.

    Args:
        added: new tokens, in the order of their ids.
        known: those that were tokens already.
        repeated: those that stood there more than once, without their first time.
    """

    added: tuple[str, ...]
    known: tuple[str, ...]
    repeated: tuple[str, ...]


def add_terms(tokenizer: Tokenizer, terms: Sequence[str]) -> tuple[TermTokenizer, AddedTerms]:
    """Add terms to a tokenizer behind its last id; old ids stay, and terms that are tokens already are left out.

    Args:
        tokenizer: any; one with added terms gets more of them.
        terms: one a line of the user's list; cleaned as texts are.
    Raises:
        DataError: a term is empty or too long, breaks the line, or is a single character that has an id; with its line number.
    """
    added: dict[str, None] = {}
    known: dict[str, None] = {}
    repeated: list[str] = []
    cleaning = getattr(tokenizer, "cleaning", CLEANING)
    for number, given in enumerate(terms, start=1):
        term = clean_term(given, lowercase=tokenizer.lowercase, number=number, cleaning=cleaning)
        if len(term) == 1 and term in tokenizer.vocabulary:
            raise DataError(
                f"line {number}: the term {term!r} is a single character that has an id; expected terms of two characters or "
                "more, or an unknown character; leave it out"
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
