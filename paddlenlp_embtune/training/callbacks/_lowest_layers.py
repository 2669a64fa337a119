"""The engine that computes what frozen lowest layers give: ONNX Runtime where that is worth its export, otherwise Paddle."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from paddlenlp_embtune.models import LayerCache
from paddlenlp_embtune.text import pad
from paddlenlp_embtune.training._exported_engine import Compute, exported_engine, texts_of_all_lengths

__all__ = ["AGREEMENT", "choose_engine"]

AGREEMENT = 1e-6
"""The most that a value may differ from Paddle's, as a share of the largest value of the sample."""

_SAMPLE = 32


def choose_engine(cache: LayerCache, texts: Sequence[Sequence[int]]) -> tuple[str, Compute | None]:
    """Return the name of an engine, and what computes the states by it; None for the model itself, by Paddle.

    Args:
        cache: of a model in evaluation mode.
        texts: lists of ids that it will be filled with.
    """
    compute = exported_engine(
        cache.lowest_layers,
        lambda found: _difference(cache, found, texts),
        width=cache.width,
        depth=cache.depth,
        tokens=sum(map(len, texts)),
        agreement=AGREEMENT,
        what="the frozen layers",
    )
    return ("paddle", None) if compute is None else ("onnxruntime", compute)


def _difference(cache: LayerCache, compute: Compute, texts: Sequence[Sequence[int]]) -> float:
    """Return the largest difference of a token's values on texts of all lengths, as a share of the largest value."""
    sample = texts_of_all_lengths(texts, _SAMPLE)
    worst = largest = 0.0
    for rows in (sample[: len(sample) // 2], sample[len(sample) // 2 :]):
        ids = pad(rows)
        wanted, found, real = cache.compute(ids), compute(ids), ids != 0
        worst = max(worst, float(np.abs(found - wanted)[real].max()))
        largest = max(largest, float(np.abs(wanted)[real].max()))
    return worst / largest if largest else np.inf
