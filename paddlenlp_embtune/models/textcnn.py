"""A text CNN averaged with a logistic regression over n-grams, built from the operators that are fast on a CPU."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.models._expert_share import SHARES, choose_share
from paddlenlp_embtune.models._ngram_continuation import aligned_table, continue_ngrams
from paddlenlp_embtune.models._ngram_lookup import ngram_scores
from paddlenlp_embtune.models._ngram_regression import fit_ngrams
from paddlenlp_embtune.models.heads import build_head
from paddlenlp_embtune.utils.memory import require_memory
from paddlenlp_embtune.utils.schema import require_at_most

paddle = compat.require_paddle()

__all__ = ["TextCNN"]


class TextCNN(paddle.nn.Layer):  # type: ignore[misc, name-defined]
    """Convolution over tokens, maximum over time, linear head; averaged with a logistic regression over token n-grams.

    The convolution looks the tokens of a window up side by side and multiplies once, which is several times faster in
    Paddle than ``Conv1D``; the sequence is widened by ``window`` padding tokens, so that every text meets at least one
    window of pure padding and the maximum does not depend on how far its batch was padded.

    With ``fast_steps`` set, as it is while a Trainer trains on a CPU, the network is computed from the distinct tokens of a
    batch (:func:`compat.window_maxima`), which differs by rounding alone.

    The regression is fitted before training (``fit_before_training``) and stays as it is: trained together, it learns the
    training rows by heart and leaves the network nothing to learn from. Training sees the network alone; evaluation and
    export average the two, half and half unless ``fit_after_training`` finds a clearly better share on the development rows.

    Args:
        vocabulary_size: V, the rows of the embedding; id 0 is padding.
        dimension: D, the width of the embedding.
        num_labels: C.
        filters: F, the width of the convolution, 1 to 65,536.
        window: tokens that a filter sees, 2 to 1,024.
        ngram_buckets: most rows of the table of n-grams, at most 2**24; 0 leaves the regression out. A table that is checked
            has fewer where it needs fewer, twice the n-grams that it knows or more.
        ngram_rows: rows of the table as fitted, which a bundle states; null for ``ngram_buckets``.
        ngram_checked: whether a bucket says which n-gram it is for, so that others that fall into it do not count; bundles that
            do not state it have false.
        ngram_length: tokens of the longest n-grams, 1 to 4; bundles that do not state it have 2.
        ngram_ratios: whether the regression weighs n-grams by how far they lean to a class, beside TF-IDF.
        ngram_share: of the regression in the average, 0 to 1; null chooses it on the development rows.
        token_dropout: share of the tokens that are blanked out in training, which costs far less than dropping single values
            of their vectors and does as well.
        dropout: share of the features that are dropped in training.
        head: ``linear``, or ``cumulative_link`` for ordered labels. The regression is multinomial with both.
    Shapes:
        forward: (B, L) int64 ids to (B, C) float32 logits
    Source:
        Kim 2014, "Convolutional Neural Networks for Sentence Classification"; the average of logits is the logarithmic opinion
        pool of Hinton 2002, "Training Products of Experts by Minimizing Contrastive Divergence", section 1
    """

    embedding_parameter = "embedding.weight"
    pooling = "max"

    def __init__(
        self,
        *,
        vocabulary_size: int,
        dimension: int,
        num_labels: int,
        filters: int = 384,
        window: int = 3,
        ngram_buckets: int = 262144,
        ngram_rows: int | None = None,
        ngram_checked: bool = True,
        ngram_length: int = 3,
        ngram_ratios: bool = True,
        ngram_share: float | None = None,
        token_dropout: float = 0.1,
        dropout: float = 0.5,
        head: str = "linear",
    ) -> None:
        super().__init__()
        _check_options(filters=filters, window=window, ngram_buckets=ngram_buckets, ngram_length=ngram_length)
        rows = ngram_buckets if ngram_rows is None else ngram_rows
        if ngram_rows is not None and not 2 <= ngram_rows <= ngram_buckets:
            raise RecipeError(
                f"ngram_rows of textcnn is {ngram_rows!r}; expected 2 to ngram_buckets ({ngram_buckets}), or null"
            )
        values = vocabulary_size * dimension + window * dimension * filters + (filters + rows) * (num_labels + 2)
        what = f"a textcnn of {filters:,} filters, window {window:,}, {ngram_buckets:,} buckets and width {dimension:,}"
        require_memory(values * 4, what, "lower these", error=RecipeError)
        if ngram_share is not None and not 0.0 <= ngram_share <= 1.0:
            raise RecipeError(f"ngram_share of textcnn is {ngram_share!r}; expected 0 to 1, or null to choose it")
        for name, share in (("token_dropout", token_dropout), ("dropout", dropout)):
            if not 0.0 <= share < 1.0:
                raise RecipeError(f"{name} of textcnn is {share!r}; expected 0 or more and below 1")
        self._config = {
            "vocabulary_size": vocabulary_size,
            "dimension": dimension,
            "num_labels": num_labels,
            "filters": filters,
            "window": window,
            "ngram_buckets": ngram_buckets,
            "ngram_rows": ngram_rows,
            "ngram_checked": ngram_checked,
            "ngram_length": ngram_length,
            "ngram_ratios": ngram_ratios,
            "ngram_share": ngram_share,
            "token_dropout": token_dropout,
            "dropout": dropout,
            "head": head,
        }
        self.window = window
        self.filters = filters
        self.num_labels = num_labels
        self._most_buckets, self.ngram_buckets = ngram_buckets, rows
        self.ngram_checked = ngram_checked
        self.ngram_length = ngram_length
        self.ngram_ratios = ngram_ratios
        self.token_dropout = token_dropout
        self.fast_steps = False
        self.embedding = paddle.nn.Embedding(vocabulary_size, dimension, padding_idx=0)
        self.convolution = paddle.nn.Linear(window * dimension, filters)
        self.head = build_head(head, width=filters, num_labels=num_labels, where="head of textcnn")
        self.dropout = paddle.nn.Dropout(dropout)
        if ngram_buckets:
            self.register_buffer("ngram_table", paddle.zeros([rows, num_labels + 1 + ngram_checked]))
            self.register_buffer("ngram_bias", paddle.zeros([num_labels]))
            self.register_buffer("ngram_share", paddle.full([1], 0.5 if ngram_share is None else ngram_share))
        self.states_share = ngram_share is not None

    def config(self) -> dict[str, Any]:
        """Return the arguments that build this layer again."""
        return dict(self._config)

    def complete_config(self, stated: Mapping[str, Any]) -> None:
        """Make up for what the ``config()`` in an older bundle does not state: pairs at most, and a table without checks."""
        if "ngram_length" not in stated:
            self.ngram_length = self._config["ngram_length"] = 2
        if self.ngram_buckets and "ngram_checked" not in stated:
            self.ngram_checked = self._config["ngram_checked"] = False
            self.register_buffer("ngram_table", paddle.zeros([self.ngram_buckets, self.num_labels + 1]))

    @property
    def hashes_ids(self) -> bool:
        """Whether answers depend on the numbers of ids, so that these must not change once it is trained."""
        return bool(self.ngram_buckets)

    def fit_before_training(
        self,
        ids: Sequence[Sequence[int]],
        labels: Sequence[int],
        *,
        class_weights: npt.NDArray[np.float32],
        row_weights: npt.NDArray[np.float32] | None = None,
        answers: npt.NDArray[np.float32] | None = None,
        continued: bool = False,
    ) -> None:
        """Fit the regression over n-grams on the training rows.

        Args:
            ids: N lists of token ids.
            labels: N class numbers; -100 for a row without a label. Of rows that may have several, (N, C) of 0 and 1.
            class_weights: (C,) float32.
            row_weights: (N,) float32, of each row beside that of its class; None for 1.
            answers: (N, C) probabilities of a teacher, which rows without a label are fitted to.
            continued: change the regression that is there, at a cost, instead of fitting a new one.
        """
        if not self.ngram_buckets:
            return
        options: dict[str, Any] = {
            "class_weights": class_weights,
            "row_weights": row_weights,
            "buckets": self._most_buckets,
            "longest": self.ngram_length,
            "ratios": self.ngram_ratios,
            "checked": self.ngram_checked,
            "answers": answers,
        }
        if continued:
            former = self.ngram_table.numpy(), self.ngram_bias.numpy()
            table, bias = continue_ngrams(ids, labels, former=former, vocabulary_size=len(self.embedding.weight), **options)
        else:
            table, bias = fit_ngrams(ids, labels, **options)
        self.ngram_buckets = len(table)
        self._config["ngram_rows"] = len(table) if self.ngram_checked else None
        self.register_buffer("ngram_table", paddle.to_tensor(table))
        self.ngram_bias.set_value(bias)

    def aligned_with(self, former: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Return the weights of the network that this one has gone on from, with its table of n-grams laid out as here."""
        found = dict(former)
        if self.ngram_buckets and "ngram_table" in former:
            found["ngram_table"] = aligned_table(former["ngram_table"], self.ngram_table.numpy(), self.num_labels)
        return found

    def fit_after_training(
        self,
        logits_of: Callable[[], npt.NDArray[np.float32]],
        labels: Sequence[int],
        *,
        score: Callable[[npt.NDArray[np.float32]], float] | None = None,
    ) -> None:
        """Choose the share of the regression in the average, among tenths, on rows held out from training.

        Args:
            logits_of: computes the (N, C) float32 logits of the held-out rows with this model in evaluation mode.
            labels: N class numbers, or of rows that may have several labels (N, C) of 0 and 1.
            score: how good logits are, more being better; None for accuracy.
        """
        if not self.ngram_buckets or self.states_share:
            return
        with self._computing_once():
            answers = []
            for share in SHARES:
                self.ngram_share.set_value(np.array([share], dtype=np.float32))
                answers.append(logits_of())
        self.ngram_share.set_value(np.array([choose_share(answers, np.asarray(labels), score=score)], dtype=np.float32))

    def forward(self, input_ids: Any) -> Any:
        """Map (B, L) int64 ids, padded with 0 on the right, to (B, C) float32 logits."""
        if self.training:
            input_ids = self.drop_tokens(input_ids)
        if self.training or not self.ngram_buckets:
            return self._network_logits(input_ids)
        network, regression = self._experts(input_ids)
        return network * (1.0 - self.ngram_share) + regression * self.ngram_share

    def drop_tokens(self, input_ids: Any) -> Any:
        """Blank out a share of the tokens of (B, L) int64 ids, as training does."""
        if not self.token_dropout:
            return input_ids
        kept = paddle.rand(input_ids.shape) >= self.token_dropout
        return paddle.multiply(input_ids, kept.astype("int64"))

    def _network_logits(self, ids: Any) -> Any:
        return self.head(self.dropout(self.features(ids)))

    def _experts(self, ids: Any) -> tuple[Any, Any]:
        """Logits of the network and of the regression, (B, L) to twice (B, C)."""
        return self._network_logits(ids), self._ngram_logits(ids)

    @contextlib.contextmanager
    def _computing_once(self) -> Iterator[None]:
        """Compute the logits of the two for a batch once, while nothing but their share changes."""
        compute, known = self._experts, dict[bytes, tuple[Any, Any]]()

        def experts(ids: Any) -> tuple[Any, Any]:
            batch = ids.numpy()
            key = sha256(str(batch.shape).encode() + batch.tobytes()).digest()
            if key not in known:
                known[key] = compute(ids)
            return known[key]

        self.__dict__["_experts"] = experts
        try:
            yield
        finally:
            del self.__dict__["_experts"]

    def features(self, ids: Any) -> Any:
        """Best match of each filter: (B, L) to (B, F)."""
        if self.fast_steps and self._takes_fast_steps():
            return self._features_of_distinct_tokens(ids)
        margin = paddle.zeros_like(ids[:, :1])
        wide = paddle.concat([margin] * (self.window - 1) + [ids] + [margin] * self.window, axis=1)
        if self.training and self.embedding._forward_post_hooks:
            # Whoever changes what is looked up, as regularisation does, meets every token once, not in each of its windows.
            windows = paddle.concat(self._shifted(self.embedding(wide)), axis=-1)
        else:
            # Row 0 is zero and gets no gradient in training. Otherwise padding_idx is left out: paddle2onnx would write the
            # whole table twice for it.
            windows = paddle.nn.functional.embedding(
                paddle.stack(self._shifted(wide), axis=-1),
                self.embedding.weight,
                padding_idx=0 if self.training else None,
                sparse=self.training and self.embedding._sparse,
            ).flatten(2)
        # The maximum and ReLU commute, so ReLU runs on F values instead of L x F.
        return paddle.nn.functional.relu(self._maximum(self.convolution(windows)))

    def _takes_fast_steps(self) -> bool:
        """Whether nobody changes what passes between the embedding and the features, and the faster operator takes it."""
        layers = self.embedding, self.convolution
        watched = any(layer._forward_post_hooks or layer._forward_pre_hooks for layer in layers)
        return not watched and compat.has_window_maxima(self.embedding.weight, self.convolution.weight, self.convolution.bias)

    def _features_of_distinct_tokens(self, input_ids: Any) -> Any:
        """Compute the features with every token of the batch looked up once."""
        ids, margin = input_ids.numpy(), self.window - 1
        wide = np.zeros((ids.shape[1] + 2 * margin, ids.shape[0]), dtype=np.int64)
        wide[margin : margin + ids.shape[1]] = ids.T
        tokens, places = compat.distinct_tokens(wide, self.embedding.weight.shape[0])
        vectors = paddle.nn.functional.embedding(
            paddle.to_tensor(tokens), self.embedding.weight, padding_idx=0, sparse=self.embedding._sparse
        )
        return compat.window_maxima(vectors, self.convolution.weight, self.convolution.bias, places)

    def _shifted(self, wide: Any) -> list[Any]:
        """What stands at each place of every window: (B, M, ...) to ``window`` times (B, M + 1 - window, ...)."""
        # Starts count from the begin and ends from the end: the length of a traced text is unknown.
        last = self.window - 1
        return [wide[:, start : start - last] if start < last else wide[:, start:] for start in range(self.window)]

    def _maximum(self, matches: Any) -> Any:
        """Maximum over time, (B, L, F) to (B, F), by the operator that is fast or that exports."""
        functional = paddle.nn.functional
        if paddle.in_dynamic_mode():
            # adaptive_max_pool2d is 150 times faster than max() in a training step, but has no ONNX form.
            return functional.adaptive_max_pool2d(matches.unsqueeze(1), [1, self.filters]).flatten(1)
        return functional.adaptive_max_pool1d(matches.transpose([0, 2, 1]), 1).flatten(1)

    def _ngram_logits(self, ids: Any) -> Any:
        """Logits of the regression, (B, L) to (B, C)."""
        scores = ngram_scores(ids, self.ngram_table, num_labels=self.num_labels, longest=self.ngram_length)
        return scores + self.ngram_bias


def _check_options(*, filters: int, window: int, ngram_buckets: int, ngram_length: int) -> None:
    if filters < 1:
        raise RecipeError(f"filters of textcnn is {filters!r}; expected 1 or more")
    if window < 2:
        raise RecipeError(f"window of textcnn is {window!r}; expected 2 or more tokens")
    if ngram_buckets < 0 or ngram_buckets == 1:
        raise RecipeError(f"ngram_buckets of textcnn is {ngram_buckets!r}; expected 0 for none, or 2 or more")
    if not 1 <= ngram_length <= 4:
        raise RecipeError(f"ngram_length of textcnn is {ngram_length!r}; expected 1 to 4 tokens")
    for name, value, most in (
        ("filters", filters, 65_536),
        ("window", window, 1_024),
        ("ngram_buckets", ngram_buckets, 2**24),
    ):
        require_at_most(f"{name} of textcnn", value, most)
