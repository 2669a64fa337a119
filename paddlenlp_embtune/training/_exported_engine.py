"""ONNX Runtime for a part of an encoder that stays as it is, where that is worth its export and answers as Paddle does."""

from __future__ import annotations

import importlib.util
import logging
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.errors import EmbtuneError
from paddlenlp_embtune.inference import open_session

__all__ = ["Compute", "exported_engine", "texts_of_all_lengths"]

logger = logging.getLogger("paddlenlp_embtune")

_LEAST_OPERATIONS = 1e12
_OPERATIONS_PER_SQUARE = 24  # of a token in a layer: 4 products of H x H and 2 of H x 4 H, two operations a value

Compute = Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float32]]


def exported_engine(
    make_layer: Callable[[], Any],
    difference_of: Callable[[Compute], float],
    *,
    width: int,
    depth: int,
    tokens: int,
    agreement: float,
    what: str,
) -> Compute | None:
    """Return what computes a layer by ONNX Runtime; None where Paddle is to.

    The choice depends on the model, the texts and what is installed, never on a clock: the same run makes the same choice.
    ONNX Runtime is taken for a teraflop and more.

    Args:
        make_layer: returns what is exported, which maps (B, L) ids to one array.
        difference_of: returns by how much answers differ from Paddle's on a sample, as a share of the largest value.
        width: H of the encoder.
        depth: layers that are computed.
        tokens: that are to be read.
        agreement: the most that the difference may be.
        what: names the layer, for the log: a plural.
    """
    packages = ("onnxruntime", "onnx", "paddle2onnx")
    operations = _OPERATIONS_PER_SQUARE * width**2 * depth * tokens
    if operations < _LEAST_OPERATIONS or any(importlib.util.find_spec(name) is None for name in packages):
        return None
    try:
        compute = _by_onnx_runtime(make_layer())
        difference = difference_of(compute)
    except (EmbtuneError, OSError, RuntimeError) as error:
        logger.info("%s are computed by Paddle, because the encoder cannot be exported: %s", what, error)
        return None
    if not difference <= agreement:
        logger.info("%s are computed by Paddle, because ONNX Runtime differs from it by %.1e", what, difference)
        return None
    return compute


def texts_of_all_lengths(texts: Sequence[Sequence[int]], most: int) -> list[Sequence[int]]:
    """Return a sample of the texts that have tokens, from the shortest to the longest."""
    ordered = sorted((text for text in texts if len(text)), key=len)
    return [ordered[int(place)] for place in np.linspace(0, len(ordered) - 1, min(most, len(ordered)))]


def _by_onnx_runtime(layer: Any) -> Compute:
    """Export a layer and load the program."""
    from paddlenlp_embtune.export import export_onnx

    with tempfile.TemporaryDirectory(prefix="embtune-") as folder:
        (name,) = export_onnx(layer, Path(folder))
        session = open_session(Path(folder) / name, ["CPUExecutionProvider"], num_threads=compat.cpu_setup().threads)
    (given,), (asked,) = session.get_inputs(), session.get_outputs()

    def compute(ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        found: npt.NDArray[np.float32] = session.run([asked.name], {given.name: ids})[0]
        return found

    return compute
