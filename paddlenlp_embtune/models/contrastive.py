"""Losses over the pairs of a batch: rows of one label belong together, rows of two labels apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from paddlenlp_embtune import compat
from paddlenlp_embtune.config import ContrastiveSpec

paddle = compat.require_paddle()

__all__ = ["pair_loss"]

_FAR = 1e9


def pair_loss(spec: ContrastiveSpec) -> Callable[[Any, Any], Any]:
    """Return the loss that a recipe names.

    Returns:
        maps (B, H) float32 vectors of any length and (B,) int64 labels to a scalar; rows without a partner count for nothing.
    """

    def loss(vectors: Any, labels: Any) -> Any:
        unit = paddle.nn.functional.normalize(vectors.astype("float32"), axis=1)
        cosines = paddle.matmul(unit, unit, transpose_y=True)
        others = 1.0 - paddle.eye(labels.shape[0])
        same = (labels.unsqueeze(1) == labels.unsqueeze(0)).astype("float32") * others
        if spec.loss == "supervised_contrastive":
            return _supervised(cosines / spec.temperature, same, others)
        if spec.loss == "cosine":
            return _balanced(paddle.square(1.0 - cosines), paddle.square(cosines), same, others)
        apart = paddle.square(paddle.clip(spec.margin - (1.0 - cosines), min=0.0))
        return _balanced(paddle.square(1.0 - cosines), apart, same, others)

    return loss


def _supervised(logits: Any, same: Any, others: Any) -> Any:
    """Mean over rows of the negative log-probability of finding the rows of its label: (B, B) logits and masks.

    Source:
        Khosla et al. 2020, equation 2
    """
    logits = logits - (1.0 - others) * _FAR
    found = logits - paddle.logsumexp(logits, axis=1, keepdim=True)
    partners = same.sum(axis=1)
    rows = -(found * same).sum(axis=1) / paddle.clip(partners, min=1.0)
    return rows.sum() / paddle.clip((partners > 0).astype("float32").sum(), min=1.0)


def _balanced(together: Any, apart: Any, same: Any, others: Any) -> Any:
    """Mean of the pairs of one label and mean of those of two, each half: (B, B) losses and masks.

    Tunstall et al. 2022 draw as many of one kind as of the other; here all count, as if they had been drawn.
    """
    different = others - same
    means = [(loss * mask).sum() / paddle.clip(mask.sum(), min=1.0) for loss, mask in ((together, same), (apart, different))]
    return 0.5 * (means[0] + means[1])
