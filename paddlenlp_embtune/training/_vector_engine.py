"""Vectors of many texts from an encoder that stays as it is, by the engine that is worth its export."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.models import LayerVectors, SentenceVectors
from paddlenlp_embtune.text import pad
from paddlenlp_embtune.training._exported_engine import Compute, exported_engine, texts_of_all_lengths

__all__ = ["layer_vectors"]

paddle = compat.require_paddle()

_TOKENS_PER_BATCH = 1024
_AGREEMENT = 1e-5
_SAMPLE = 16

Floats = npt.NDArray[np.float32]


def layer_vectors(source: SentenceVectors, ids: Sequence[Sequence[int]]) -> tuple[Floats, str]:
    """Return the means above each layer of texts, and the engine that computed them.

    Args:
        source: in evaluation mode.
        ids: N lists of ids; equal ones are computed once.
    Shapes:
        returns: (N, layers, H) float32; 0 for a text without tokens
    """
    layer = LayerVectors(source)
    layer.eval()
    engine, compute = _choose(layer, source, ids)
    numbers: dict[tuple[int, ...], int] = {}
    places = [numbers.setdefault(tuple(row), len(numbers)) for row in ids]
    distinct = sorted((text for text in numbers if text), key=lambda text: (len(text), text))
    found = np.zeros((len(numbers), len(source.layers), source.width), np.float32)
    start = 0
    while start < len(distinct):
        # Texts come by length, so the last of as many as the first allows is the longest.
        most = max(1, _TOKENS_PER_BATCH // len(distinct[start]))
        most = max(1, _TOKENS_PER_BATCH // len(distinct[min(start + most, len(distinct)) - 1]))
        batch = distinct[start : start + most]
        found[[numbers[text] for text in batch]] = compute(pad(batch)).reshape(len(batch), *found.shape[1:])
        start += most
    return found[places], engine


def _choose(layer: LayerVectors, source: SentenceVectors, ids: Sequence[Sequence[int]]) -> tuple[str, Compute]:
    def by_paddle(batch: npt.NDArray[np.int64]) -> Floats:
        with paddle.no_grad():
            vectors: Floats = layer(paddle.to_tensor(batch)).numpy()
        return vectors

    def difference(compute: Compute) -> float:
        sample = pad(texts_of_all_lengths(ids, _SAMPLE))
        wanted, found = by_paddle(sample), compute(sample)
        return float(np.abs(found - wanted).max() / max(np.abs(wanted).max(), 1e-30))

    compute = exported_engine(
        lambda: layer,
        difference,
        width=source.width,
        depth=source.layers[-1],
        tokens=sum(map(len, ids)),
        agreement=_AGREEMENT,
        what="sentence vectors",
    )
    return ("paddle", by_paddle) if compute is None else ("onnxruntime", compute)
