"""The tokenizer interface, the character tokenizer, padding, and a report on unknown tokens."""

from __future__ import annotations

import dataclasses
import types
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.text._offsets import locate
from paddlenlp_embtune.text.normalization import CLEANING, clean
from paddlenlp_embtune.text.vocabulary import PAD_ID, Vocabulary

__all__ = ["NO_FILES", "CharTokenizer", "Tokenizer", "TokenizerOnBase", "UnknownReport", "content_ids", "pad", "unknown_report"]

NO_FILES: Mapping[str, bytes] = types.MappingProxyType({})


class Tokenizer(Protocol):
    """The interface of all tokenizers."""

    @property
    def vocabulary(self) -> Vocabulary:
        """All tokens that have ids."""

    @property
    def lowercase(self) -> bool:
        """Whether case is folded before lookup."""

    @property
    def prefix(self) -> tuple[int, ...]:
        """Ids that ``encode`` adds before those of a text."""

    @property
    def suffix(self) -> tuple[int, ...]:
        """Ids that ``encode`` adds after those of a text."""

    def tokens(self, text: str) -> list[str]:
        """Split a text into tokens, without prefix and suffix; unknown tokens keep their text."""

    def encode(self, text: str, *, max_length: int | None = None) -> list[int]:
        """Encode a text as at most ``max_length`` ids: prefix, tokens, suffix; empty if the text has no token."""

    def offsets(self, text: str, *, limit: int | None = None) -> list[tuple[int, int]]:
        """Return the spans (start, end) of the first ``limit`` tokens in the original text; None returns all.

        Spans are in text order; any two are either equal or disjoint.
        """

    def config(self) -> dict[str, Any]:
        """Return the options for rebuilding this tokenizer from the same vocabulary and files."""

    def files(self) -> Mapping[str, bytes]:
        """Return the files that the tokenizer needs besides its vocabulary: content by name."""


@dataclasses.dataclass(frozen=True)
class TokenizerOnBase:
    """What a tokenizer that stands in front of another one takes from it.

    Args:
        base: the other tokenizer.
    """

    base: Tokenizer

    @property
    def lowercase(self) -> bool:
        """Whether case is folded before lookup."""
        return self.base.lowercase

    @property
    def prefix(self) -> tuple[int, ...]:
        """Ids that ``encode`` adds before those of a text."""
        return self.base.prefix

    @property
    def suffix(self) -> tuple[int, ...]:
        """Ids that ``encode`` adds after those of a text."""
        return self.base.suffix


@dataclasses.dataclass(frozen=True)
class CharTokenizer:
    """Splits text into characters.

    Args:
        vocabulary: the characters that have ids.
        lowercase: fold case first.
        cleaning: the cleaning rule, see :func:`paddlenlp_embtune.text.clean`.
    """

    prefix: ClassVar[tuple[int, ...]] = ()
    suffix: ClassVar[tuple[int, ...]] = ()

    vocabulary: Vocabulary
    lowercase: bool = True
    cleaning: int = CLEANING

    def tokens(self, text: str) -> list[str]:
        """Clean a text and split it into characters."""
        return list(clean(text, lowercase=self.lowercase, cleaning=self.cleaning))

    def encode(self, text: str, *, max_length: int | None = None) -> list[int]:
        """Encode a text as the ids of its first ``max_length`` characters."""
        return self.encode_cleaned(clean(text, lowercase=self.lowercase, cleaning=self.cleaning), max_length=max_length)

    def encode_cleaned(self, cleaned: str, *, max_length: int | None = None) -> list[int]:
        """Encode a cleaned text as the ids of its first ``max_length`` characters."""
        ids, unknown = self.vocabulary.ids, self.vocabulary.unknown_id
        return [ids.get(character, unknown) for character in cleaned[:max_length]]

    def offsets(self, text: str, *, limit: int | None = None) -> list[tuple[int, int]]:
        """Return the spans (start, end) of the first ``limit`` characters in the original text."""
        return locate(text, lowercase=self.lowercase, cleaning=self.cleaning, limit=limit)

    def config(self) -> dict[str, Any]:
        """Return the options for rebuilding this tokenizer from the same vocabulary."""
        return {"name": "char", "lowercase": self.lowercase, "cleaning": self.cleaning}

    def files(self) -> Mapping[str, bytes]:
        """Return no files: only the vocabulary is needed."""
        return NO_FILES

    @staticmethod
    def count(texts: Iterable[str], *, lowercase: bool) -> Counter[str]:
        """Count the characters of texts, cleaned as this tokenizer cleans them."""
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(clean(text, lowercase=lowercase))
        return counts


def content_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """Return the ids of a text without the prefix and suffix that ``encode`` adds."""
    ids = tokenizer.encode(text)
    return ids[len(tokenizer.prefix) : len(ids) - len(tokenizer.suffix)]


def pad(sequences: Sequence[Sequence[int]], *, min_length: int = 1) -> npt.NDArray[np.int64]:
    """Stack id lists into one array, padded with 0 on the right.

    Args:
        sequences: B lists of ids.
        min_length: minimum width of the result.
    Shapes:
        returns: (B, L) int64, L the longest list or ``min_length``
    """
    length = max([min_length, *map(len, sequences)])
    batch = np.full((len(sequences), length), PAD_ID, dtype=np.int64)
    for row, ids in zip(batch, sequences, strict=True):
        row[: len(ids)] = ids
    return batch


@dataclasses.dataclass(frozen=True)
class UnknownReport:
    """Statistics on unknown tokens in a set of texts.

    Args:
        tokens: total number of tokens.
        unknown: number of tokens without an id of their own.
        worst: the most frequent unknown tokens with their counts.
    """

    tokens: int
    unknown: int
    worst: tuple[tuple[str, int], ...]

    @property
    def share(self) -> float:
        """Fraction of unknown tokens, 0 to 1."""
        return self.unknown / self.tokens if self.tokens else 0.0


def unknown_report(tokenizer: Tokenizer, texts: Iterable[str], *, worst: int = 10) -> UnknownReport:
    """Count the unknown tokens of texts."""
    ids, unknown = tokenizer.vocabulary.ids, tokenizer.vocabulary.unknown_id
    total = 0
    missing: Counter[str] = Counter()
    for text in texts:
        tokens = tokenizer.tokens(text)
        total += len(tokens)
        missing.update(token for token in tokens if ids.get(token, unknown) == unknown)
    return UnknownReport(total, missing.total(), tuple(missing.most_common(worst)))
