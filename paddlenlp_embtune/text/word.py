"""Words as tokens: jieba's dictionary, and terms of the user's that are always kept whole."""

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
# What a place may at most share with its neighbours: a character as given becomes 18 at most, and joins further ones.
_MARGIN = 64


@dataclasses.dataclass(frozen=True)
class WordTokenizer:
    """Cuts text into words after cleaning it.

    The user's terms are found first, from the left, the longest first, and always are words; jieba's dictionary cuts what is
    between them. A space is a word. With ``split_unknown``, a word without an id is cut into its characters. What the words
    are depends on jieba's dictionary, so its SHA-256 is part of the config, and another one is refused.

    Args:
        vocabulary: the words that have ids.
        lowercase: fold case first.
        user_terms: kept whole; cleaned as texts are, repeated ones dropped.
        hmm: guess at words that the dictionary lacks, as jieba does by default.
        split_unknown: cut words without an id into their characters.
        dictionary_sha256: what jieba's dictionary must be; None takes what is installed.
        cleaning: the rule that texts are cleaned by, see :func:`paddlenlp_embtune.text.clean`.
    Raises:
        MissingDependencyError: jieba is not installed.
        DataError: jieba's dictionary is another one, or a term is not valid.
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
            from importlib.metadata import version  # slow to load, and hardly ever needed

            raise DataError(
                f"the words were cut with the jieba dictionary {str(self.dictionary_sha256)[:12]}..., the one of the jieba "
                f"{version('jieba')} installed here is {found[:12]}...; expected the same dictionary; install "
                "the version of jieba that the tokenizer was made with"
            )
        object.__setattr__(self, "dictionary_sha256", found)
        object.__setattr__(self, "user_terms", unique_terms(self.user_terms, lowercase=self.lowercase, cleaning=self.cleaning))
        word_cutter(hmm=self.hmm)  # loads it now, not at the first text

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def tokens(self, text: str) -> list[str]:
        """Cut a text into words; unknown ones into characters where ``split_unknown`` says so."""
        return list(self._tokens(clean(text, lowercase=self.lowercase, cleaning=self.cleaning)))

    def encode(self, text: str, *, max_length: int | None = None) -> list[int]:
        """Turn a text into the ids of its first ``max_length`` words."""
        return self.encode_cleaned(clean(text, lowercase=self.lowercase, cleaning=self.cleaning), max_length=max_length)

    def encode_cleaned(self, cleaned: str, *, max_length: int | None = None) -> list[int]:
        """Turn a text that has been cleaned into the ids of its first ``max_length`` words."""
        ids, unknown = self.vocabulary.ids, self.vocabulary.unknown_id
        return [ids.get(token, unknown) for token in islice(self._tokens(cleaned), max_length)]

    def offsets(self, text: str, *, limit: int | None = None) -> list[tuple[int, int]]:
        """Find where in a text its first ``limit`` words come from, begin and end."""
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
        """Return the options that rebuild this tokenizer on the same vocabulary and files."""
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
        """Return the user's terms, one a line, if there are any."""
        if not self.user_terms:
            return NO_FILES
        return {USER_DICTIONARY: "".join(f"{term}\n" for term in self.user_terms).encode("utf-8")}

    @staticmethod
    def count(texts: Iterable[str], *, lowercase: bool, user_terms: Sequence[str] = (), hmm: bool = False) -> Counter[str]:
        """Count the words of texts, cut as this tokenizer will cut them."""
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
    """Read what ``WordTokenizer.files`` gave.

    Raises:
        DataError: it is not UTF-8, or holds no line.
    """
    try:
        lines = content.decode("utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{USER_DICTIONARY} is not UTF-8 (byte {error.start}); expected one term a line; restore it") from None
    return tuple(lines)


def _words(cleaned: str, cutter: WordCutter, matcher: TermMatcher) -> Iterator[str]:
    done = 0
    for begin, end in matcher.spans(cleaned):
        yield from cutter.cut(cleaned[done:begin])
        yield cleaned[begin:end]
        done = end
    yield from cutter.cut(cleaned[done:] if done else cleaned)
