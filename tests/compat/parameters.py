"""Parameters of the models that the tests of faster operators compute with."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle

from paddlenlp_embtune import compat


def shift_vectors(model: Any) -> None:
    """Move scales and biases away from the 1 and 0 that hide mistakes."""
    generator = np.random.default_rng(0)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.set_value(parameter + paddle.to_tensor(generator.normal(0, 0.3, parameter.shape).astype("float32")))


def freeze(model: Any, pattern: str) -> None:
    """Freeze the parameters whose names have a word of the pattern in them; Paddle's norms are right about that too."""
    for name, parameter in model.named_parameters():
        parameter.stop_gradient = any(part in name for part in pattern.split())
    compat.fix_layer_norm_gradients(model)  # Paddle's own is wrong where a scale is frozen
