"""The built-in losses: cross-entropy, focal, and the squared earth mover's distance of ordered labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.utils.schema import require, require_at_most

paddle = compat.require_paddle()

__all__ = ["CrossEntropy", "Focal", "RowLoss", "SquaredEMD", "weighted_mean"]

_LEAST = 1e-20  # whose powers between -1 and 0 are finite in float32


class CrossEntropy(paddle.nn.CrossEntropyLoss):  # type: ignore[misc, name-defined]
    """Mean cross-entropy, weighted by the class of each row and, where given, by a weight of its own.

    Args:
        class_weights: one for each class.
    Shapes:
        class_weights: (C,) float32
    """

    def __init__(self, *, class_weights: npt.NDArray[np.float32]) -> None:
        super().__init__(weight=paddle.to_tensor(class_weights))

    def forward(self, logits: Any, labels: Any, weights: Any = None) -> Any:
        """Map (B, C) logits, (B,) int64 labels and (B,) float32 weights, or None, to a scalar."""
        if weights is None:
            return super().forward(logits, labels)
        return weighted_mean(_cross_entropies(logits, labels), paddle.gather(self.weight, labels) * weights)


class RowLoss(paddle.nn.Layer):  # type: ignore[misc, name-defined]
    """The mean of a loss of single rows, weighted as in :class:`CrossEntropy`.

    ``ordered`` tells whether the order of the labels must mean something.

    Args:
        class_weights: one for each class.
    Shapes:
        class_weights: (C,) float32
    """

    ordered = False

    def __init__(self, *, class_weights: npt.NDArray[np.float32]) -> None:
        super().__init__()
        self.class_weights = paddle.to_tensor(class_weights)

    def forward(self, logits: Any, labels: Any, weights: Any = None) -> Any:
        """Map (B, C) logits, (B,) int64 labels and (B,) float32 weights, or None, to a scalar."""
        by_class = paddle.gather(self.class_weights, labels)
        rows = self.rows(logits.astype("float32"), labels)
        return weighted_mean(rows, by_class if weights is None else by_class * weights)

    def rows(self, logits: Any, labels: Any) -> Any:
        """Map (B, C) float32 logits and (B,) int64 labels to the loss of each row, (B,)."""
        raise NotImplementedError


class Focal(RowLoss):
    """Cross-entropy in which a row counts less the better it is predicted: ``-(1 - p)**gamma * log p``.

    Args:
        class_weights: the paper's alpha.
        gamma: 0, which is plain cross-entropy, to 10.
    Source:
        Lin et al. 2017, "Focal Loss for Dense Object Detection", equation 5, with a softmax in place of their sigmoids
    """

    def __init__(self, *, class_weights: npt.NDArray[np.float32], gamma: float = 2.0) -> None:
        super().__init__(class_weights=class_weights)
        require(gamma >= 0, "train.loss_options.gamma", gamma, "0 or more")
        require_at_most("train.loss_options.gamma", gamma, 10)
        self.gamma = gamma

    def rows(self, logits: Any, labels: Any) -> Any:
        """Map (B, C) float32 logits and (B,) int64 labels to the loss of each row, (B,)."""
        cross_entropies = _cross_entropies(logits, labels)
        missing = (-paddle.expm1(-cross_entropies)).clip(min=_LEAST)  # 1 - p, exact for p near 1
        return missing**self.gamma * cross_entropies


class SquaredEMD(RowLoss):
    """For ordered labels: the sum over classes of the squared distance between predicted and true cumulative probability.

    A mistake costs more the farther it is from the true label. Equal distances between neighbouring labels are assumed.

    Args:
        class_weights: one for each class.
        cross_entropy: this much of the cross-entropy is added, 0 or more. Alone, the distance has hardly any gradient
            where a model is sure and wrong.
    Source:
        Hou, Yu and Samaras 2016, "Squared Earth Mover's Distance-based Loss for Training Deep Neural Networks", section 3,
        equation 5 with l = 2, without the constant factor
    """

    ordered = True

    def __init__(self, *, class_weights: npt.NDArray[np.float32], cross_entropy: float = 0.0) -> None:
        super().__init__(class_weights=class_weights)
        require(cross_entropy >= 0, "train.loss_options.cross_entropy", cross_entropy, "0 or more")
        self.cross_entropy = cross_entropy

    def rows(self, logits: Any, labels: Any) -> Any:
        """Map (B, C) float32 logits and (B,) int64 labels to the loss of each row, (B,)."""
        predicted = paddle.nn.functional.softmax(logits).cumsum(axis=-1)
        true = (paddle.arange(logits.shape[-1]) >= labels.unsqueeze(-1)).astype("float32")
        rows = (predicted - true).square().sum(axis=-1)
        if self.cross_entropy:
            rows = rows + _cross_entropies(logits, labels) * self.cross_entropy
        return rows


def _cross_entropies(logits: Any, labels: Any) -> Any:
    """The cross-entropy of each row, (B,), which Paddle reports as 64 at most; its gradient is right above that too."""
    return paddle.nn.functional.cross_entropy(logits, labels, reduction="none").reshape([-1])


def weighted_mean(rows: Any, weights: Any = None) -> Any:
    """Return the mean of losses by the weights of their rows; None weighs all the same.

    Shapes:
        rows: (N,); weights: (N,) or None; returns: ()
    """
    return rows.mean() if weights is None else (rows * weights).sum() / weights.sum()
