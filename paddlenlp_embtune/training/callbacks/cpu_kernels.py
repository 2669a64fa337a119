"""Faster steps on a CPU: the operators of encoders, the kernels selected for this processor, and what surrounds an update."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from paddlenlp_embtune import compat
from paddlenlp_embtune.compat import onednn, speed_up_encoder, speed_up_linear, speed_up_optimizer
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.models import MaskedLanguageModel, TextCNN
from paddlenlp_embtune.training.callbacks.base import EmbtuneCallback

if TYPE_CHECKING:
    from paddlenlp_embtune.training.context import TrainingContext

paddle = compat.require_paddle()

__all__ = ["CpuKernelsCallback"]

_SELECTED = {
    "matmul": (onednn.PADDLE, onednn.ONEDNN),
    "operators": (onednn.PADDLE, onednn.ONEDNN),
    "precision": (onednn.FP32, onednn.BF16),
}
"""What is selected, and what it may be, the default first."""

_RESUMED = "the checkpoint was made with these"


class CpuKernelsCallback(EmbtuneCallback):
    """Lets encoders and text CNNs compute their steps by faster operators and kernels; other models stay as they are.

    See :func:`compat.speed_up_encoder`, :func:`compat.window_maxima`, :func:`compat.speed_up_optimizer`,
    :func:`compat.onednn.cpu_kernels` and :func:`compat.onednn.use_precision`. A resumed run keeps the kernels that it began
    with, as others round differently. Evaluations are computed in float32.

    Args:
        precision: of an encoder's products: ``fp32``, ``bf16`` or ``auto``.
    """

    def __init__(self, precision: str = onednn.FP32) -> None:
        super().__init__()
        self._precision = precision
        self._undo: list[Callable[[], None]] = []
        self._kernels: onednn.CpuKernels | None = None
        self._former: dict[str, str] = {}

    def setup(self, context: TrainingContext) -> None:
        """Refuse bfloat16 where nothing would be computed in it.

        Raises:
            RecipeError: the model is no encoder, or computes its activations again, or runs on a GPU.
            HostError: the processor does not multiply it.
        """
        super().setup(context)
        if self._precision != onednn.BF16:
            return
        if not _uses(context.model, context.trainer.args)[0]:
            raise RecipeError(
                f"train.precision is bf16, and nothing in {type(context.model).__name__} would be computed in it; expected "
                "fp32 or auto, or an encoder on a CPU, without activations that are computed again"
            )
        onednn.require_bf16()

    def settings(self) -> Mapping[str, Any]:
        """The precision that was asked for."""
        return {"precision": self._precision}

    def state(self) -> Mapping[str, Any]:
        """The kernels that were selected; nothing where the model has no use for them."""
        return {} if self._kernels is None else {name: getattr(self._kernels, name) for name in _SELECTED}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Remember which kernels the run began with."""
        for name, values in _SELECTED.items():
            if state.get(name, values[0]) not in values:
                raise ValueError(f"{name} is {state[name]!r}")
        self._former = {name: state[name] for name in _SELECTED if name in state}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Select the kernels, and change the model's layers."""
        self.teardown()
        self._kernels, self._former = None, {}
        super().on_train_begin(args, state, control, **kwargs)
        model = kwargs["model"]
        encodes, convolves = _uses(model, args)
        if not (encodes or convolves):
            return
        self._undo.append(functools.partial(onednn.restore_kernels, onednn.cpu_kernels()))
        if self._former:
            defaults = {name: values[0] for name, values in _SELECTED.items()}
            self._kernels = onednn.use_kernels(**defaults | self._former, reason=_RESUMED)
        else:
            self._kernels = onednn.use_precision(self._precision if encodes else onednn.FP32)
        operators = {"encoder_operators": encodes, "text_cnn_operators": convolves}
        self.record.write("cpu_kernels", **operators, **dataclasses.asdict(self._kernels))
        self._undo.append(speed_up_optimizer(kwargs["optimizer"]))
        if encodes:
            bf16 = self._kernels.precision == onednn.BF16
            self._undo.append(speed_up_encoder(model, bf16=bf16))
            if bf16 and isinstance(model, MaskedLanguageModel):
                model.bf16_steps = True
                self._undo.append(functools.partial(setattr, model, "bf16_steps", False))
        for network in model.sublayers(include_self=True):
            if isinstance(network, TextCNN):
                self._undo.extend(_speed_up_text_cnn(network, self._kernels))

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Restore the layers when training ends."""
        self.teardown()

    def teardown(self) -> None:
        """Restore the layers; also called when training was interrupted."""
        while self._undo:
            self._undo.pop()()


def _speed_up_text_cnn(network: Any, kernels: onednn.CpuKernels) -> list[Callable[[], None]]:
    """Let a text CNN compute its steps from distinct tokens, and its dense product by selected kernels."""
    network.fast_steps = True
    undo: list[Callable[[], None]] = [functools.partial(setattr, network, "fast_steps", False)]
    if kernels.matmul == onednn.ONEDNN:
        undo.append(speed_up_linear(network.convolution))
    return undo


def _uses(model: Any, arguments: Any) -> tuple[bool, bool]:
    """Return whether a model has an encoder, and whether it has a text CNN, whose steps can be computed by faster kernels."""
    layers = model.sublayers(include_self=True)
    # Activations are computed once without gradients and once with, and both passes must drop the same values.
    recomputes = getattr(arguments, "recompute", False) or any(getattr(layer, "enable_recompute", False) for layer in layers)
    if recomputes or not str(paddle.get_device()).startswith("cpu"):
        return False, False
    encodes = any(isinstance(layer, paddle.nn.MultiHeadAttention) for layer in layers)
    return encodes, any(isinstance(layer, TextCNN) for layer in layers)
