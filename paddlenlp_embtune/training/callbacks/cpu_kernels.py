"""Faster steps on a CPU: the operators of encoders, and the kernels that are selected for this processor."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

from paddlenlp_embtune import compat
from paddlenlp_embtune.compat import onednn, speed_up_encoder, speed_up_linear
from paddlenlp_embtune.models import TextCNN
from paddlenlp_embtune.training.callbacks.base import EmbtuneCallback

paddle = compat.require_paddle()

__all__ = ["CpuKernelsCallback"]

_SELECTED = ("matmul", "operators")
_RESUMED = "the checkpoint was made with these"


class CpuKernelsCallback(EmbtuneCallback):
    """Lets encoders and text CNNs compute their steps by faster operators and kernels; other models stay as they are.

    See :func:`compat.speed_up_encoder`, :func:`compat.window_maxima` and :func:`compat.onednn.cpu_kernels`. A resumed run keeps
    the kernels that it began with, as others round differently.
    """

    def __init__(self) -> None:
        super().__init__()
        self._undo: list[Callable[[], None]] = []
        self._kernels: onednn.CpuKernels | None = None
        self._former: dict[str, str] = {}

    def state(self) -> Mapping[str, Any]:
        """The kernels that were selected; nothing where the model has no use for them."""
        return {} if self._kernels is None else {name: getattr(self._kernels, name) for name in _SELECTED}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Remember which kernels the run began with."""
        for name in _SELECTED:
            if state.get(name, onednn.PADDLE) not in (onednn.ONEDNN, onednn.PADDLE):
                raise ValueError(f"{name} is {state[name]!r}")
        self._former = {name: state[name] for name in _SELECTED if name in state}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Select the kernels, and change the model's layers."""
        self.teardown()
        self._kernels, self._former = None, {}
        super().on_train_begin(args, state, control, **kwargs)
        model = kwargs["model"]
        # Activations are computed once without gradients and once with, and both passes must drop the same values.
        if getattr(args, "recompute", False) or any(getattr(layer, "enable_recompute", False) for layer in model.sublayers()):
            return
        layers = model.sublayers(include_self=True)
        encodes = any(isinstance(layer, paddle.nn.MultiHeadAttention) for layer in layers)
        networks = [layer for layer in layers if isinstance(layer, TextCNN)]
        if not (encodes or networks) or not str(paddle.get_device()).startswith("cpu"):
            return
        self._kernels = (
            onednn.use_kernels(**dict.fromkeys(_SELECTED, onednn.PADDLE) | self._former, reason=_RESUMED)
            if self._former
            else onednn.cpu_kernels()
        )
        operators = {"encoder_operators": encodes, "text_cnn_operators": bool(networks)}
        self.record.write("cpu_kernels", **operators, **dataclasses.asdict(self._kernels))
        if encodes:
            self._undo.append(speed_up_encoder(model))
        for network in networks:
            network.fast_steps = True
            self._undo.append(functools.partial(setattr, network, "fast_steps", False))
        if self._kernels.matmul == onednn.ONEDNN:
            self._undo.extend(speed_up_linear(network.convolution) for network in networks)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Restore the layers when training ends."""
        self.teardown()

    def teardown(self) -> None:
        """Restore the layers; also called when training was interrupted."""
        while self._undo:
            self._undo.pop()()
