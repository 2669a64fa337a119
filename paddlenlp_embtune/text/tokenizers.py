"""Tokenizers: text to tokens to ids, behind one interface."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.text.cleaning import clean
from paddlenlp_embtune.text.vocabulary import PAD_ID, UNK_ID, Vocabulary

__all__ = ["CharTokenizer", "Tokenizer", "UnknownReport", "pad", "tokenizer_from_config", "unknown_report"]


class Tokenizer(Protocol):
    """What every tokenizer offers."""

    @property
    def vocabulary(self) -> Vocabulary:
        """The tokens that have ids."""

    def tokens(self, text: str) -> list[str]:
        """Cut a text into tokens, before the vocabulary is asked."""

    def encode(self, text: str, *, max_length: int | None = None) -> list[int]:
        """Turn a text into ids, unknown tokens included, padding not."""

    def config(self) -> dict[str, Any]:
        """Return the options that rebuild this tokenizer on the same vocabulary."""


@dataclasses.dataclass(frozen=True)
class CharTokenizer:
    """Cuts text into characters.

    Args:
        vocabulary: the characters that have ids.
        lowercase: fold case first.
    """

    vocabulary: Vocabulary
    lowercase: bool = True

    def tokens(self, text: str) -> list[str]:
        """Cut a text into characters after cleaning it."""
        return list(clean(text, lowercase=self.lowercase))

    def encode(self, text: str, *, max_length: int | None = None) -> list[int]:
        """Turn a text into the ids of its first ``max_length`` characters."""
        ids = self.vocabulary.ids
        cleaned = clean(text, lowercase=self.lowercase)
        return [ids.get(character, UNK_ID) for character in cleaned[:max_length]]

    def config(self) -> dict[str, Any]:
        """Return the options that rebuild this tokenizer on the same vocabulary."""
        return {"name": "char", "lowercase": self.lowercase}

    @staticmethod
    def count(texts: Iterable[str], *, lowercase: bool) -> Counter[str]:
        """Count the characters of texts, cleaned as this tokenizer will clean them."""
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(clean(text, lowercase=lowercase))
        return counts


def tokenizer_from_config(config: Mapping[str, Any], vocabulary: Vocabulary) -> Tokenizer:
    """Rebuild a tokenizer from what its ``config`` returned.

    Raises:
        DataError: the tokenizer is of a kind this version does not know.
    """
    options = {key: value for key, value in config.items() if key != "name"}
    if config.get("name") != "char" or set(options) - {"lowercase"} or not isinstance(options.get("lowercase", True), bool):
        raise DataError(f"the tokenizer {dict(config)!r} is not known; legal: {{'name': 'char', 'lowercase': true or false}}")
    return CharTokenizer(vocabulary, **options)


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
    def rate(self) -> float:
        """Share of unknown tokens, 0 to 1."""
        return self.unknown / self.tokens if self.tokens else 0.0


def unknown_report(tokenizer: Tokenizer, texts: Iterable[str], *, worst: int = 10) -> UnknownReport:
    """Count the tokens of texts that the vocabulary does not know."""
    total = 0
    missing: Counter[str] = Counter()
    for text in texts:
        tokens = tokenizer.tokens(text)
        total += len(tokens)
        missing.update(token for token in tokens if token not in tokenizer.vocabulary)
    return UnknownReport(total, missing.total(), tuple(missing.most_common(worst)))
