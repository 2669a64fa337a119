"""Gradient clipping by global norm."""

from __future__ import annotations

from typing import Any

from paddlenlp_embtune import host
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.tuning.callback import EmbtuneCallback

paddle = host.require_paddle()

__all__ = ["GlobalNormClipCallback"]


class GlobalNormClipCallback(EmbtuneCallback):
    """Scales all gradients down together when their norm is larger than a limit, just before the optimizer's step.

    Gradients are clipped after accumulation and after replicas were averaged. Use it with ``max_grad_norm=0`` in the
    training arguments, or both clip (``attach`` sees to that).

    Args:
        global_norm: the largest norm, above 0.
    Source:
        Pascanu, Mikolov and Bengio 2013, "On the difficulty of training recurrent neural networks", algorithm 1
    """

    def __init__(self, global_norm: float) -> None:
        super().__init__()
        if not global_norm > 0:
            raise RecipeError(f"global_norm is {global_norm!r}; legal: above 0")
        self.global_norm = global_norm

    def on_optimizer_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Clip."""
        scaler = kwargs.get("scaler")
        limit = self.global_norm
        if scaler is not None:
            # Under fp16 the gradients still carry the loss scale here; so does the limit, then.
            limit *= float(scaler._scale)
        parameters = [p for p in kwargs["model"].parameters() if not p.stop_gradient and p.grad is not None]
        if parameters:
            paddle.nn.utils.clip_grad_norm_(parameters, limit)
