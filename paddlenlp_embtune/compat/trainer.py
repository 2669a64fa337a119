"""The PaddleNLP Trainer, its checkpoints and its optimizer."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from paddlenlp_embtune.compat.host import trainer_module
from paddlenlp_embtune.compat.paddle import require_paddle
from paddlenlp_embtune.errors import HostError

__all__ = [
    "apply_optimizer_state",
    "catch_invalid_loss",
    "close_writers_last",
    "evaluate_without_callbacks",
    "expect_unused_parameters",
    "has_parameter_groups",
    "inner_optimizer",
    "parameters_with_state",
    "restore_on_failure",
    "steps_per_epoch",
    "visualdl_writer",
]

_OTHER_CHECKPOINT = "resume from another checkpoint, or with the model and the recipe that this one was made with"


def steps_per_epoch(args: Any, train_dataloader: Any) -> int | None:
    """Return the optimizer's steps in an epoch as the Trainer counts them; None where the data has no length."""
    try:
        batches = len(train_dataloader)
    except (TypeError, ValueError):  # data without a length; Paddle's loader raises ValueError then
        return None
    return max(1, batches // int(args.gradient_accumulation_steps))


def catch_invalid_loss(trainer: Any, on_invalid: Callable[[float], bool]) -> None:
    """Ask ``on_invalid(loss)`` about a loss that is not finite, where the Trainer would raise; False lets it raise.

    PaddleNLP 2 never raises and takes such a loss into the weights; there it is asked as soon as the loss has been computed.
    Under fp16 the loss scale takes care of it.
    """
    check = getattr(trainer, "_check_loss_valid", None)
    if check is None:
        step = trainer.training_step

        def step_and_ask(*arguments: Any, **options: Any) -> Any:
            loss = step(*arguments, **options)
            value = float(loss.item())
            if not math.isfinite(value) and not trainer.args.fp16:
                on_invalid(value)
            return loss

        trainer.training_step = step_and_ask
        return

    def check_or_ask(loss: Any) -> None:
        value = float(loss.item())
        if math.isfinite(value) or trainer.args.fp16 or not on_invalid(value):
            check(loss)

    trainer._check_loss_valid = check_or_ask


def restore_on_failure(trainer: Any, restore: Sequence[Callable[[], object]]) -> None:
    """Undo what a training has changed in the model for its duration when it is interrupted, by Ctrl-C for example.

    The Trainer does not notify callbacks then, and the model may be used afterwards.

    Args:
        trainer: its ``train`` is replaced.
        restore: called in this order when ``train`` raises.
    """
    train = trainer.train

    @functools.wraps(train)
    def train_or_restore(*arguments: Any, **options: Any) -> Any:
        try:
            return train(*arguments, **options)
        except BaseException:
            for each in restore:
                each()
            raise

    trainer.train = train_or_restore


def expect_unused_parameters() -> None:
    """Make every Trainer tell replicas that parameters may get no gradient, as PaddleNLP 3 does; call it before training.

    PaddleNLP 2 does not. Replicas then wait for the gradients of frozen parameters before they exchange any, so they silently
    exchange none and drift apart.
    """
    module = trainer_module()
    wrap = module.Trainer._wrap_model
    if hasattr(module.TrainingArguments, "ddp_find_unused_parameters") or hasattr(wrap, "embtune_shim"):
        return

    def wrap_model(trainer: Any, model: Any, training: bool = True) -> Any:
        paddle = require_paddle()
        parallel = paddle.DataParallel
        paddle.DataParallel = functools.partial(parallel, find_unused_parameters=not trainer.args.recompute)
        try:
            return wrap(trainer, model, training)
        finally:
            paddle.DataParallel = parallel

    wrap_model.embtune_shim = True  # type: ignore[attr-defined]
    module.Trainer._wrap_model = wrap_model


def evaluate_without_callbacks(trainer: Any, *, batches: int = -1) -> dict[str, float]:
    """Evaluate the model as it is, without notifying any callback.

    Args:
        trainer: with one set of evaluation rows, or several by name.
        batches: only so many batches of each set; -1 takes all.
    Returns:
        The metrics, named ``eval_…``, or ``eval_NAME_…`` where there are several sets.
    """
    sets = trainer.eval_dataset if isinstance(trainer.eval_dataset, dict) else {"": trainer.eval_dataset}
    found: dict[str, float] = {}
    for name, rows in sets.items():
        output = trainer.evaluation_loop(
            trainer.get_eval_dataloader(rows),
            description="Evaluation",
            prediction_loss_only=True if trainer.compute_metrics is None else None,
            metric_key_prefix=f"eval_{name}" if name else "eval",
            max_eval_iters=batches if batches > 0 else trainer.args.max_evaluate_steps,
        )
        found.update({key: float(value) for key, value in output.metrics.items() if isinstance(value, (int, float))})
    return found


def visualdl_writer(trainer: Any) -> Any:
    """Return the writer of the Trainer's VisualDL callback; None if it does not report there, or not in this process."""
    for callback in trainer.callback_handler.callbacks:
        if (writer := getattr(callback, "vdl_writer", None)) is not None:
            return writer
    return None


def close_writers_last(trainer: Any) -> None:
    """Move the Trainer's VisualDL callback behind all others, so that its writer is open while they end."""
    trainer.callback_handler.callbacks.sort(key=lambda callback: hasattr(callback, "vdl_writer"))


def has_parameter_groups(optimizer: Any) -> bool:
    """Whether an optimizer was built from parameter groups, each with its own weight decay."""
    groups = inner_optimizer(optimizer)._param_groups
    return bool(groups) and isinstance(groups[0], dict)


def parameters_with_state(optimizer: Any) -> list[str]:
    """Return Paddle's names of the parameters that an optimizer holds state for, sorted."""
    rows = inner_optimizer(optimizer)._accumulators.values()
    return sorted({_parameter(name) for by_parameter in rows for name in by_parameter})


def apply_optimizer_state(optimizer: Any, former_names: Mapping[str, str], *, expected: Sequence[str] | None = None) -> None:
    """Assign loaded optimizer state to its parameters now, and leave none pending.

    Paddle keeps loaded state aside until a parameter first trains. It then asserts that there is state for every parameter,
    which fails for one that was frozen so far; and state that waits for a parameter frozen again is missing from the next
    checkpoint. State is stored under names that Paddle counts up within a process; ``former_names`` translates them.

    Args:
        optimizer: the Trainer's, after it has loaded a checkpoint.
        former_names: Paddle's name of a parameter now to its name in the checkpoint.
        expected: what :func:`parameters_with_state` returned when the checkpoint was written; None skips this check.
    Raises:
        HostError: there is state that belongs to no parameter, or is of another shape or type, or some of it is missing.
    """
    optimizer = inner_optimizer(optimizer)
    held = dict(getattr(optimizer, "_accumulators_holder", None) or {})
    if not held:
        _check_owners(set(), expected)
        return
    optimizer._accumulators_holder = {}
    groups = optimizer._param_groups
    parameters = [p for group in groups for p in group["params"]] if isinstance(groups[0], dict) else list(groups)
    by_former = {former_names.get(parameter.name, parameter.name): parameter for parameter in parameters}
    owner = {key: _longest_prefix(key, by_former) for key in held}
    if unknown := [key for key, name in owner.items() if name is None]:
        raise HostError(
            f"the checkpoint holds optimizer state for {len(unknown)} tensors that belong to no parameter of this model, "
            f"{unknown[0]!r} first; resume with the model that the checkpoint was made with"
        )
    _check_owners(set(owner.values()), expected)
    block = require_paddle().base.framework.default_main_program().global_block()
    wanted = {name for name in owner.values() if name is not None}
    optimizer._create_accumulators(block, [by_former[name] for name in by_former if name in wanted])
    tensors = {(kind, name): value for kind, rows in optimizer._accumulators.items() for name, value in rows.items()}
    for (kind, name), value in tensors.items():
        parameter = _parameter(name)
        former = re.escape(former_names.get(parameter, parameter))
        pattern = re.compile(rf"{former}(_fp32_master_\d+)?_{re.escape(kind)}_\d+")
        found = [key for key in held if pattern.fullmatch(key)]
        if not found:
            raise HostError(f"the checkpoint holds no {kind} of the optimizer for the parameter {name!r}; {_OTHER_CHECKPOINT}")
        for key in found:
            _fill(value, held.pop(key), key)
    if held:
        raise HostError(
            f"the checkpoint holds {next(iter(held))!r} and {len(held) - 1} more tensors, which this optimizer does not use; "
            f"{_OTHER_CHECKPOINT}"
        )


def _check_owners(found: set[str | None], expected: Sequence[str] | None) -> None:
    if expected is not None and (other := sorted(found.symmetric_difference(expected), key=str)):
        raise HostError(
            f"the checkpoint's optimizer has state for {len(found)} parameters, and had it for {len(set(expected))}; the first "
            f"that differs is {other[0]!r}; {_OTHER_CHECKPOINT}"
        )


def _parameter(name: str) -> str:
    """The parameter's own name, where the optimizer keeps a copy in float32."""
    return re.sub(r"_fp32_master_\d+$", "", name)


def _fill(tensor: Any, value: Any, name: str) -> None:
    """Set a tensor of the optimizer to a value, which must be of the same shape and type."""
    shape, kind = list(value.shape), str(value.dtype).rpartition(".")[2]
    wanted, own = list(tensor.shape), str(tensor.dtype).rpartition(".")[2]
    if shape != wanted or kind.replace("uint16", "bfloat16") != own:
        raise HostError(
            f"the checkpoint holds {name!r} as {kind} of shape {shape}, expected {own} of shape {wanted}; {_OTHER_CHECKPOINT}"
        )
    tensor.set_value(value)


def inner_optimizer(optimizer: Any) -> Any:
    """Return the optimizer inside the wrappers of distributed and mixed-precision training."""
    while hasattr(optimizer, "_inner_opt"):
        optimizer = optimizer._inner_opt
    return optimizer


def _longest_prefix(key: str, names: Iterable[str]) -> str | None:
    matching = [name for name in names if key.startswith(f"{name}_")]
    return max(matching, key=len, default=None)
