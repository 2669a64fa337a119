"""Gradients that have only some rows of a table: reading them, and optimizer steps that change no other row.

``paddle.nn.Embedding(sparse=True)`` gives the gradient of its table as the rows that a batch has read. Paddle 3.3's AdamW
aborts the process on it; its lazy Adam takes it, but knows no decoupled decay. The padding row, which has no gradient
otherwise, has one there.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from paddlenlp_embtune.compat.host import PADDLEFORMERS, package_of
from paddlenlp_embtune.compat.paddle import require_paddle
from paddlenlp_embtune.compat.trainer import inner_optimizer
from paddlenlp_embtune.errors import HostError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = [
    "disable_lazy_updates",
    "embedding_layers",
    "enable_lazy_updates",
    "gradient_rows",
    "gradient_values",
    "has_lazy_updates",
    "merge_gradient",
    "padding_row",
    "refuse_accumulated_rows",
    "refuse_loss_scale",
    "set_sparse",
]


def embedding_layers(model: Any, parameter: Any) -> list[Any]:
    """Return the layers of a model that look rows of a parameter up and can hand its gradient over by rows."""
    kind = require_paddle().nn.Embedding
    return [layer for layer in model.sublayers(include_self=True) if isinstance(layer, kind) and layer.weight is parameter]


def padding_row(layers: list[Any]) -> int | None:
    """Return the row that gets no gradient from any of the layers on one table; None where every row gets one.

    Raises:
        HostError: the layers differ, so that by rows it could not be told whose gradient is whose; or one cannot give gradients
            by rows.
    """
    rows = {None if layer._padding_idx is None else int(layer._padding_idx) % int(layer.weight.shape[0]) for layer in layers}
    if len(rows) > 1:
        shown = ", ".join(str(row) for row in sorted(rows, key=lambda row: -1 if row is None else row))
        raise HostError(f"{len(layers)} layers look up one table with different padding rows ({shown}); set sparse to null")
    if any(getattr(layer, "_scale_grad_by_freq", False) for layer in layers):
        raise HostError("the embedding scales its gradient by frequency, which Paddle does not do by rows; set sparse to null")
    return next(iter(rows), None)


def refuse_loss_scale(args: Any) -> None:
    """Refuse gradients by rows in a training whose gradients carry a loss scale.

    Paddle 3.3 breaks down where it takes the scale from a gradient by rows. On a CPU it never scales.

    Raises:
        HostError: the training runs in fp16 on an accelerator.
    """
    if args.fp16 and not require_paddle().get_device().startswith("cpu"):
        raise HostError("fp16 is set, and Paddle cannot take its loss scale from gradients by rows; expected bf16, or float32")


def refuse_accumulated_rows(args: Any) -> None:
    """Refuse gradients by rows that are held back over several batches where that fails.

    Paddle 3.3 crashes, without an error, when several processes exchange them; PaddleFormers' Trainer scales them in place,
    which Paddle cannot.

    Raises:
        HostError: several processes accumulate gradients, or PaddleFormers' Trainer does.
    """
    if args.gradient_accumulation_steps <= 1:
        return
    if args.world_size > 1:
        raise HostError(
            f"gradient_accumulation_steps is {args.gradient_accumulation_steps} in {args.world_size} processes, and Paddle "
            "cannot exchange gradients by rows that were held back; expected 1, with a larger per_device_train_batch_size"
        )
    if package_of(args) == PADDLEFORMERS:
        raise HostError(
            f"gradient_accumulation_steps is {args.gradient_accumulation_steps}, and PaddleFormers' Trainer cannot accumulate "
            "gradients by rows; expected 1, with a larger per_device_train_batch_size"
        )


def set_sparse(layers: list[Any], *, sparse: bool) -> None:
    """Set whether embedding layers give gradients by rows; before replicas are wrapped, which read the setting once."""
    for layer in layers:
        layer._sparse = sparse


def merge_gradient(parameter: Any, *, padding_row: int | None = None) -> None:
    """Give a parameter with a gradient by rows each row once, and the padding row none; leave other gradients alone."""
    paddle = require_paddle()
    gradient = parameter.grad
    if gradient is None or not gradient.is_selected_rows():
        return
    merged = paddle._C_ops.merge_selected_rows(gradient)
    if padding_row is not None:
        rows = merged.rows()
        if padding_row in rows:
            with paddle.no_grad():
                merged._get_tensor_from_selected_rows()[rows.index(padding_row)] = 0.0
    parameter.grad = merged


def gradient_values(parameter: Any) -> Any:
    """Return the values of a parameter's gradient, to read and to change in place: all rows, or those it has, each once."""
    merge_gradient(parameter)
    gradient = parameter.grad
    if gradient is None or not gradient.is_selected_rows():
        return gradient
    return gradient._get_tensor_from_selected_rows()


