"""Cross-entropy with smoothed targets."""

from __future__ import annotations

from typing import Any

from paddlenlp_embtune import compat
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.models import CrossEntropy

paddle = compat.require_paddle()

__all__ = ["smoothed"]


def smoothed(criterion: Any, *, share: float) -> Any:
    """Return a cross-entropy whose targets are smoothed; see :class:`RegularizationSpec`.

    Paddle's own ``label_smoothing`` also mixes the weights of the classes: a row of a rare class then weighs less than without.

    Args:
        criterion: a ``paddle.nn.CrossEntropyLoss`` with the mean over rows, with or without weights of classes.
        share: of the target that is spread over all classes, above 0 and below 1.
    Returns:
        A function from logits (..., C), class numbers (...) or (..., 1), and weights of the rows (...) or None, to the mean
        over rows, each with its weight and that of its class.
    Raises:
        RecipeError: the criterion is another one.
    Source:
        Szegedy et al. 2016, "Rethinking the Inception Architecture for Computer Vision", section 7
    """
    if problem := _problem(criterion):
        raise RecipeError(
            f"regularization.label_smoothing is {share}, but {problem}; expected the loss cross_entropy, which is "
            "paddle.nn.CrossEntropyLoss with the mean over rows and class numbers, or label_smoothing 0"
        )

    def loss(logits: Any, labels: Any, row_weights: Any = None) -> Any:
        functional = paddle.nn.functional
        classes = logits.shape[-1]
        logs = functional.log_softmax(logits.reshape([-1, classes]).astype("float32"))
        numbers = labels.reshape([-1]).astype("int64")
        counted = numbers != criterion.ignore_index
        numbers = paddle.where(counted, numbers, paddle.zeros_like(numbers))
        target = functional.one_hot(numbers, classes)
        rows = -(logs * (target * (1 - share) + share / classes)).sum(axis=-1)
        weights = counted.astype("float32")
        if criterion.weight is not None:
            weights = weights * paddle.gather(criterion.weight.astype("float32"), numbers)
        if row_weights is not None:
            weights = weights * row_weights.reshape([-1])
        # As Paddle's, it is 0 where no row counts.
        return (rows * weights).sum() / weights.sum().clip(min=1e-12)

    return loss


def _problem(criterion: Any) -> str | None:
    kind = paddle.nn.CrossEntropyLoss
    if criterion is None:
        return "the Trainer has no criterion, so the loss that the model computes is not known"
    known = (kind.forward, CrossEntropy.forward)
    if not isinstance(criterion, kind) or type(criterion).forward not in known:
        return f"the Trainer's criterion is {type(criterion).__name__}"
    wanted = {"reduction": "mean", "soft_label": False, "use_softmax": True, "axis": -1, "label_smoothing": 0.0}
    for name, value in wanted.items():
        if (found := getattr(criterion, name, value)) != value:
            return f"the Trainer's criterion has {name}={found!r}"
    return None
