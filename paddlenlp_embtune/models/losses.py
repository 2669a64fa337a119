"""The built-in loss: cross-entropy with class weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat

paddle = compat.require_paddle()

__all__ = ["cross_entropy"]


def cross_entropy(*, class_weights: npt.NDArray[np.float32]) -> Any:
    """Return the mean cross-entropy of (B, C) logits and (B,) int64 labels, weighted by the class of each row.

    Shapes:
        class_weights: (C,) float32
    """
    return paddle.nn.CrossEntropyLoss(weight=paddle.to_tensor(class_weights))
