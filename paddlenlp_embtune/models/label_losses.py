"""Losses of several labels a text: binary cross-entropy, and the asymmetric loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.models.losses import weighted_mean
from paddlenlp_embtune.utils.schema import require, require_at_most

paddle = compat.require_paddle()

__all__ = ["Asymmetric", "BinaryCrossEntropy"]

_LEAST = 1e-8


class BinaryCrossEntropy(paddle.nn.Layer):  # type: ignore[misc, name-defined]
    """The mean over rows and labels of the cross-entropy of having a label or not, weighted by label and, where given, by row.

    Args:
        class_weights: of each label; only their ratios count.
    Shapes:
        class_weights: (C,) float32
    """

    label_kinds = ("multi",)

    def __init__(self, *, class_weights: npt.NDArray[np.float32]) -> None:
        super().__init__()
        self.class_weights = paddle.to_tensor(class_weights / class_weights.mean())

    def forward(self, logits: Any, labels: Any, weights: Any = None) -> Any:
        """Map (B, C) logits, (B, C) labels of 0 and 1, and (B,) float32 weights, or None, to a scalar."""
        cells = self.cells(logits.astype("float32"), labels.astype("float32"))
        return weighted_mean((cells * self.class_weights).mean(axis=-1), weights)

    def cells(self, logits: Any, labels: Any) -> Any:
        """Map (B, C) float32 logits and labels to the loss of each pair of row and label, (B, C)."""
        return paddle.nn.functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")


class Asymmetric(BinaryCrossEntropy):
    """Cross-entropy in which pairs of a text and a label that it lacks count less the surer they are, the surest not at all.

    Args:
        class_weights: of each label; only their ratios count.
        gamma_positive: how much less a label that a text has counts the surer it is, 0 (not at all) to 10.
        gamma_negative: the same of a label that it lacks.
        margin: a label that a text lacks does not count below this score, 0 or more and below 1.
    Source:
        Ridnik et al. 2021, "Asymmetric Loss For Multi-Label Classification", equation 7, as a mean over the labels
    """

    def __init__(
        self,
        *,
        class_weights: npt.NDArray[np.float32],
        gamma_positive: float = 0.0,
        gamma_negative: float = 4.0,
        margin: float = 0.05,
    ) -> None:
        super().__init__(class_weights=class_weights)
        for name, value in (("gamma_positive", gamma_positive), ("gamma_negative", gamma_negative)):
            require(value >= 0, f"train.loss_options.{name}", value, "0 or more")
            require_at_most(f"train.loss_options.{name}", value, 10)
        require(0 <= margin < 1, "train.loss_options.margin", margin, "0 or more and below 1")
        self.gamma_positive, self.gamma_negative, self.margin = gamma_positive, gamma_negative, margin

    def cells(self, logits: Any, labels: Any) -> Any:
        """Map (B, C) float32 logits and labels to the loss of each pair of row and label, (B, C)."""
        log_sigmoid = paddle.nn.functional.log_sigmoid
        scores = paddle.nn.functional.sigmoid(logits)
        shifted = (scores - self.margin).clip(min=0.0)
        has = -log_sigmoid(logits)
        lacks = -paddle.log((1 - shifted).clip(min=_LEAST)) if self.margin else -log_sigmoid(-logits)
        if self.gamma_positive:
            has = has * (1 - scores).clip(min=_LEAST) ** self.gamma_positive
        if self.gamma_negative:
            lacks = lacks * shifted.clip(min=_LEAST) ** self.gamma_negative
        return labels * has + (1 - labels) * lacks
