"""The last layer of a classifier: linear, or a cumulative link for ordered labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from paddlenlp_embtune import compat
from paddlenlp_embtune.utils.schema import require_name

paddle = compat.require_paddle()

__all__ = ["HEADS", "CumulativeLink", "build_head"]

HEADS = ("linear", "cumulative_link")


def build_head(kind: str, *, width: int, num_labels: int, where: str) -> Any:
    """Return a new head with ``weight`` and ``bias``, from (B, H) features to (B, C) logits.

    Args:
        kind: one of ``HEADS``.
        width: H.
        num_labels: C.
        where: what the option is called in messages.
    Raises:
        RecipeError: there is no such head.
    """
    require_name(where, kind, HEADS)
    return paddle.nn.Linear(width, num_labels) if kind == "linear" else CumulativeLink(width, num_labels)


class CumulativeLink(paddle.nn.Layer):  # type: ignore[misc, name-defined]
    """Proportional odds: one score of a text, and ascending thresholds that part the labels along it.

    ``P(label <= k) = sigmoid(threshold[k] - score)``. The logits are the logarithms of the labels' probabilities, so that
    whatever takes a softmax of them, losses and engines alike, gets these. At the start all labels are equally likely for a
    text of score 0.

    ``bias`` holds the first threshold, and for each further one what a softplus makes its distance from the one before.

    Args:
        width: H.
        num_labels: C, in their order; 2 or more.
    Shapes:
        forward: (B, H) float32 to (B, C) float32
    Source:
        McCullagh 1980, "Regression Models for Ordinal Data", section 2
    """

    ordered = True

    def __init__(self, width: int, num_labels: int) -> None:
        super().__init__()
        self.weight = self.create_parameter([width, 1])
        self.bias = self.create_parameter([num_labels - 1], is_bias=True)
        cumulative = np.arange(1, num_labels) / num_labels
        thresholds = np.log(cumulative / (1 - cumulative))
        start = np.concatenate([thresholds[:1], np.log(np.expm1(np.diff(thresholds)))])
        self.bias.set_value(start.astype(np.float32))
        self._sums = np.tril(np.ones((num_labels - 1, num_labels - 1), dtype=np.float32))

    def thresholds(self) -> Any:
        """Return the thresholds, (C - 1,) float32, ascending."""
        if self._sums.shape[0] == 1:
            return self.bias
        distances = -paddle.nn.functional.log_sigmoid(-self.bias[1:])
        return paddle.matmul(paddle.to_tensor(self._sums), paddle.concat([self.bias[:1], distances]))

    def forward(self, features: Any) -> Any:
        """Map (B, H) float32 to logarithms of probabilities, (B, C) float32."""
        log_sigmoid = paddle.nn.functional.log_sigmoid  # and not softplus, which paddle2onnx 2 refuses
        beyond = self.thresholds() - paddle.matmul(features, self.weight)  # (B, C - 1)
        below, above = log_sigmoid(beyond), log_sigmoid(-beyond)  # log P(label <= k), log P(label > k)
        if self._sums.shape[0] == 1:
            return paddle.concat([below, above], axis=1)
        # sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)); here a - b is the softplus of a bias, which makes
        # the last factor the sigmoid of this bias.
        between = below[:, 1:] + above[:, :-1] + log_sigmoid(self.bias[1:])
        return paddle.concat([below[:, :1], between, above[:, -1:]], axis=1)
