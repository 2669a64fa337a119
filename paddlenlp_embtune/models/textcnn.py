"""A text CNN with a bag of character pairs beside it, built from the operators that are fast on a CPU."""

from __future__ import annotations

from typing import Any

from paddlenlp_embtune import host
from paddlenlp_embtune.errors import RecipeError

paddle = host.require_paddle()

__all__ = ["TextCNN"]

_HASH = 7919


class TextCNN(paddle.nn.Layer):  # type: ignore[misc, name-defined]
    """Convolution over tokens, maximum over time, linear head; plus a linear model of hashed token pairs.

    The convolution looks the tokens of a window up side by side and multiplies once, which is several times faster in
    Paddle than ``Conv1D``; the sequence is widened by ``window`` padding tokens, so that every text meets at least one
    window of pure padding and the maximum does not depend on how far its batch was padded.

    Args:
        vocabulary_size: V, the rows of the embedding; id 0 is padding.
        dimension: D, the width of the embedding.
        num_labels: C.
        filters: F, the width of the convolution.
        window: tokens that a filter sees.
        pair_buckets: rows of the table of hashed token pairs; 0 leaves pairs out.
        embedding_dropout: share of the looked-up values that are dropped in training.
        dropout: share of the features that are dropped in training.
    Shapes:
        forward: (B, L) int64 ids to (B, C) float32 logits
    Source:
        Kim 2014, "Convolutional Neural Networks for Sentence Classification"; the pairs follow Joulin et al. 2017, "Bag of
        Tricks for Efficient Text Classification", section 2.1, with one weight per class instead of a vector
    """

    embedding_parameter = "embedding.weight"

    def __init__(
        self,
        *,
        vocabulary_size: int,
        dimension: int,
        num_labels: int,
        filters: int = 384,
        window: int = 3,
        pair_buckets: int = 131072,
        embedding_dropout: float = 0.3,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        _check_options(filters=filters, window=window, pair_buckets=pair_buckets)
        for name, share in (("embedding_dropout", embedding_dropout), ("dropout", dropout)):
            if not 0.0 <= share < 1.0:
                raise RecipeError(f"{name} of textcnn is {share!r}; legal: 0 or more and below 1")
        self._config = {
            "vocabulary_size": vocabulary_size,
            "dimension": dimension,
            "num_labels": num_labels,
            "filters": filters,
            "window": window,
            "pair_buckets": pair_buckets,
            "embedding_dropout": embedding_dropout,
            "dropout": dropout,
        }
        self.window = window
        self.filters = filters
        self.pair_buckets = pair_buckets
        self.embedding = paddle.nn.Embedding(vocabulary_size, dimension, padding_idx=0)
        self.convolution = paddle.nn.Linear(window * dimension, filters)
        self.head = paddle.nn.Linear(filters, num_labels)
        self.embedding_dropout = paddle.nn.Dropout(embedding_dropout)
        self.dropout = paddle.nn.Dropout(dropout)
        if pair_buckets:
            zero = paddle.nn.initializer.Constant(0.0)
            self.pairs = paddle.nn.Embedding(pair_buckets, num_labels, padding_idx=0, weight_attr=zero)

    def config(self) -> dict[str, Any]:
        """Return the arguments that build this layer again."""
        return dict(self._config)

    def forward(self, input_ids: Any) -> Any:
        """Map (B, L) int64 ids, padded with 0 on the right, to (B, C) float32 logits."""
        logits = self.head(self.dropout(self._features(input_ids)))
        return logits + self._pair_logits(input_ids) if self.pair_buckets else logits

    def _features(self, ids: Any) -> Any:
        """Widest match of each filter: (B, L) to (B, F)."""
        margin = paddle.zeros_like(ids[:, :1])
        wide = paddle.concat([margin] * (self.window - 1) + [ids] + [margin] * self.window, axis=1)
        steps = wide.shape[1] - self.window + 1
        shifted = [wide[:, start : start + steps] for start in range(self.window)]
        if not paddle.in_dynamic_mode():
            # A traced length is unknown: count from the end instead.
            last = self.window - 1
            shifted = [wide[:, start : start - last] if start < last else wide[:, start:] for start in range(self.window)]
        windows = self._look_up(self.embedding, paddle.stack(shifted, axis=-1)).flatten(2)
        matches = self.convolution(self.embedding_dropout(windows))
        # The maximum and ReLU commute, so ReLU runs on F values instead of L x F.
        return paddle.nn.functional.relu(self._maximum(matches))

    def _look_up(self, table: Any, ids: Any) -> Any:
        """Rows of a table; row 0 is zero, and gets no gradient in training.

        ``padding_idx`` is left out otherwise: paddle2onnx would write the whole table twice for it.
        """
        return paddle.nn.functional.embedding(ids, table.weight, padding_idx=0 if self.training else None)

    def _maximum(self, matches: Any) -> Any:
        """Maximum over time, (B, L, F) to (B, F), by the operator that is fast or that exports."""
        functional = paddle.nn.functional
        if paddle.in_dynamic_mode():
            # adaptive_max_pool2d is 150 times faster than max() in a training step, but has no ONNX form.
            return functional.adaptive_max_pool2d(matches.unsqueeze(1), [1, self.filters]).flatten(1)
        return functional.adaptive_max_pool1d(matches.transpose([0, 2, 1]), 1).flatten(1)

    def _pair_logits(self, ids: Any) -> Any:
        """Sum of the weights of neighbouring pairs over the square root of their number: (B, L) to (B, C)."""
        second = paddle.concat([ids[:, 1:], paddle.zeros_like(ids[:, :1])], axis=1)
        present = (second != 0).astype("int64")
        # Products with a tensor, not a number: Paddle multiplies integers by a number in float32, which loses digits.
        mixed = paddle.multiply(ids, paddle.full_like(ids, _HASH)) + second
        buckets = paddle.remainder(mixed, paddle.full_like(mixed, self.pair_buckets - 1)) + paddle.ones_like(mixed)
        weights = self._look_up(self.pairs, paddle.multiply(buckets, present)).sum(axis=1)
        count = present.astype("float32").sum(axis=1, keepdim=True)
        return weights / paddle.sqrt(count + 1.0)


def _check_options(*, filters: int, window: int, pair_buckets: int) -> None:
    if filters < 1:
        raise RecipeError(f"filters of textcnn is {filters!r}; legal: 1 or more")
    if window < 2:
        raise RecipeError(f"window of textcnn is {window!r}; legal: 2 or more tokens")
    if pair_buckets == 1 or pair_buckets < 0:
        raise RecipeError(f"pair_buckets of textcnn is {pair_buckets!r}; legal: 0 for none, or 2 or more")
