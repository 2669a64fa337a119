"""A classifier that also gives the vectors of texts, as it is exported: one pass for both."""

from __future__ import annotations

from typing import Any

from paddlenlp_embtune import compat
from paddlenlp_embtune.bundle import VectorOutput
from paddlenlp_embtune.models.features import captured_features

paddle = compat.require_paddle()

__all__ = ["LogitsAndVectors", "vector_output"]


class LogitsAndVectors(paddle.nn.Layer):  # type: ignore[misc, name-defined]
    """The logits of a model, and the vector of each text that its head reads.

    Args:
        model: its ``forward`` calls its ``features``, as :func:`vector_output` finds out.
    Shapes:
        forward: (B, L) int64 ids to (B, C) float32 logits and (B, H) float32 vectors
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Any) -> tuple[Any, Any]:
        """Map (B, L) int64 ids, padded with 0 on the right, to logits and vectors."""
        with captured_features(self.model) as seen:
            logits = self.model(input_ids)
        return logits, seen[-1]


def vector_output(model: Any) -> VectorOutput | None:
    """Return what vectors a model gives; None where its ``forward`` calls no ``features`` that give one vector a text."""
    if not callable(getattr(model, "features", None)):
        return None
    training = model.training
    model.eval()
    with paddle.no_grad(), captured_features(model) as seen:
        model(paddle.to_tensor([[1], [1]], dtype="int64"))
    if training:
        model.train()
    if len(seen) != 1 or not isinstance(seen[0], paddle.Tensor) or seen[0].ndim != 2 or seen[0].shape[0] != 2:
        return None
    pooling = getattr(model, "pooling", "")
    return VectorOutput(width=int(seen[0].shape[1]), pooling=pooling if isinstance(pooling, str) else "")
