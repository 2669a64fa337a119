"""Experts on an encoder as one classifier: a tuned network, a regression on sentence vectors, and one over n-grams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from paddlenlp_embtune import compat
from paddlenlp_embtune.errors import HostError, RecipeError
from paddlenlp_embtune.models._integrated_gradients import Parts, parts_of
from paddlenlp_embtune.models.character_ngrams import CharacterNgrams
from paddlenlp_embtune.models.pretrained_classifier import PretrainedClassifier
from paddlenlp_embtune.models.sentence_vectors import SentenceVectors

paddle = compat.require_paddle()

__all__ = ["Experts"]

_SIZES = ("vocabulary_size", "dimension", "num_labels")


class Experts(paddle.nn.Layer):  # type: ignore[misc, name-defined]
    """A weighted sum of the logits of up to three classifiers; it is built when all of them are fitted, and not trained on.

    Args:
        vocabulary_size: V; id 0 is padding.
        dimension: D, the width of the token embedding.
        num_labels: C.
        network: the options of a :class:`PretrainedClassifier`; None is for none.
        vectors: ``architecture``, ``settings``, ``layers`` and ``prefix`` of :class:`SentenceVectors`, on which there is a
            linear layer; None is for none.
        ngrams: ``buckets`` and ``longest`` of :class:`CharacterNgrams`; None is for none.
    Shapes:
        forward: (B, L) int64 ids to (B, C) float32 logits
    Raises:
        RecipeError: neither ``network`` nor ``vectors`` is stated.
    Source:
        the logarithmic opinion pool of Hinton 2002, "Training Products of Experts by Minimizing Contrastive Divergence",
        section 1
    """

    padding_id = 0

    def __init__(
        self,
        *,
        vocabulary_size: int,
        dimension: int,
        num_labels: int,
        network: Mapping[str, Any] | None = None,
        vectors: Mapping[str, Any] | None = None,
        ngrams: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if network is None and vectors is None:
            raise RecipeError("experts have neither a network nor vectors; expected one of them or both")
        sizes: dict[str, Any] = {"vocabulary_size": vocabulary_size, "dimension": dimension, "num_labels": num_labels}
        self._config: dict[str, Any] = {**sizes, "network": network, "vectors": vectors, "ngrams": ngrams}
        self.network: Any = None
        self.vectors: Any = None
        self.regression: Any = None
        self.ngrams: Any = None
        if network is not None:
            self.network = PretrainedClassifier(**sizes, **network)
        if vectors is not None:
            self.vectors = SentenceVectors(vocabulary_size=vocabulary_size, **vectors)
            self.regression = paddle.nn.Linear(self.vectors.width, num_labels)
        if ngrams is not None:
            self.ngrams = CharacterNgrams(vocabulary_size=vocabulary_size, num_labels=num_labels, **ngrams)
        self.names = tuple(name for name in ("network", "vectors", "ngrams") if self._config[name] is not None)
        self.register_buffer("weights", paddle.ones([len(self.names)]))

    def config(self) -> dict[str, Any]:
        """Return the arguments that build this layer again."""
        return dict(self._config)

    def config_with_rows(self, rows: int) -> dict[str, Any]:
        """Return the arguments that build this layer with another number of rows in its embedding."""
        changed = {**self._config, "vocabulary_size": rows}
        for name in ("network", "vectors"):
            if (stated := self._config[name]) is not None:
                changed[name] = {**stated, "settings": {**stated["settings"], "vocab_size": rows}}
        return changed

    @property
    def hashes_ids(self) -> bool:
        """Whether more than one table depends on the numbers of ids, so that these must not change any more."""
        return len(self.names) > 1

    @property
    def most_tokens(self) -> int | None:
        """The longest text that there are positions for, in tokens; None where there is no bound."""
        bounds = [part.most_tokens for part in (self.network, self.vectors) if part is not None]
        return min((bound for bound in bounds if bound is not None), default=None)

    def get_input_embeddings(self) -> Any:
        """Return the token embedding, that of the network where there are two."""
        part = self.network if self.network is not None else self.vectors
        return part.network.embeddings.word_embeddings

    def set_weights(self, weights: Mapping[str, float]) -> None:
        """Let each expert count so much, by name."""
        self.weights.set_value(np.array([weights[name] for name in self.names], dtype=np.float32))

    def forward(self, input_ids: Any) -> Any:
        """Map (B, L) int64 ids, padded with 0 on the right, to (B, C) float32 logits."""
        logits = [each * self.weights[number] for number, each in enumerate(self.logits(input_ids))]
        return sum(logits[1:], logits[0])

    @property
    def pooling(self) -> str:
        """What makes one vector of the tokens' ones in :meth:`features`."""
        return "mean" if self.network is None else str(self.network.pooling)

    def features(self, input_ids: Any) -> Any:
        """Map (B, L) int64 ids to the vectors of the texts, (B, H) float32: those of the tuned network where there is one."""
        return self.vectors(input_ids) if self.network is None else self.network.features(input_ids)

    def logits(self, input_ids: Any) -> list[Any]:
        """Map (B, L) int64 ids to the logits of each expert, (B, C) float32, in the order of ``names``."""
        found, features = [], self.features(input_ids)
        if self.network is not None:
            found.append(self.network.classify(features))
        if self.vectors is not None:
            found.append(self.regression(features if self.network is None else self.vectors(input_ids)))
        if self.ngrams is not None:
            found.append(self.ngrams(input_ids))
        return found


@parts_of.register(Experts)
def _(_: Any) -> Parts:
    """Refuse: a prefix, and characters of pieces, come in between the embedding and the ids.

    Raises:
        HostError: always.
    """
    raise HostError(
        "integrated gradients do not reach through experts on an encoder, whose n-grams read ids and not the embedding; "
        "explain by occlusion, as the engines onnxruntime and paddle_inference do"
    )
