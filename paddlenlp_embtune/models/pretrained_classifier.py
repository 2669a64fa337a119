"""A pretrained encoder of PaddleNLP with a classifier of ours on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.config import PRETRAINED, AdapterSpec
from paddlenlp_embtune.encoders import POOLINGS, Pretrained
from paddlenlp_embtune.errors import RecipeError, expected_names
from paddlenlp_embtune.models.adapters._layers import insert_adapter
from paddlenlp_embtune.models.factory import build_model
from paddlenlp_embtune.models.heads import build_head
from paddlenlp_embtune.models.wrappers import NetworkLayer, build_network, fill_network
from paddlenlp_embtune.utils.schema import build

paddle = compat.require_paddle()

__all__ = ["PretrainedClassifier", "build_encoder", "classifier_on"]


class PretrainedClassifier(NetworkLayer):
    """An encoder of ``paddlenlp.transformers``, one vector of its tokens' vectors, dropout, and a head.

    Args:
        vocabulary_size: V, the rows of the token embedding; id 0 is padding.
        dimension: D, the width of the token embedding.
        num_labels: C.
        architecture: the encoder's class, without a head, for example ``BertModel``.
        settings: the encoder's configuration.
        pooling: ``pooler`` (the encoder's own layer on its first vector), ``first``, or ``mean`` of the vectors of a text.
        dropout: share of the pooled values that are dropped in training.
        encoder_dropout: share of the encoder's hidden values and attentions that are dropped in training; None leaves both
            to its settings.
        head: ``linear``, or ``cumulative_link`` for ordered labels.
        adapter: the options of an :class:`AdapterSpec` that has been put into the encoder; None is for none. To put one in,
            call ``add_adapter`` when the pretrained weights are there.
    Shapes:
        forward: (B, L) int64 ids to (B, C) float32 logits
    Raises:
        RecipeError: an option is out of range, or the settings are of another size.
        HostError: PaddleNLP has no such class, or it takes other settings.
    """

    def __init__(
        self,
        *,
        vocabulary_size: int,
        dimension: int,
        num_labels: int,
        architecture: str,
        settings: Mapping[str, Any],
        pooling: str = "mean",
        dropout: float = 0.1,
        encoder_dropout: float | None = None,
        head: str = "linear",
        adapter: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            {
                "vocabulary_size": vocabulary_size,
                "dimension": dimension,
                "num_labels": num_labels,
                "architecture": architecture,
                "settings": settings,
                "pooling": pooling,
                "dropout": dropout,
                "encoder_dropout": encoder_dropout,
                "head": head,
                "adapter": None if adapter is None else dict(adapter),
            }
        )
        if pooling not in POOLINGS:
            raise RecipeError(f"pooling of the encoder is {pooling!r}; {expected_names(pooling, POOLINGS)}")
        for name, share in (("dropout", dropout), ("encoder_dropout", encoder_dropout)):
            if share is not None and not 0.0 <= share < 1.0:
                raise RecipeError(f"{name} of the encoder is {share!r}; expected 0 or more and below 1")
        self.pooling = pooling
        self.network = _build(architecture, settings, encoder_dropout)
        if adapter is not None:
            spec = build(AdapterSpec, adapter, where="adapter", error=RecipeError)
            insert_adapter(self.network, spec)
            self.network.embtune_adapter = spec
        self.dropout = paddle.nn.Dropout(dropout)
        width = int(settings["hidden_size"])
        self.head = build_head(head, width=width, num_labels=num_labels, where="head of the encoder")

    def note_adapter(self, adapter: Mapping[str, Any] | None) -> None:
        """Take the options of an adapter, or that there is none, into what :meth:`config` returns."""
        self._config["adapter"] = None if adapter is None else dict(adapter)

    def get_input_embeddings(self) -> Any:
        """Return the token embedding."""
        # Not PaddleNLP's get_input_embeddings, which not all of its encoders have.
        return self.network.embeddings.word_embeddings

    def forward(self, input_ids: Any) -> Any:
        """Map (B, L) int64 ids, padded with 0 on the right, to (B, C) float32 logits."""
        return self.classify(self.features(input_ids))

    def classify(self, vectors: Any) -> Any:
        """Map (B, H) float32 vectors of texts to (B, C) float32 logits."""
        return self.head(self.dropout(vectors))

    def features(self, input_ids: Any) -> Any:
        """Map (B, L) int64 ids to the vectors of the texts, (B, H) float32."""
        known = (input_ids != 0).astype(self.head.weight.dtype)
        outputs = self.network(input_ids, attention_mask=known)
        if self.pooling == "mean":
            return _mean(outputs[0], known)
        first = outputs[1] if self.pooling == "pooler" else outputs[0][:, 0]
        # A text without tokens has none; of its padding, the vector would change with the batch.
        return first * known[:, :1]


def classifier_on(
    pretrained: Pretrained, table: npt.NDArray[np.float32], *, num_labels: int, options: Mapping[str, Any]
) -> PretrainedClassifier:
    """Build a new classifier on a pretrained encoder; a pooler that comes without weights begins anew as well.

    Args:
        pretrained: the encoder.
        table: the token embedding in place of its own, which may have further rows.
        num_labels: C.
        options: the model's own options.
    Shapes:
        table: (V, D) float32
    Raises:
        HostError: a weight is missing or has another shape.
        RecipeError: the model does not know an option.
    """
    model: PretrainedClassifier = build_model(
        PRETRAINED,
        vocabulary_size=len(table),
        dimension=table.shape[1],
        num_labels=num_labels,
        options={"pooling": pretrained.pooling, **options, **pretrained.kind(len(table))},
    )
    _fill(model.network, pretrained, table)
    return model


def build_encoder(pretrained: Pretrained, table: npt.NDArray[np.float32], *, dropout: float | None = None) -> Any:
    """Build PaddleNLP's encoder alone, with the pretrained weights.

    Args:
        pretrained: the encoder.
        table: the token embedding in place of its own, which may have further rows.
        dropout: share of the hidden values and attentions that are dropped in training; None leaves both to its settings.
    Raises:
        HostError: PaddleNLP has no such class, or a weight is missing or has another shape.
    """
    kind = pretrained.kind(len(table))
    network = _build(kind["architecture"], kind["settings"], dropout)
    _fill(network, pretrained, table)
    return network


def _fill(network: Any, pretrained: Pretrained, table: npt.NDArray[np.float32]) -> None:
    """Put the weights in, with another table; an encoder may come without a pooler."""
    weights = {**pretrained.weights, pretrained.embedding: table}
    fill_network(network, weights, source=pretrained.source, optional=("pooler.",))


def _build(architecture: str, settings: Mapping[str, Any], dropout: float | None) -> Any:
    shares = {} if dropout is None else {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    return build_network(architecture, {**settings, **shares}, ending="Model", what="encoder", example="BertModel")


def _mean(vectors: Any, known: Any) -> Any:
    """Mean over the tokens of each text, (B, L, H) and (B, L) to (B, H), by a matrix product, which is fast on a CPU."""
    lengths = paddle.clip(known.sum(axis=1, keepdim=True), min=1.0)
    return paddle.matmul((known / lengths).unsqueeze(1), vectors).squeeze(1)
