"""Tokenizers: text to tokens to ids, behind one interface."""

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

__all__ = ["NO_FILES", "CharTokenizer", "Tokenizer", "UnknownReport", "content_ids", "pad", "unknown_report"]

NO_FILES: Mapping[str, bytes] = types.MappingProxyType({})


class Tokenizer(Protocol):
    """What every tokenizer offers."""

    @property
    def vocabulary(self) -> Vocabulary:
        """The tokens that have ids."""

    @property
    def lowercase(self) -> bool:
        """Whether case is folded before anything is looked up."""

    @property
    def prefix(self) -> tuple[int, ...]:
        """The ids that ``encode`` puts before those of a text."""

    @property
    def suffix(self) -> tuple[int, ...]:
        """The ids that ``encode`` puts after those of a text."""

    def tokens(self, text: str) -> list[str]:
        """Cut a text into tokens of its own, without prefix and suffix; unknown ones as they stand in the text."""

    def encode(self, text: str, *, max_length: int | None = None) -> list[int]:
        """Turn a text into at most ``max_length`` ids: prefix, own tokens, suffix; none where there is no own token."""

    def offsets(self, text: str, *, limit: int | None = None) -> list[tuple[int, int]]:
        """Find where in a text as given its first ``limit`` own tokens come from, begin and end; None finds all.

        Places are in the order of the text; two of them are the same or do not overlap.
        """

    def config(self) -> dict[str, Any]:
        """Return the options that rebuild this tokenizer on the same vocabulary and files."""

    def files(self) -> Mapping[str, bytes]:
        """Return what the tokenizer needs beside its vocabulary: file names and their content."""


@dataclasses.dataclass(frozen=True)
class CharTokenizer:
    """Cuts text into characters.

    Args:
        vocabulary: the characters that have ids.
        lowercase: fold case first.
        cleaning: the rule that texts are cleaned by, see :func:`paddlenlp_embtune.text.clean`.
    """

    prefix: ClassVar[tuple[int, ...]] = ()
    suffix: ClassVar[tuple[int, ...]] = ()

    vocabulary: Vocabulary
    lowercase: bool = True
    cleaning: int = CLEANING

    def tokens(self, text: str) -> list[str]:
        """Cut a text into characters after cleaning it."""
        return list(clean(text, lowercase=self.lowercase, cleaning=self.cleaning))

    def encode(self, text: str, *, max_length: int | None = None) -> list[int]:
        """Turn a text into the ids of its first ``max_length`` characters."""
        return self.encode_cleaned(clean(text, lowercase=self.lowercase, cleaning=self.cleaning), max_length=max_length)

    def encode_cleaned(self, cleaned: str, *, max_length: int | None = None) -> list[int]:
        """Turn a text that has been cleaned into the ids of its first ``max_length`` characters."""
        ids, unknown = self.vocabulary.ids, self.vocabulary.unknown_id
        return [ids.get(character, unknown) for character in cleaned[:max_length]]

    def offsets(self, text: str, *, limit: int | None = None) -> list[tuple[int, int]]:
        """Find where in a text its first ``limit`` characters come from, begin and end."""
        return locate(text, lowercase=self.lowercase, cleaning=self.cleaning, limit=limit)

    def config(self) -> dict[str, Any]:
        """Return the options that rebuild this tokenizer on the same vocabulary."""
        return {"name": "char", "lowercase": self.lowercase, "cleaning": self.cleaning}

    def files(self) -> Mapping[str, bytes]:
        """Return nothing: the vocabulary is all that it needs."""
        return NO_FILES

    @staticmethod
    def count(texts: Iterable[str], *, lowercase: bool) -> Counter[str]:
        """Count the characters of texts, cleaned as this tokenizer will clean them."""
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(clean(text, lowercase=lowercase))
        return counts


def content_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """Return the ids of a text's own tokens, without those that ``encode`` puts around them."""
    ids = tokenizer.encode(text)
    return ids[len(tokenizer.prefix) : len(ids) - len(tokenizer.suffix)]


def pad(sequences: Sequence[Sequence[int]], *, min_length: int = 1) -> npt.NDArray[np.int64]:
    """Lay id lists side by side, padded with 0 on the right.

    Args:
        sequences: B lists of ids.
        min_length: the least width of the result.
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
    """How much of a set of texts the vocabulary does not know.

    Args:
        tokens: tokens in all.
        unknown: those without an id of their own.
        worst: the most frequent unknown tokens with their counts.
    """

    tokens: int
    unknown: int
    worst: tuple[tuple[str, int], ...]

    @property
    def share(self) -> float:
        """Share of unknown tokens, 0 to 1."""
        return self.unknown / self.tokens if self.tokens else 0.0


def unknown_report(tokenizer: Tokenizer, texts: Iterable[str], *, worst: int = 10) -> UnknownReport:
    """Count the tokens of texts that the vocabulary does not know."""
    ids, unknown = tokenizer.vocabulary.ids, tokenizer.vocabulary.unknown_id
    total = 0
    missing: Counter[str] = Counter()
    for text in texts:
        tokens = tokenizer.tokens(text)
        total += len(tokens)
        missing.update(token for token in tokens if ids.get(token, unknown) == unknown)
    return UnknownReport(total, missing.total(), tuple(missing.most_common(worst)))
