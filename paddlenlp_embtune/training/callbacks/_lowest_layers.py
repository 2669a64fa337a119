"""The engine that computes what frozen lowest layers give: ONNX Runtime where that is worth its export, otherwise Paddle."""

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
from paddlenlp_embtune.models import LayerCache
from paddlenlp_embtune.text import pad

__all__ = ["AGREEMENT", "choose_engine"]

logger = logging.getLogger("paddlenlp_embtune")

AGREEMENT = 1e-6
"""The most that a value may differ from Paddle's, as a share of the largest value of the sample."""

_SAMPLE = 32
_LEAST_OPERATIONS = 1e12
_OPERATIONS_PER_SQUARE = 24  # of a token in a layer: 4 products of H x H and 2 of H x 4 H, two operations a value

Ids = npt.NDArray[np.int64]
Compute = Callable[[Ids], npt.NDArray[np.float32]]


def choose_engine(cache: LayerCache, texts: Sequence[Sequence[int]]) -> tuple[str, Compute | None]:
    """Return the name of an engine, and what computes the states by it; None for the model itself, by Paddle.

    The choice depends on the model, the texts and what is installed, never on a clock: the same run makes the same choice.
    ONNX Runtime is taken for a teraflop and more, if it answers to a sample of the texts as Paddle does.

    Args:
        cache: of a model in evaluation mode.
        texts: lists of ids that it will be filled with.
    """
    operations = _OPERATIONS_PER_SQUARE * cache.width**2 * cache.depth * sum(map(len, texts))
    packages = ("onnxruntime", "onnx", "paddle2onnx")
    if operations < _LEAST_OPERATIONS or any(importlib.util.find_spec(name) is None for name in packages):
        return "paddle", None
    try:
        compute = _by_onnx_runtime(cache)
        difference = _difference(cache, compute, texts)
    except (EmbtuneError, OSError, RuntimeError) as error:
        logger.info("the frozen layers are computed by Paddle, because they cannot be exported: %s", error)
        return "paddle", None
    if not difference <= AGREEMENT:
        logger.info("the frozen layers are computed by Paddle, because ONNX Runtime differs from it by %.1e", difference)
        return "paddle", None
    return "onnxruntime", compute


def _by_onnx_runtime(cache: LayerCache) -> Compute:
    """Export the lowest layers and load the program."""
    from paddlenlp_embtune.export import export_onnx

    with tempfile.TemporaryDirectory(prefix="embtune-") as folder:
        (name,) = export_onnx(cache.lowest_layers(), Path(folder))
        session = open_session(Path(folder) / name, ["CPUExecutionProvider"], num_threads=compat.cpu_setup().threads)
    (given,), (asked,) = session.get_inputs(), session.get_outputs()

    def compute(ids: Ids) -> npt.NDArray[np.float32]:
        states: npt.NDArray[np.float32] = session.run([asked.name], {given.name: ids})[0]
        return states

    return compute


def _difference(cache: LayerCache, compute: Compute, texts: Sequence[Sequence[int]]) -> float:
    """Return the largest difference of a token's values on texts of all lengths, as a share of the largest value."""
    ordered = sorted((text for text in texts if len(text)), key=len)
    sample = [ordered[int(place)] for place in np.linspace(0, len(ordered) - 1, min(_SAMPLE, len(ordered)))]
    worst = largest = 0.0
    for rows in (sample[: len(sample) // 2], sample[len(sample) // 2 :]):
        ids = pad(rows)
        wanted, found, real = cache.compute(ids), compute(ids), ids != 0
        worst = max(worst, float(np.abs(found - wanted)[real].max()))
        largest = max(largest, float(np.abs(wanted)[real].max()))
    return worst / largest if largest else np.inf
