"""The head that guesses masked tokens, as checkpoints of masked-language models have it beside the encoder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["MASKED_HEAD", "find_masked_head", "stored_head"]

MASKED_HEAD = {
    "transform.weight": "cls.predictions.transform.weight",
    "transform.bias": "cls.predictions.transform.bias",
    "norm.weight": "cls.predictions.layer_norm.weight",
    "norm.bias": "cls.predictions.layer_norm.bias",
    "scores": "cls.predictions.decoder_bias",
}
"""The weights of a head by our names, and the names by which PaddleNLP stores them for BERT and ERNIE."""

_NAMES = (
    (re.compile(r"(?:cls\.predictions\.transform|lm_head)(?:\.dense)?\.(weight)"), "transform.weight"),
    (re.compile(r"cls\.predictions\.transform(?:\.dense)?\.bias|lm_head\.dense\.bias"), "transform.bias"),
    (re.compile(r"(?:cls\.predictions|lm_head)\.(?:transform\.)?(?:layer_norm|LayerNorm)\.(?:weight|gamma)"), "norm.weight"),
    (re.compile(r"(?:cls\.predictions|lm_head)\.(?:transform\.)?(?:layer_norm|LayerNorm)\.(?:bias|beta)"), "norm.bias"),
    (re.compile(r"cls\.predictions\.(?:decoder_bias|bias)|lm_head\.bias"), "scores"),
)


def find_masked_head(weights: Mapping[str, npt.NDArray[Any]], *, rows: int) -> dict[str, npt.NDArray[np.float32]]:
    """Find the head among the weights of a checkpoint; empty where a part is missing or does not fit.

    Args:
        weights: by name, matrices as (in, out).
        rows: V, the tokens of the encoder.
    Returns:
        The weights by the names of :data:`MASKED_HEAD`: (H, D), (D,), (D,), (D,) and (V,) float32
    """
    found: dict[str, npt.NDArray[np.float32]] = {}
    for name, value in weights.items():
        for pattern, own in _NAMES:
            if pattern.fullmatch(name):
                found[own] = np.ascontiguousarray(value, dtype=np.float32)
    whole = set(found) == set(MASKED_HEAD) and found["transform.weight"].ndim == 2
    fits = whole and {found[name].shape for name in ("transform.bias", "norm.weight", "norm.bias")} == {
        found["transform.weight"].shape[1:]
    }
    return found if fits and found["scores"].shape == (rows,) else {}


def stored_head(head: Mapping[str, npt.NDArray[np.float32]]) -> dict[str, npt.NDArray[np.float32]]:
    """Return the weights of a head by the names that PaddleNLP has for them."""
    return {MASKED_HEAD[name]: value for name, value in head.items()}
