"""Sequence classifiers of PaddleNLP, fed with ids alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paddlenlp_embtune.models.wrappers import NetworkLayer, build_network

__all__ = ["Encoder"]

# Nothing but the logits is returned, whatever the checkpoint asked for.
_LOGITS_ALONE = {"return_dict": False, "output_hidden_states": False, "output_attentions": False, "use_cache": False}


class Encoder(NetworkLayer):
    """A sequence classifier of ``paddlenlp.transformers`` behind the interface of our models.

    It masks padding by itself, as PaddleNLP's encoders do where no mask is given, and takes all tokens for one segment.

    Args:
        vocabulary_size: V.
        dimension: D, the width of the token embedding.
        num_labels: C.
        architecture: name of the class, for example ``ErnieForSequenceClassification``.
        settings: the checkpoint's ``config.json``.
    Shapes:
        forward: (B, L) int64 ids to (B, C) float32 logits
    Raises:
        RecipeError: the settings are of another size.
        HostError: PaddleNLP has no such class, or it takes other settings.
    """

    def __init__(
        self, *, vocabulary_size: int, dimension: int, num_labels: int, architecture: str, settings: Mapping[str, Any]
    ) -> None:
        super().__init__(
            {
                "vocabulary_size": vocabulary_size,
                "dimension": dimension,
                "num_labels": num_labels,
                "architecture": architecture,
                "settings": settings,
            }
        )
        self.network = build_network(
            architecture,
            {**settings, **_LOGITS_ALONE, **_labels_of(settings, num_labels)},
            ending="ForSequenceClassification",
            what="sequence classifier",
            example="ErnieForSequenceClassification",
        )

    def get_input_embeddings(self) -> Any:
        """Return the token embedding."""
        return self.network.get_input_embeddings()

    def forward(self, input_ids: Any) -> Any:
        """Map (B, L) int64 ids, padded with 0 on the right, to (B, C) float32 logits."""
        return self.network(input_ids)


def _labels_of(settings: Mapping[str, Any], num_labels: int) -> Mapping[str, Any]:
    """The number of labels, where the settings do not name them all: PaddleNLP counts the names."""
    return {} if len(settings.get("id2label") or ()) == num_labels else {"num_labels": num_labels, "id2label": None}
