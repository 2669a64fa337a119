"""The regression over n-grams in a network: from ids to logits, by operators that export."""

from __future__ import annotations

from typing import Any

from paddlenlp_embtune import compat
from paddlenlp_embtune.models._ngram_regression import CHECK_MODULUS, MULTIPLIER

paddle = compat.require_paddle()

__all__ = ["ngram_scores"]


def ngram_scores(ids: Any, table: Any, *, num_labels: int, longest: int) -> Any:
    """Add up the weighted n-grams of texts, over the length of their vector; the bias is not in it.

    Args:
        ids: (B, L) int64, padded with 0 on the right.
        table: (buckets, C + 1) or, where it is checked, (buckets, C + 2) float32, as :func:`fit_ngrams` returns it.
        num_labels: C.
        longest: tokens of the longest n-grams.
    Shapes:
        returns: (B, C) float32
    """
    codes, present = _ngrams(ids, longest)
    # Remainders by a tensor, not a number: Paddle divides integers by a number in float32, which loses digits.
    buckets = paddle.remainder(codes, paddle.full_like(codes, table.shape[0] - 1)) + paddle.ones_like(codes)
    rows = paddle.nn.functional.embedding(paddle.multiply(buckets, present), table)
    if table.shape[1] == num_labels + 2:
        checks = paddle.remainder(codes, paddle.full_like(codes, CHECK_MODULUS)).astype("float32")
        own = paddle.equal(rows[:, :, num_labels + 1], checks).astype("float32")
        rows = rows[:, :, : num_labels + 1] * own.unsqueeze(-1)
    sums = rows.sum(axis=1)
    return sums[:, :num_labels] / paddle.sqrt(sums[:, num_labels:] + 1e-6)


def _ngrams(ids: Any, longest: int) -> tuple[Any, Any]:
    """Number the n-grams that begin at each place, (B, L x longest) int64; and say with 0 which reach into padding."""
    multiplier = paddle.full_like(ids, MULTIPLIER)
    last, mixed = ids, paddle.multiply(ids, multiplier)
    codes, present = [mixed], [(ids != 0).astype("int64")]
    for _ in range(1, longest):
        last = paddle.concat([last[:, 1:], paddle.zeros_like(ids[:, :1])], axis=1)
        codes.append(mixed + last)
        present.append((last != 0).astype("int64"))
        mixed = paddle.multiply(codes[-1], multiplier)
    return paddle.concat(codes, axis=1), paddle.concat(present, axis=1)
