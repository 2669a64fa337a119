"""Word tokens: jieba's dictionary plus user terms that are always kept whole."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import Any, ClassVar

from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.text._offsets import append_span, locate
from paddlenlp_embtune.text._term_matcher import TermMatcher, unique_terms
from paddlenlp_embtune.text.base import NO_FILES
from paddlenlp_embtune.text.jieba_segmenter import WordCutter, dictionary_sha256, word_cutter
from paddlenlp_embtune.text.normalization import CLEANING, clean
from paddlenlp_embtune.text.vocabulary import Vocabulary

__all__ = ["USER_DICTIONARY", "WordTokenizer", "read_user_terms"]

USER_DICTIONARY = "user_dictionary.txt"
# Upper bound for merged spans: an original character becomes at most 18, and may join others.
_MARGIN = 64


@dataclasses.dataclass(frozen=True)
class WordTokenizer:
    """Splits cleaned text into words.

    User terms are matched first, leftmost and longest, and are always words; jieba's dictionary splits the text between them. A
    space is a word. With ``split_unknown``, a word without an id is split into its characters. The words depend on jieba's
    dictionary, so its SHA-256 is part of the config, and any other dictionary is rejected.

    Args:
        vocabulary: the words that have ids.
        lowercase: fold case first.
        user_terms: kept whole; cleaned as texts are, duplicates dropped.
        hmm: guess words that are not in the dictionary, as jieba does by default.
        split_unknown: split words without an id into their characters.
        dictionary_sha256: expected hash of jieba's dictionary; None accepts the installed one.
        cleaning: the cleaning rule, see :func:`paddlenlp_embtune.text.clean`.
    Raises:
        MissingDependencyError: jieba is not installed.
        DataError: jieba's dictionary has another hash, or a term is invalid.
    """

    prefix: ClassVar[tuple[int, ...]] = ()
    suffix: ClassVar[tuple[int, ...]] = ()

    vocabulary: Vocabulary
    lowercase: bool = True
    user_terms: tuple[str, ...] = ()
    hmm: bool = False
    split_unknown: bool = True
    dictionary_sha256: str | None = None
    cleaning: int = CLEANING

    def __post_init__(self) -> None:
        found = dictionary_sha256(hmm=self.hmm)
        if self.dictionary_sha256 not in (None, found):
            from importlib.metadata import version  # slow to import, and rarely needed

            raise DataError(
                f"the SHA-256 of jieba's dictionary must be {str(self.dictionary_sha256)[:12]}..., as when the tokenizer was "
                f"created, got {found[:12]}... from jieba {version('jieba')}; install the version of jieba that the tokenizer "
                "was created with"
            )
        object.__setattr__(self, "dictionary_sha256", found)
        object.__setattr__(self, "user_terms", unique_terms(self.user_terms, lowercase=self.lowercase, cleaning=self.cleaning))
        word_cutter(hmm=self.hmm)  # load the dictionary now, not at the first text

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def tokens(self, text: str) -> list[str]:
        """Split a text into words, and with ``split_unknown`` unknown words into characters."""
        return list(self._tokens(clean(text, lowercase=self.lowercase, cleaning=self.cleaning)))

    def encode(self, text: str, *, max_length: int | None = None) -> list[int]:
        """Encode a text as the ids of its first ``max_length`` words."""
        return self.encode_cleaned(clean(text, lowercase=self.lowercase, cleaning=self.cleaning), max_length=max_length)

    def encode_cleaned(self, cleaned: str, *, max_length: int | None = None) -> list[int]:
        """Encode a cleaned text as the ids of its first ``max_length`` words."""
        ids, unknown = self.vocabulary.ids, self.vocabulary.unknown_id
        return [ids.get(token, unknown) for token in islice(self._tokens(cleaned), max_length)]

    def offsets(self, text: str, *, limit: int | None = None) -> list[tuple[int, int]]:
        """Return the spans (start, end) of the first ``limit`` words in the original text."""
        cleaned = clean(text, lowercase=self.lowercase, cleaning=self.cleaning)
        lengths = list(map(len, islice(self._tokens(cleaned), limit and limit + _MARGIN)))
        needed = None if limit is None else sum(lengths)
        characters = locate(text, lowercase=self.lowercase, cleaning=self.cleaning, limit=needed)
        spans, first = list[tuple[int, int]](), 0
        for length in lengths:
            end = first + length
            append_span(spans, characters[first][0], characters[end - 1][1])
            first = end
        return spans[:limit]

    def config(self) -> dict[str, Any]:
        """Return the options for rebuilding this tokenizer from the same vocabulary and files."""
        return {
            "name": "word",
            "lowercase": self.lowercase,
            "cleaning": self.cleaning,
            "hmm": self.hmm,
            "split_unknown": self.split_unknown,
            "user_terms": len(self.user_terms),
            "dictionary_sha256": self.dictionary_sha256,
        }

    def files(self) -> Mapping[str, bytes]:
        """Return the user terms, one per line, if there are any."""
        if not self.user_terms:
            return NO_FILES
        return {USER_DICTIONARY: "".join(f"{term}\n" for term in self.user_terms).encode("utf-8")}

    @staticmethod
    def count(texts: Iterable[str], *, lowercase: bool, user_terms: Sequence[str] = (), hmm: bool = False) -> Counter[str]:
        """Count the words of texts, split as this tokenizer splits them."""
        cutter, matcher = word_cutter(hmm=hmm), TermMatcher(unique_terms(user_terms, lowercase=lowercase))
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(_words(clean(text, lowercase=lowercase), cutter, matcher))
        return counts

    @cached_property
    def _cutter(self) -> WordCutter:
        return word_cutter(hmm=self.hmm)

    @cached_property
    def _matcher(self) -> TermMatcher:
        return TermMatcher(self.user_terms)

    def _tokens(self, cleaned: str) -> Iterator[str]:
        words = _words(cleaned, self._cutter, self._matcher)
        if not self.split_unknown:
            yield from words
            return
        known = self.vocabulary.ids
        for word in words:
            if word in known:
                yield word
            else:
                yield from word


def read_user_terms(content: bytes) -> tuple[str, ...]:
    """Read the user terms that ``WordTokenizer.files`` returned.

    Raises:
        DataError: it is not UTF-8.
    """
    try:
        lines = content.decode("utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{USER_DICTIONARY} is not UTF-8 (byte {error.start}); it must have one term per line; restore it"
        ) from None
    return tuple(lines)


def _words(cleaned: str, cutter: WordCutter, matcher: TermMatcher) -> Iterator[str]:
    done = 0
    for begin, end in matcher.spans(cleaned):
        yield from cutter.cut(cleaned[done:begin])
        yield cleaned[begin:end]
        done = end
    yield from cutter.cut(cleaned[done:] if done else cleaned)
