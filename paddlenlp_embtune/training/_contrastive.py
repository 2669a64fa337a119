"""Contrastive tuning in a Trainer: its rows, its batches, its loss, and the regression at its end."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.config import ContrastiveSpec, Recipe
from paddlenlp_embtune.data import EncodedDataset, LabelBatchSampler, encode_texts, joined_weights
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.models import pair_loss
from paddlenlp_embtune.text import Tokenizer
from paddlenlp_embtune.training._contrastive_recipe import anchor_texts
from paddlenlp_embtune.training.callbacks._head_regression import HeadRegressionCallback

paddle = compat.require_paddle()

__all__ = ["ContrastiveTuning", "contrastive_tuning", "pairs_pass", "vectors_by_length"]

_PARTS = 4
_LOGS = 20


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ContrastiveTuning:
    """What a Trainer needs to tune on pairs.

    Args:
        spec: the loss.
        rows: the training rows, and behind them a text for each label where these are compared with.
        anchors: how many texts of labels there are.
        steps: batches of an epoch.
        regression: fits the head; it is to be added behind all callbacks that change weights.
    """

    spec: ContrastiveSpec
    rows: EncodedDataset
    anchors: int
    steps: int
    regression: HeadRegressionCallback

    @property
    def callbacks(self) -> tuple[Any, ...]:
        """What is to be added to the Trainer, behind all callbacks that change weights."""
        return (self.regression,)

    def loss(self, model: Any, inputs: Any) -> Any:
        """Return the loss of a batch, a scalar."""
        return pairs_pass(model, inputs["input_ids"], inputs["labels"], self.spec)

    def sampler(self, arguments: Any) -> LabelBatchSampler:
        """Return the batches for a Trainer with these arguments."""
        size, seed = arguments.per_device_train_batch_size, arguments.seed
        return LabelBatchSampler(self.rows, batch_size=size, steps=self.steps, seed=seed, anchors=self.anchors)


def contrastive_tuning(
    recipe: Recipe,
    arguments: Any,
    rows: EncodedDataset,
    *,
    labels: Sequence[str],
    class_weights: npt.NDArray[np.float32],
    tokenizer: Tokenizer,
) -> ContrastiveTuning | None:
    """Make what a recipe asks for; None where it does not.

    Args:
        recipe: with all sizes.
        arguments: of the Trainer, which is made to log some twenty times an epoch.
        rows: the training rows.
        labels: class names in order, C.
        class_weights: (C,) float32.
        tokenizer: turns the names of labels into ids.
    Raises:
        RecipeError: there are several processes, or a description is of no label.
    """
    spec = recipe.contrastive
    if spec is None:
        return None
    if arguments.world_size > 1:
        raise RecipeError(
            f"contrastive tuning compares the rows of one process, and this run has {arguments.world_size}; start one process, "
            "or leave contrastive out"
        )
    steps = spec.steps_for(len(rows), batch_size=arguments.per_device_train_batch_size)
    arguments.logging_steps = max(1, steps // _LOGS)
    numbers = np.asarray(rows.labels, dtype=np.int64)
    own = np.ones(len(rows)) if rows.weights is None else rows.weights.astype(np.float64)
    regression = HeadRegressionCallback(
        rows.ids,
        numbers,
        own * class_weights[numbers],
        num_labels=len(labels),
        inverse_regularization=spec.inverse_regularization,
        seed=recipe.seed,
    )
    texts = anchor_texts(spec, labels)
    named = _with_texts_of_labels(rows, texts, tokenizer, max_length=recipe.text.max_length)
    return ContrastiveTuning(spec=spec, rows=named, anchors=len(texts), steps=steps, regression=regression)


def _with_texts_of_labels(
    rows: EncodedDataset, texts: Sequence[str], tokenizer: Tokenizer, *, max_length: int
) -> EncodedDataset:
    """Put one text for each label, or none, behind the training rows."""
    if not texts:
        return rows
    named = encode_texts(texts, range(len(texts)), tokenizer, max_length=max_length, windows=None)
    weights = joined_weights(rows.weights, len(named))
    return EncodedDataset([*rows.ids, *named.ids], [*rows.labels, *named.labels], weights=weights, cut=rows.cut)


def pairs_pass(model: Any, input_ids: Any, labels: Any, spec: ContrastiveSpec) -> Any:
    """Compute the loss of a batch.

    A batch by labels has short and long texts; they are computed in parts of like length, so that little is padded.

    Args:
        model: with ``features``.
        input_ids: padded with 0 on the right.
        labels: class numbers.
        spec: names the loss.
    Shapes:
        input_ids (B, L) int64, labels (B,) int64; returns a scalar
    """
    vectors, order = vectors_by_length(model.features, input_ids)
    return pair_loss(spec)(vectors, paddle.index_select(labels, paddle.to_tensor(order)))


def vectors_by_length(features: Callable[[Any], Any], input_ids: Any) -> tuple[Any, npt.NDArray[np.int64]]:
    """Compute the vectors of a batch in parts of like length.

    Args:
        features: maps (B, L) int64 ids to (B, H) float32.
        input_ids: padded with 0 on the right.
    Shapes:
        input_ids (B, L) int64; returns (B, H) float32, the shortest texts first, and (B,) int64, their numbers
    """
    lengths = np.count_nonzero(input_ids.numpy(), axis=1)
    order = np.argsort(lengths, kind="stable")
    vectors = []
    for part in np.array_split(order, min(_PARTS, len(order))):
        longest = max(1, int(lengths[part].max()))
        vectors.append(features(paddle.index_select(input_ids, paddle.to_tensor(part))[:, :longest]))
    return paddle.concat(vectors), order
