"""Sequence classifiers of PaddleNLP, fed with ids alone."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from paddlenlp_embtune import host
from paddlenlp_embtune.errors import HostError, RecipeError

paddle = host.require_paddle()

__all__ = ["Encoder"]


class Encoder(paddle.nn.Layer):  # type: ignore[misc, name-defined]
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

    padding_id = 0

    def __init__(
        self, *, vocabulary_size: int, dimension: int, num_labels: int, architecture: str, settings: Mapping[str, Any]
    ) -> None:
        super().__init__()
        if (size := settings.get("vocab_size")) != vocabulary_size:
            raise RecipeError(f"the encoder's settings have the vocab_size {size}, the vocabulary has {vocabulary_size} tokens")
        self._config = {
            "vocabulary_size": vocabulary_size,
            "dimension": dimension,
            "num_labels": num_labels,
            "architecture": architecture,
            "settings": dict(settings),
        }
        with host.quiet():
            transformers: Any = importlib.import_module("paddlenlp.transformers")
        if not architecture.endswith("ForSequenceClassification") or not hasattr(transformers, architecture):
            raise HostError(
                f"PaddleNLP has no sequence classifier {architecture!r}; legal: such as ErnieForSequenceClassification"
            )
        kind = getattr(transformers, architecture)
        try:
            self.network = kind(kind.config_class.from_dict({**settings, "num_labels": num_labels}))
        except (TypeError, ValueError, KeyError) as error:
            raise HostError(f"PaddleNLP cannot build {architecture} from these settings: {error}") from error

    def config(self) -> dict[str, Any]:
        """Return the arguments that build this layer again."""
        return dict(self._config)

    def config_with_rows(self, rows: int) -> dict[str, Any]:
        """Return the arguments that build this layer with another number of rows in its embedding."""
        config = self.config()
        return {**config, "vocabulary_size": rows, "settings": {**config["settings"], "vocab_size": rows}}

    @property
    def most_tokens(self) -> int | None:
        """The longest text that there are positions for, in tokens; None where there is no bound."""
        most = getattr(self.network.config, "max_position_embeddings", None)
        return None if most is None else int(most)

    def get_input_embeddings(self) -> Any:
        """Return the token embedding."""
        return self.network.get_input_embeddings()

    def forward(self, input_ids: Any) -> Any:
        """Map (B, L) int64 ids, padded with 0 on the right, to (B, C) float32 logits."""
        return self.network(input_ids)
