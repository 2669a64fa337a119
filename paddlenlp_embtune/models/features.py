"""The vector of a text between a model's network and its head."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat

paddle = compat.require_paddle()

__all__ = ["FeatureEngine", "captured_features", "feature_width"]


@contextlib.contextmanager
def captured_features(model: Any) -> Iterator[list[Any]]:
    """Collect what a model's ``features(input_ids)`` returns while its ``forward`` calls it.

    So vectors and logits come from one pass, with the same dropout.

    Args:
        model: has a method ``features``, which its ``forward`` calls.
    Yields:
        A list that gets one (B, H) tensor a pass.
    """
    former, compute, seen = model.__dict__.get("features"), model.features, list[Any]()

    def features(*arguments: Any, **options: Any) -> Any:
        seen.append(compute(*arguments, **options))
        return seen[-1]

    model.features = features
    try:
        yield seen
    finally:
        del model.features
        if former is not None:
            model.features = former


def feature_width(model: Any) -> int:
    """Return H, the values of a model's vector of a text."""
    was_training = model.training
    model.eval()
    with paddle.no_grad():
        width = int(model.features(paddle.to_tensor([[1]], dtype="int64")).shape[-1])
    if was_training:
        model.train()
    return width


class FeatureEngine:
    """Answers with logits and, beside them, the vectors of the texts; one thread at a time.

    Args:
        model: in evaluation mode, with ``features``.
    """

    def __init__(self, model: Any) -> None:
        self._model = model

    def run(self, input_ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Map (B, L) int64 ids to (B, C + H) float32."""
        with paddle.no_grad(), captured_features(self._model) as seen:
            logits = self._model(paddle.to_tensor(input_ids))
        found: npt.NDArray[np.float32] = np.concatenate([logits.numpy(), seen[-1].numpy()], axis=1)
        return found
