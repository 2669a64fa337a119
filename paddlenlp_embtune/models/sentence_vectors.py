"""Vectors of texts from an encoder as it comes: the mean over a text's tokens, of one of its layers or of several together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.encoders import Pretrained
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.models.wrappers import NetworkLayer, build_network, fill_network
from paddlenlp_embtune.text import Tokenizer, content_ids

paddle = compat.require_paddle()

__all__ = ["SentenceVectors", "prefix_ids", "sentence_vectors_of"]


class SentenceVectors(NetworkLayer):
    """Means of the states of a text's tokens, above some layers of an encoder that stays as it is.

    Args:
        vocabulary_size: V; id 0 is padding.
        architecture: the encoder's class, without a head, for example ``BertModel``.
        settings: the encoder's configuration; it is built no higher than it is read.
        layers: above which layers states are read, 1 the lowest, ascending; what several of them give is averaged.
        prefix: ids that stand behind the first id of every text, as an encoder was trained to see them.
    Shapes:
        forward: (B, L) int64 ids to (B, H) float32; 0 for a text without tokens
    Raises:
        RecipeError: there is no such layer, or the settings are of another size.
        HostError: PaddleNLP has no such class, or it takes other settings.
    Source:
        Reimers and Gurevych 2019, "Sentence-BERT", section 3: mean pooling
    """

    def __init__(
        self,
        *,
        vocabulary_size: int,
        architecture: str,
        settings: Mapping[str, Any],
        layers: Sequence[int],
        prefix: Sequence[int] = (),
    ) -> None:
        super().__init__(
            {
                "vocabulary_size": vocabulary_size,
                "architecture": architecture,
                "settings": {**settings, "num_hidden_layers": max(layers, default=0)},
                "layers": list(layers),
                "prefix": list(prefix),
            }
        )
        most = int(settings["num_hidden_layers"])
        if not layers or list(layers) != sorted(set(layers)) or not 1 <= layers[0] <= layers[-1] <= most:
            raise RecipeError(
                f"layers of the sentence vectors are {list(layers)}; expected numbers from 1 to {most}, ascending"
            )
        self.layers = tuple(layers)
        self.width = int(settings["hidden_size"])
        self.prefix = tuple(prefix)
        self.network = build_network(
            architecture, self._config["settings"], ending="Model", what="encoder", example="BertModel"
        )
        for parameter in self.network.parameters():
            parameter.stop_gradient = True

    @property
    def most_tokens(self) -> int | None:
        """The longest text that there are positions for, in tokens; None where there is no bound."""
        most = super().most_tokens
        return None if most is None else most - len(self.prefix)

    def forward(self, input_ids: Any) -> Any:
        """Map (B, L) int64 ids, padded with 0 on the right, to (B, H) float32."""
        means = self.by_layer(input_ids)
        return means[0] if len(means) == 1 else sum(means[1:], means[0]) / float(len(means))

    def by_layer(self, input_ids: Any) -> list[Any]:
        """Map (B, L) int64 ids to the means above each of the layers, (B, H) float32 each."""
        ids = self._with_prefix(input_ids)
        known = (ids != 0).astype("float32")
        if len(self.layers) == 1:
            states = [self.network(ids, attention_mask=known)[0]]
        else:
            found = self.network(ids, attention_mask=known, output_hidden_states=True)[-1]
            states = [found[layer] for layer in self.layers]
        # By a matrix product, which is fast on a CPU.
        shares = (known / paddle.clip(known.sum(axis=1, keepdim=True), min=1.0)).unsqueeze(1)
        return [paddle.matmul(shares, each).squeeze(1) for each in states]

    def _with_prefix(self, ids: Any) -> Any:
        if not self.prefix:
            return ids
        first = ids[:, :1]
        present = (first != 0).astype("int64")  # a text without tokens stays one
        return paddle.concat([first, *(present * number for number in self.prefix), ids[:, 1:]], axis=1)


class LayerVectors(paddle.nn.Layer):  # type: ignore[misc, name-defined]
    """The means above each of the layers side by side, to be exported.

    Args:
        vectors: gives them.
    Shapes:
        forward: (B, L) int64 ids to (B, layers x H) float32
    """

    def __init__(self, vectors: SentenceVectors) -> None:
        super().__init__()
        self.vectors = vectors

    def forward(self, input_ids: Any) -> Any:
        """Map (B, L) int64 ids to (B, layers x H) float32."""
        return paddle.concat(self.vectors.by_layer(input_ids), axis=1)


def prefix_ids(pretrained: Pretrained, tokenizer: Tokenizer) -> list[int]:
    """Return the ids of what an encoder was trained to see before each text; none where texts have no first id of its own."""
    return content_ids(tokenizer, pretrained.prefix) if pretrained.prefix and len(tokenizer.prefix) == 1 else []


def sentence_vectors_of(
    pretrained: Pretrained, table: npt.NDArray[np.float32], *, layers: Sequence[int], prefix: Sequence[int] = ()
) -> SentenceVectors:
    """Build sentence vectors on a pretrained encoder, in evaluation mode.

    Args:
        pretrained: the encoder.
        table: (V, D) float32, the token embedding in place of its own, which may have further rows.
        layers: as in :class:`SentenceVectors`.
        prefix: as there.
    Raises:
        HostError: PaddleNLP has no such class, or a weight is missing or has another shape.
    """
    kind = pretrained.kind(len(table))
    vectors = SentenceVectors(vocabulary_size=len(table), layers=layers, prefix=prefix, **kind)
    weights = {**pretrained.weights, pretrained.embedding: table}
    fill_network(vectors.network, weights, source=pretrained.source, optional=("pooler.",))
    vectors.eval()
    return vectors
