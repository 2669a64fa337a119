"""Speeding up what an optimizer does beside its updates on a CPU, without changing what it computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from paddlenlp_embtune.compat.paddle import require_paddle

__all__ = ["speed_up_optimizer"]

_METHODS = ("step", "clear_grad", "clear_gradients")


def speed_up_optimizer(optimizer: Any) -> Callable[[], None]:
    """Let an optimizer of Paddle's pass over gradients less often, in place; parameters move as they did, bit for bit.

    Clearing frees gradients, so that the next pass does not add its own to zeros; a parameter that then gets none still takes
    its step with zeros. Clipping by the norm of all gradients multiplies them only where that is above the limit.

    Args:
        optimizer: whatever wraps another one, for distributed or mixed-precision training, stays as it is.
    Returns:
        What undoes it; a second call does nothing.
    """
    paddle = require_paddle()
    own = vars(optimizer)
    if not isinstance(optimizer, paddle.optimizer.Optimizer) or "step" in own or "clear_grad" in own:
        return lambda: None
    clips = [clip for clip in _clips(optimizer) if type(clip) is paddle.nn.ClipGradByGlobalNorm]
    for clip in clips:
        clip._dygraph_clip = _Clipping(clip)
    gradients = _Gradients(optimizer)
    before = {name: own[name] for name in _METHODS if name in own}
    optimizer.step, optimizer.clear_grad, optimizer.clear_gradients = gradients.step, gradients.clear, gradients.clear

    def undo() -> None:
        while clips:
            vars(clips.pop()).pop("_dygraph_clip", None)
        if own.get("step") == gradients.step:
            for name in _METHODS:
                own.pop(name, None)
            own.update(before)

    return undo


def _groups(optimizer: Any) -> list[Any]:
    groups: list[Any] = optimizer._param_groups or []
    return groups if groups and isinstance(groups[0], dict) else []


def _clips(optimizer: Any) -> Iterator[Any]:
    """Give the clipping of the optimizer and of every group, each once."""
    found = [optimizer._grad_clip, *(group.get("grad_clip") for group in _groups(optimizer))]
    yield from {id(clip): clip for clip in found if clip is not None}.values()


class _Gradients:
    """Clears an optimizer's gradients by freeing them, and takes its steps as if they had been set to zero."""

    def __init__(self, optimizer: Any) -> None:
        self._step, self._clear = type(optimizer).step, type(optimizer).clear_grad
        self._optimizer = optimizer
        self._freed: dict[str, Any] = {}

    def clear(self, set_to_zero: bool = True) -> None:
        """Do what ``clear_grad`` does."""
        if not set_to_zero:
            self._freed.clear()
            self._clear(self._optimizer, False)
            return
        for parameter in self._parameters():
            gradient = parameter.grad
            if gradient is None:
                continue
            if gradient.is_selected_rows():
                parameter.clear_gradient()
            else:
                parameter.clear_gradient(False)
                self._freed[parameter.name] = parameter

    def step(self) -> None:
        """Do what ``step`` does."""
        for parameter in self._freed.values():
            if not parameter.stop_gradient and parameter.grad is None:
                parameter.grad = require_paddle().zeros_like(parameter)
        self._step(self._optimizer)

    def _parameters(self) -> Iterator[Any]:
        groups = _groups(self._optimizer)
        found = [each for group in groups for each in group["params"]] if groups else self._optimizer._parameter_list or ()
        return (parameter for parameter in found if not parameter.stop_gradient)


class _Clipping:
    """Clips as ``ClipGradByGlobalNorm`` does, in one pass where the norm is below the limit, and in a fast second one above."""

    def __init__(self, clip: Any) -> None:
        self._clip = clip

    def __call__(self, pairs: list[tuple[Any, Any]]) -> Any:
        paddle = require_paddle()
        clipped = [gradient for parameter, gradient in pairs if gradient is not None and getattr(parameter, "need_clip", True)]
        if not clipped or not all(_is_plain(paddle, gradient) for gradient in clipped):
            return type(self._clip)._dygraph_clip(self._clip, pairs)
        with paddle.no_grad():
            squares = paddle.stack([paddle._C_ops.squared_l2_norm(gradient) for gradient in clipped]).sum()
            limit = np.float32(self._clip.clip_norm)
            norm = np.float32(paddle.sqrt(squares).item())
            if not norm <= limit:  # or NaN
                factor = limit / np.maximum(norm, limit)
                for gradient in clipped:
                    gradient.scale_(float(factor))
        return [pair for pair in pairs if pair[1] is not None]


def _is_plain(paddle: Any, gradient: Any) -> bool:
    return not gradient.is_selected_rows() and gradient.dtype == paddle.float32 and gradient.place.is_cpu_place()
