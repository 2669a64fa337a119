"""The Trainer's training step and loss, wrapped; several passes in one step."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

from paddlenlp_embtune.compat.paddle import require_paddle
from paddlenlp_embtune.errors import HostError

__all__ = ["forward_hook", "generator_state", "restore_generator_state", "without_gradient_sync", "wrap_loss", "wrap_step"]


def wrap_step(trainer: Any, around: Callable[[Callable[[], Any], Any], Any]) -> None:
    """Put a function around the Trainer's pass over one batch, forward and backward.

    Args:
        trainer: its ``training_step`` is replaced.
        around: gets the pass, which it may call several times, and the model as wrapped for training; returns the loss to log.
            Gradients of all passes add up.
    Raises:
        HostError: the Trainer runs a pipeline, which has no such pass.
    """
    if getattr(trainer.args, "pipeline_parallel_degree", 1) > 1:
        raise HostError("regularization needs whole passes over a batch; expected pipeline_parallel_degree 1")
    step = trainer.training_step

    # PaddleNLP 3 looks at the signature before it hands over its step_control.
    @functools.wraps(step)
    def training_step(model: Any, inputs: Any, *arguments: Any, **options: Any) -> Any:
        # A copy for each pass, as labels are popped out of it.
        return around(lambda: step(model, dict(inputs), *arguments, **options), model)

    trainer.training_step = training_step


def wrap_loss(trainer: Any, around: Callable[[Callable[[Any], tuple[Any, Any]], Any], tuple[Any, Any] | None]) -> None:
    """Put a function around the Trainer's loss of a batch.

    Args:
        trainer: its ``compute_loss`` is replaced.
        around: gets a function from inputs to (loss, outputs), and the inputs; returns the same, or None to leave the batch to
            the Trainer.
    """
    compute = trainer.compute_loss

    @functools.wraps(compute)
    def compute_loss(model: Any, inputs: Any, return_outputs: bool = False, **options: Any) -> Any:
        found = around(lambda given: compute(model, given, return_outputs=True, **options), inputs)
        if found is None:
            return compute(model, inputs, return_outputs=return_outputs, **options)
        return found if return_outputs else found[0]

    trainer.compute_loss = compute_loss


@contextlib.contextmanager
def forward_hook(layers: list[Any], hook: Callable[[Any, Any, Any], Any]) -> Iterator[None]:
    """Let a hook(layer, inputs, output) change the outputs of layers while the block runs."""
    helpers = [layer.register_forward_post_hook(hook) for layer in layers]
    try:
        yield
    finally:
        for helper in helpers:
            helper.remove()


def without_gradient_sync(model: Any, layers: list[Any]) -> Any:
    """Keep the gradients of a pass to this process; a later pass exchanges them with its own. A context manager.

    Where one of the layers gives gradients by rows, every pass exchanges them, which comes to the same: Paddle 3.3 crashes
    when it exchanges rows that were held back.
    """
    held = hasattr(model, "no_sync") and not any(layer._sparse for layer in layers)
    return model.no_sync() if held else contextlib.nullcontext()


def generator_state() -> Any:
    """Return the state of the generators that dropout draws from."""
    return require_paddle().get_rng_state()


def restore_generator_state(state: Any) -> None:
    """Set the generators to what :func:`generator_state` returned, so that the same draws follow."""
    require_paddle().set_rng_state(state)