def gradient_rows(parameter: Any) -> npt.NDArray[np.int64] | None:
    """Return the numbers of the rows of :func:`gradient_values`; None where these are all rows."""
    merge_gradient(parameter)
    gradient = parameter.grad
    if gradient is None or not gradient.is_selected_rows():
        return None
    numbers: npt.NDArray[np.int64] = importlib.import_module("numpy").asarray(gradient.rows(), dtype="int64")
    return numbers


def enable_lazy_updates(optimizer: Any) -> None:
    """Let an AdamW take gradients by rows, from now on: rows without a gradient keep value and moments.

    Where a gradient is not by rows, nothing changes. The bias corrections count all steps, as in Paddle's lazy Adam; weight
    decay is decoupled and reaches the same rows. State keeps its names and shapes, so checkpoints do not change.

    Raises:
        HostError: the optimizer is of another kind, or keeps master weights.
    Source:
        Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization", algorithm 2, row by row
    """
    optimizer = inner_optimizer(optimizer)
    if has_lazy_updates(optimizer):  # of a training that broke off
        return
    adamw = importlib.import_module("paddle.optimizer").AdamW
    kind = type(optimizer)
    if not issubclass(kind, adamw) or kind._append_optimize_op is not adamw._append_optimize_op:
        raise HostError(f"the optimizer is {kind.__name__}; expected for gradients by rows: AdamW")
    if optimizer._multi_precision:
        raise HostError("the optimizer keeps master weights in float32 (fp16_opt_level O2), which cannot be updated by rows")
    optimizer.__class__ = _lazy(kind)


def has_lazy_updates(optimizer: Any) -> bool:
    """Return whether :func:`enable_lazy_updates` is in force on an optimizer."""
    return hasattr(type(inner_optimizer(optimizer)), "embtune_dense")


def disable_lazy_updates(optimizer: Any) -> None:
    """Undo :func:`enable_lazy_updates`; without it, do nothing."""
    optimizer = inner_optimizer(optimizer)
    if (kind := getattr(type(optimizer), "embtune_dense", None)) is not None:
        optimizer.__class__ = kind


_KINDS: dict[type[Any], type[Any]] = {}


def _lazy(kind: type[Any]) -> type[Any]:
    """Derive the optimizer that updates rows, once."""
    if kind in _KINDS:
        return _KINDS[kind]

    class Lazy(kind):  # type: ignore[misc]
        embtune_dense = kind

        def _append_optimize_op(self, block: Any, param_and_grad: Any) -> Any:
            pair = self._update_param_group(param_and_grad) if isinstance(param_and_grad, dict) else param_and_grad
            parameter, gradient = pair
            if not gradient.is_selected_rows():
                return super()._append_optimize_op(block, param_and_grad)
            rows, values = _rows_with_gradient(gradient)
            if rows is None:
                self._get_accumulator_master(self._beta1_pow_acc_str, parameter).scale_(self._beta1)
                self._get_accumulator_master(self._beta2_pow_acc_str, parameter).scale_(self._beta2)
                return None
            return _step_on_rows(self, super()._append_optimize_op, block, parameter, rows, values)

    _KINDS[kind] = Lazy
    Lazy.__name__ = Lazy.__qualname__ = f"Lazy{kind.__name__}"
    return Lazy


def _rows_with_gradient(gradient: Any) -> tuple[Any, Any]:
    """Return numbers (N,) and values (N, D) of the rows whose gradient is not zero; None for both where there are none.

    A row that was read and got no gradient, padding or one that a callback holds, counts as one that was not read.
    """
    paddle, numpy = require_paddle(), importlib.import_module("numpy")
    merged = paddle._C_ops.merge_selected_rows(gradient)
    values = merged._get_tensor_from_selected_rows()
    numbers = numpy.asarray(merged.rows(), dtype="int64")
    held = numpy.flatnonzero((numpy.from_dlpack(values.cpu().detach()) != 0).any(axis=1))
    if not held.size:
        return None, None
    if held.size < numbers.size:
        numbers, values = numbers[held], paddle.gather(values, paddle.to_tensor(held))
    return paddle.to_tensor(numbers), values


def _step_on_rows(optimizer: Any, step: Any, block: Any, parameter: Any, rows: Any, values: Any) -> Any:
    """Take the optimizer's own step on a small table that holds these rows and their moments, and put them back."""
    paddle = require_paddle()
    whole = {
        kind: held[parameter.name]
        for kind, held in optimizer._accumulators.items()
        if parameter.name in held and held[parameter.name].shape == parameter.shape
    }
    small = {kind: paddle.gather(table, rows) for kind, table in whole.items()}
    part = paddle.gather(parameter, rows)
    part.name, part.optimize_attr = parameter.name, parameter.optimize_attr
    for kind, table in small.items():
        optimizer._accumulators[kind][parameter.name] = table
    try:
        done = step(block, (part, values))
    finally:
        for kind, table in whole.items():
            optimizer._accumulators[kind][parameter.name] = table
    for kind, table in whole.items():
        paddle.scatter_(table, rows, small[kind])
    paddle.scatter_(parameter, rows, part)
    return done
