"""A pretrained encoder as it comes: its kind, its weights and its tokenizer; no Paddle."""

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
    """A pretrained encoder, before anything is trained on it.

    Args:
        architecture: the class of ``paddlenlp.transformers`` without a head, for example ``BertModel``.
        settings: its configuration, as in ``config.json``; ``vocab_size`` is the number of rows of the embedding.
        weights: every parameter of that class by its name there; one that is absent begins anew if it is the pooler's, and is
            an error otherwise.
        tokenizer: its ids are the rows of the embedding; id 0 is padding.
        source: where it comes from, for records and messages.
        pooling: how the vectors of the tokens become one of the text, where the recipe does not say: ``pooler`` (the encoder's
            own layer on its first vector), ``first`` or ``mean``.
        embedding: name of the token embedding among the weights.
    Raises:
        DataError: the tokenizer has another number of tokens than the encoder has rows, or the pooling is not known.
    """

    architecture: str
    settings: Mapping[str, Any]
    weights: Mapping[str, npt.NDArray[np.float32]]
    tokenizer: Tokenizer
    source: str
    pooling: str = "pooler"
    embedding: str = "embeddings.word_embeddings.weight"

    def __post_init__(self) -> None:
        rows, tokens = self.settings.get("vocab_size"), len(self.tokenizer.vocabulary)
        if rows != tokens:
            raise DataError(
                f"the encoder of {self.source} has {rows} rows, its tokenizer {tokens} tokens; expected the same number; give "
                "the tokenizer that belongs to the encoder"
            )
        if self.embedding not in self.weights:
            raise DataError(f"the weights of {self.source} lack the token embedding {self.embedding!r}; state its name")
        if self.pooling not in POOLINGS:
            raise DataError(f"the pooling of {self.source} is {self.pooling!r}; expected {', '.join(POOLINGS)}")

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
        """The longest text that there are positions for, in tokens; None where there is no bound."""
        limit = self.settings.get("max_position_embeddings")
        return None if limit is None else int(limit) - reserved_positions(self.architecture)

    def kind(self, rows: int) -> dict[str, Any]:
        """Return what builds the encoder, with a number of rows in its embedding."""
        return {"architecture": self.architecture, "settings": {**self.settings, "vocab_size": rows}}

    def fingerprint(self) -> str:
        """Return a hash of the weights, 16 hexadecimal digits."""
        digest = hashlib.blake2b(digest_size=8)
        for name in sorted(self.weights):
            digest.update(name.encode("utf-8"))
            digest.update(np.ascontiguousarray(self.weights[name]).data)
        return digest.hexdigest()
