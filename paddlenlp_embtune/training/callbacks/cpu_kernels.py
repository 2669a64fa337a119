"""Faster steps of an encoder on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from paddlenlp_embtune import compat
from paddlenlp_embtune.compat import TrainerCallback, speed_up_encoder

paddle = compat.require_paddle()

__all__ = ["CpuKernelsCallback"]


class CpuKernelsCallback(TrainerCallback):  # type: ignore[misc]
    """Lets encoders compute their steps by faster operators: see ``compat.speed_up_encoder``; other models stay as they are."""

    def __init__(self) -> None:
        self._undo: Callable[[], None] | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Give the encoder's layers the faster operators."""
        self.teardown()
        model = kwargs["model"]
        # Activations are computed once without gradients and once with, and both passes must drop the same values.
        if getattr(args, "recompute", False) or any(getattr(layer, "enable_recompute", False) for layer in model.sublayers()):
            return
        if any(isinstance(layer, paddle.nn.MultiHeadAttention) for layer in model.sublayers()):
            self._undo = speed_up_encoder(model)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Restore the layers when training ends."""
        self.teardown()

    def teardown(self) -> None:
        """Restore the layers; also called when training was interrupted."""
        if self._undo is not None:
            self._undo()
            self._undo = None
