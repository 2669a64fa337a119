"""A pretrained encoder: architecture, settings, weights and tokenizer. Does not need Paddle."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.encoders.architectures import reserved_positions
from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.text import Tokenizer

__all__ = ["POOLINGS", "Pretrained"]

POOLINGS = ("pooler", "first", "mean")


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Pretrained:
    """A pretrained encoder.

    Args:
        architecture: the class of ``paddlenlp.transformers`` without a head, for example ``BertModel``.
        settings: its configuration, as in ``config.json``; ``vocab_size`` is the number of rows of the embedding.
        weights: every parameter of that class by name; a missing pooler is initialized at random, any other missing parameter
            is an error.
        tokenizer: its ids are the rows of the embedding; id 0 is padding.
        source: where it comes from, for records and messages.
        pooling: default pooling of token vectors, if the recipe sets none: ``pooler`` (the encoder's own layer on its first
            vector), ``first`` or ``mean``.
        embedding: name of the token embedding among the weights.
        masked_head: weights of the head that guesses masked tokens, by the names of ``MASKED_HEAD``; empty without one.
        prefix: what it was trained to see before each text whose vector is read as it comes, such as ``query: ``; tuning does
            without it.
    Raises:
        DataError: the number of tokens differs from the number of rows, or the pooling is unknown.
    """

    architecture: str
    settings: Mapping[str, Any]
    weights: Mapping[str, npt.NDArray[np.float32]]
    tokenizer: Tokenizer
    source: str
    pooling: str = "pooler"
    embedding: str = "embeddings.word_embeddings.weight"
    masked_head: Mapping[str, npt.NDArray[np.float32]] = dataclasses.field(default_factory=dict)
    prefix: str = ""

    def __post_init__(self) -> None:
        rows, tokens = self.settings.get("vocab_size"), len(self.tokenizer.vocabulary)
        if rows != tokens:
            raise DataError(
                f"the encoder of {self.source} has {rows} rows, but its tokenizer {tokens} tokens; pass the tokenizer that "
                "belongs to the encoder"
            )
        if self.embedding not in self.weights:
            raise DataError(
                f"the weights of {self.source} lack the token embedding {self.embedding!r}; pass its name as embedding"
            )
        if self.pooling not in POOLINGS:
            raise DataError(f"the pooling of {self.source} must be one of {', '.join(POOLINGS)}, got {self.pooling!r}")

    @property
    def table(self) -> npt.NDArray[np.float32]:
        """The token embedding, (V, D) float32."""
        return self.weights[self.embedding]

    @property
    def dimension(self) -> int:
        """Width of the token embedding."""
        return int(self.table.shape[1])

    @property
    def positions(self) -> int | None:
        """Maximum number of tokens of a text, given the position table; None if unlimited."""
        limit = self.settings.get("max_position_embeddings")
        return None if limit is None else int(limit) - reserved_positions(self.architecture)

    def kind(self, rows: int) -> dict[str, Any]:
        """Return the settings for building the encoder with ``rows`` rows in its embedding."""
        return {"architecture": self.architecture, "settings": {**self.settings, "vocab_size": rows}}

    def fingerprint(self) -> str:
        """Return a hash of the weights, 16 hexadecimal digits."""
        digest = hashlib.blake2b(digest_size=8)
        for name in sorted(self.weights):
            digest.update(name.encode("utf-8"))
            digest.update(np.ascontiguousarray(self.weights[name]).data)
        return digest.hexdigest()
