"""R-Drop: two passes with other dropout masks should agree."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from paddlenlp_embtune import compat
from paddlenlp_embtune.data import ROW_WEIGHTS
from paddlenlp_embtune.errors import HostError
from paddlenlp_embtune.models import weighted_mean

paddle = compat.require_paddle()

__all__ = ["consistent_loss", "doubled", "symmetric_divergence"]


def consistent_loss(
    compute: Callable[[Any], tuple[Any, Any]], inputs: Mapping[str, Any], *, alpha: float
) -> tuple[Any, Any, Any]:
    """Compute the loss of a batch by R-Drop; see :class:`RegularizationSpec` for the formula.

    Both passes go through the model as one batch of 2B rows, whose mean loss is the mean of both.

    Args:
        compute: from inputs to (loss, outputs), the loss being a mean over rows.
        inputs: tensors by name, rows first.
        alpha: weight of the divergence, above 0.
    Returns:
        Loss, outputs of all 2B rows, and the mean over the rows, by their weights where there are any, of
        KL(p1 | p2) + KL(p2 | p1).
    Raises:
        HostError: the model's logits are not among its outputs.
    Source:
        Wu et al. 2021, "R-Drop: Regularized Dropout for Neural Networks", equations 2 to 4, halved
    """
    loss, outputs = compute(doubled(inputs))
    divergence = symmetric_divergence(*_logits(outputs).chunk(2, axis=0), weights=inputs.get(ROW_WEIGHTS))
    return loss + divergence * (alpha / 4), outputs, divergence.detach()


def doubled(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Put all rows of a batch behind themselves once more."""
    kind = paddle.Tensor
    return {
        name: paddle.concat([value, value], axis=0) if isinstance(value, kind) and value.ndim else value
        for name, value in inputs.items()
    }


def symmetric_divergence(first: Any, second: Any, *, weights: Any = None) -> Any:
    """Return the mean over rows of KL(p1 | p2) + KL(p2 | p1), which is the sum of (p1 - p2) (log p1 - log p2) over classes.

    Paddle's ``kl_div``, and with it PaddleNLP's ``RDropLoss``, passes no gradient on to the second of its distributions.

    Shapes:
        first, second: (..., C) logits; weights: (...) float32, or None for a plain mean
    """
    log_softmax = paddle.nn.functional.log_softmax
    one, other = (log_softmax(logits.astype("float32"), axis=-1) for logits in (first, second))
    rows = ((one.exp() - other.exp()) * (one - other)).sum(axis=-1)
    return weighted_mean(rows, weights)


def _logits(outputs: Any) -> Any:
    """Find the logits in what a Trainer's loss gives beside the loss: (loss, what the model gives), or logits by name."""
    found = outputs if isinstance(outputs, Mapping) else outputs[1]
    while isinstance(found, (Mapping, tuple, list)):
        found = found.get("logits") if isinstance(found, Mapping) else found[0]
    if found is None or found.ndim < 2 or found.shape[0] % 2:
        shape = "none" if found is None else f"a tensor of shape {tuple(found.shape)}"
        raise HostError(
            f"regularization.r_drop needs the model's logits, one row for each text; found {shape}; expected a model that "
            "gives logits, (loss, logits), or a mapping with logits; or r_drop 0"
        )
    return found
