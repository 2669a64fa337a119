"""What operators share with Paddle's autograd: inputs that are kept, gradients that are wanted, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from paddlenlp_embtune.compat.paddle import require_paddle
from paddlenlp_embtune.errors import HostError

__all__ = ["make_operator", "save_inputs", "wanted_gradients"]


def make_operator(
    name: str, forward: Callable[..., Any], backward: Callable[..., Any], *, undo: str = "undo speed_up_encoder"
) -> Any:
    """Derive a ``PyLayer`` that notes which gradients are wanted and refuses what its backward pass cannot do.

    Args:
        name: what it is, for errors.
        forward: gets the context and the inputs.
        backward: gets the context and the gradient of what forward returned.
        undo: what leads back to Paddle's own operator, for errors.
    """
    paddle = require_paddle()

    def check_and_run(context: Any, gradient: Any) -> Any:
        if paddle.is_grad_enabled():
            raise HostError(f"the faster {name} has no second derivative, and create_graph asks for one; {undo} first")
        for tensor, version in context.versions:
            if tensor.inplace_version != version:
                raise HostError(
                    f"an input of the faster {name} was changed in place after its forward pass, so its gradient cannot be "
                    f"computed; change a copy, or {undo}"
                )
        with np.errstate(all="ignore"):  # as Paddle, which lets infinities and NaN pass
            return backward(context, gradient)

    def record_and_run(context: Any, *inputs: Any) -> Any:
        context.wanted = [not value.stop_gradient for value in inputs if isinstance(value, paddle.Tensor)]
        context.versions = []
        with np.errstate(all="ignore"):
            return forward(context, *inputs)

    layer = paddle.autograd.PyLayer
    return type(
        f"Fast_{name.replace(' ', '_')}",
        (layer,),
        {"forward": staticmethod(record_and_run), "backward": staticmethod(check_and_run)},
    )


def save_inputs(context: Any, *tensors: Any) -> None:
    """Keep inputs for the backward pass, with their versions, which show whether somebody has changed them until then."""
    context.saved = tensors
    context.versions = [(tensor, tensor.inplace_version) for tensor in tensors]


def wanted_gradients(context: Any, *gradients: Callable[[], Any]) -> Any:
    """Compute the gradients that are wanted, given a function for each tensor among the operator's inputs, in their order."""
    made = tuple(compute() if wanted else None for compute, wanted in zip(gradients, context.wanted, strict=False))
    return made if len(made) > 1 else made[0]
