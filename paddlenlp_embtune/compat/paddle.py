"""Paddle itself: loading it, learning rates of parameters, views of tensors."""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
import types
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from paddlenlp_embtune.errors import HostError, MissingDependencyError

__all__ = [
    "effective_learning_rate",
    "fix_layer_norm_gradients",
    "learning_rate_multiplier",
    "learning_rate_tensor",
    "quiet",
    "read_only_view",
    "require_paddle",
    "restore_layer_norms",
    "row_dots",
    "squared_norm",
    "untrace",
]


def require_paddle() -> Any:
    """Import paddle and return it.

    Raises:
        MissingDependencyError: it is not installed.
    """
    loaded = sys.modules.get("paddle")
    # Silencing warnings takes as long as a small operator; importlib waits for an import that another thread has begun.
    if loaded is not None and not getattr(loaded.__spec__, "_initializing", False):
        return loaded  # steps ask many times
    try:
        with quiet():
            return importlib.import_module("paddle")
    except ModuleNotFoundError as error:
        if error.name != "paddle":
            raise
        raise MissingDependencyError(
            'paddle is not installed, and this needs it; install it with: pip install "paddlenlp-embtune[cpu]"'
        ) from None


@functools.cache
def cpu_place() -> Any:
    """Return where tensors of the CPU are."""
    return require_paddle().CPUPlace()


def empty_on_cpu(shape: Sequence[int], dtype: Any) -> Any:
    """Make a tensor on the CPU whose values are to be written, in a third of the time that ``paddle.empty`` takes."""
    return require_paddle()._C_ops.empty(list(shape), dtype, cpu_place())


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the warnings that Paddle and PaddleNLP raise about their own code while they load.

    Streams are left alone: loggers that are made meanwhile hold on to the stream that they find.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def learning_rate_multiplier(rate: float, base_rate: float) -> float:
    """Convert an absolute learning rate into Paddle's multiplier of the optimizer's base rate.

    The ``learning_rate`` of a Paddle parameter group multiplies the base rate; it is not a rate.
    """
    if base_rate <= 0:
        raise HostError(
            f"the base learning rate must be above 0, got {base_rate}; learning rates of groups are multiples of it"
        )
    return rate / base_rate


def effective_learning_rate(parameter: Any, optimizer: Any) -> float:
    """Return the absolute learning rate that the next step will use for a parameter."""
    scale = parameter.optimize_attr["learning_rate"]
    # A tensor stands for the rate itself, a number multiplies the optimizer's.
    return float(scale) if hasattr(scale, "numpy") else float(optimizer.get_lr()) * float(scale)


def learning_rate_tensor(rate: float) -> Any:
    """Make a learning rate that a parameter can carry in place of a multiplier, exact to the last bit.

    Optimizers take a tensor in ``optimize_attr["learning_rate"]`` for the rate itself and do not multiply it by anything.
    """
    return require_paddle().to_tensor(rate, dtype="float32", stop_gradient=True)


def squared_norm(tensor: Any) -> Any:
    """Return the sum of the squares of a tensor's values, as a float32 tensor with one value."""
    if tensor.is_selected_rows():
        tensor = _rows_of(tensor)
    kind = str(tensor.dtype).rsplit(".", 1)[-1]
    # There is no kernel for half precision on a CPU, and in float16 the squares may overflow.
    single = tensor if kind in ("float32", "float64") else tensor.astype("float32")
    return require_paddle()._C_ops.squared_l2_norm(single).astype("float32")


def _rows_of(gradient: Any) -> Any:
    """Return the rows that a sparse gradient has, each once; Paddle aborts where a kernel takes them as they are."""
    paddle = require_paddle()
    return paddle.to_tensor(paddle._C_ops.merge_selected_rows(gradient).numpy())


def row_dots(left: Any, right: Any) -> Any:
    """Return the dot product of every row of two (V, D) tensors as (V,) float32 numpy, without copying either on a CPU.

    Paddle's own reduction over the last axis takes about ten times as long on a CPU.
    """
    numpy = importlib.import_module("numpy")
    if left.place.is_cpu_place() and str(left.dtype).endswith("float32"):
        views = [numpy.from_dlpack(tensor.detach()) for tensor in (left, right)]
        return numpy.einsum("ij,ij->i", *views)
    return (left.detach().astype("float32") * right.detach().astype("float32")).sum(axis=-1).numpy()


def read_only_view(tensor: Any) -> Any:
    """Return a tensor's values as numpy: a view without a copy where they are on the CPU, otherwise a copy.

    Half precision becomes float32, as numpy knows no bfloat16. Of a sparse gradient, the rows that it has.
    """
    numpy = importlib.import_module("numpy")
    if tensor.is_selected_rows():
        tensor = _rows_of(tensor)
    kind = str(tensor.dtype).rsplit(".", 1)[-1]
    if kind in ("bfloat16", "float16"):
        return tensor.detach().astype("float32").numpy()
    return numpy.from_dlpack(tensor.detach()) if tensor.place.is_cpu_place() and "float" in kind else tensor.numpy()


def fix_layer_norm_gradients(model: Any, *, always: bool = False) -> None:
    """Correct the gradients that pass through layer norms whose scale is frozen.

    Paddle 3.3 on a CPU takes the scale for 1 in the gradient of the input where no gradient of the scale itself is wanted: a
    frozen norm with a scale of 1 +- 0.2 was measured to pass on gradients that are wrong by a quarter. Scaling after a norm
    without a scale is right.

    Args:
        model: its norms are changed in place; forward passes without gradients, and traced programs, stay as they are.
        always: also change norms whose scale is trainable, for ``paddle.grad`` of chosen inputs.
    """
    paddle = require_paddle()

    def forward(norm: Any, hidden: Any) -> Any:
        scale, shift = norm.weight, norm.bias
        plainly = scale is None or not paddle.in_dynamic_mode() or not paddle.is_grad_enabled()
        if plainly or not (always or scale.stop_gradient):
            return type(norm).forward(norm, hidden)
        plain = paddle.nn.functional.layer_norm(hidden, norm._normalized_shape, None, None, norm._epsilon)
        return plain * scale if shift is None else plain * scale + shift

    for norm in _layer_norms(model):
        vars(norm).setdefault("_embtune_before", []).append(vars(norm).get("forward"))
        # A method, not a closure over the norm: a copy of the model must not normalise by the weights of the original.
        norm.forward = types.MethodType(forward, norm)


def restore_layer_norms(model: Any) -> None:
    """Undo the last :func:`fix_layer_norm_gradients` of a model; without one, do nothing."""
    for norm in _layer_norms(model):
        if before := vars(norm).get("_embtune_before"):
            forward = before.pop()
            vars(norm).pop("forward", None)
            if forward is not None:
                norm.forward = forward


def _layer_norms(model: Any) -> list[Any]:
    kind = require_paddle().nn.LayerNorm
    return [layer for layer in model.sublayers(include_self=True) if type(layer) is kind]


def untrace(model: Any) -> None:
    """Undo ``paddle.jit.to_static`` on a layer, which replaces its ``forward`` in place."""
    forward = model.__dict__.get("forward")
    if forward is not None and hasattr(forward, "rollback"):
        forward.rollback()
