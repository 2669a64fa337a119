"""Vectors of many texts from an encoder that stays as it is, by the engine that is worth its export."""

from __future__ import annotations

import importlib.util
import logging
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.errors import EmbtuneError
from paddlenlp_embtune.inference import open_session
from paddlenlp_embtune.models import LayerVectors, SentenceVectors
from paddlenlp_embtune.text import pad

__all__ = ["layer_vectors"]

paddle = compat.require_paddle()

logger = logging.getLogger("paddlenlp_embtune")

_TOKENS_PER_BATCH = 1024
_AGREEMENT = 1e-5
_SAMPLE = 16
_LEAST_OPERATIONS = 1e12
_OPERATIONS_PER_SQUARE = 24  # of a token in a layer: 4 products of H x H and 2 of H x 4 H, two operations a value

Floats = npt.NDArray[np.float32]
Compute = Callable[[npt.NDArray[np.int64]], Floats]


def layer_vectors(source: SentenceVectors, ids: Sequence[Sequence[int]]) -> tuple[Floats, str]:
    """Return the means above each layer of texts, and the engine that computed them.

    ONNX Runtime is taken for a teraflop and more, if it answers to a sample of the texts as Paddle does; so the choice depends
    on the encoder, the texts and what is installed, never on a clock.

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

    operations = _OPERATIONS_PER_SQUARE * source.width**2 * source.layers[-1] * sum(map(len, ids))
    packages = ("onnxruntime", "onnx", "paddle2onnx")
    if operations < _LEAST_OPERATIONS or any(importlib.util.find_spec(name) is None for name in packages):
        return "paddle", by_paddle
    try:
        compute = _by_onnx_runtime(layer)
        ordered = sorted((row for row in ids if len(row)), key=len)
        sample = pad([ordered[int(place)] for place in np.linspace(0, len(ordered) - 1, _SAMPLE)])
        wanted, found = by_paddle(sample), compute(sample)
    except (EmbtuneError, OSError, RuntimeError) as error:
        logger.info("sentence vectors are computed by Paddle, because the encoder cannot be exported: %s", error)
        return "paddle", by_paddle
    difference = float(np.abs(found - wanted).max() / max(np.abs(wanted).max(), 1e-30))
    if not difference <= _AGREEMENT:
        logger.info("sentence vectors are computed by Paddle, because ONNX Runtime differs from it by %.1e", difference)
        return "paddle", by_paddle
    return "onnxruntime", compute


def _by_onnx_runtime(layer: LayerVectors) -> Compute:
    """Export the layer and load the program."""
    from paddlenlp_embtune.export import export_onnx

    with tempfile.TemporaryDirectory(prefix="embtune-") as folder:
        (name,) = export_onnx(layer, Path(folder))
        session = open_session(Path(folder) / name, ["CPUExecutionProvider"], num_threads=compat.cpu_setup().threads)
    (given,), (asked,) = session.get_inputs(), session.get_outputs()

    def compute(ids: npt.NDArray[np.int64]) -> Floats:
        vectors: Floats = session.run([asked.name], {given.name: ids})[0]
        return vectors

    return compute
