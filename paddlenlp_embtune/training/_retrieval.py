"""Tuning vectors for search in a Trainer: its rows, its batches, its loss, and the regression at its end."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.config import SCORED_LOSSES, Recipe, RetrievalSpec
from paddlenlp_embtune.data import (
    EncodedDataset,
    LabelBatchSampler,
    MinedRows,
    PairBatchSampler,
    Pairs,
    encode_pairs,
    read_pairs,
    split_role,
)
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.models import (
    cosent_loss,
    cosine_loss,
    feature_width,
    labelled_loss,
    paired_cosines,
    ranking_loss,
    triplet_loss,
    twin_loss,
    with_dimensions,
)
from paddlenlp_embtune.text import Tokenizer
from paddlenlp_embtune.training._contrastive import vectors_by_length
from paddlenlp_embtune.training.callbacks._head_regression import HeadRegressionCallback
from paddlenlp_embtune.training.callbacks._retrieval import HardNegativesCallback, RetrievalFiguresCallback

paddle = compat.require_paddle()

__all__ = ["RetrievalTuning", "retrieval_tuning"]

_LOGS = 20
_BETWEEN = 1.0
"""C of the regression in evaluations: of many rows, choosing it costs more than an epoch of a text CNN."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class RetrievalTuning:
    """What a Trainer needs to tune vectors for search.

    Args:
        spec: the loss.
        rows: the training rows, or those of the pairs.
        pairs: whose texts the rows are; None where they are labelled.
        steps: batches of an epoch.
        mined: hard negatives of the epoch.
        callbacks: to be added behind all callbacks that change weights.
    """

    spec: RetrievalSpec
    rows: EncodedDataset
    pairs: Pairs | None
    steps: int
    mined: MinedRows
    callbacks: tuple[Any, ...]

    def sampler(self, arguments: Any) -> LabelBatchSampler | PairBatchSampler:
        """Return the batches for a Trainer with these arguments."""
        size, seed = arguments.per_device_train_batch_size, arguments.seed
        if self.pairs is None:
            return LabelBatchSampler(self.rows, batch_size=size, steps=self.steps, seed=seed, mined=self.mined)
        return PairBatchSampler(
            self.rows,
            pairs=len(self.pairs),
            sides=2 if self.pairs.negatives is None else 3,
            batch_size=size,
            steps=self.steps,
            seed=seed,
            mined=self.mined,
        )

    def loss(self, model: Any, inputs: Any) -> Any:
        """Return the loss of a batch, a scalar."""
        ids, labels = inputs["input_ids"], inputs["labels"]
        vectors = self._vectors(model, ids)
        if self.spec.loss == "simcse":
            second = self._vectors(model, ids)
            return self._over_dimensions(lambda cut: twin_loss(cut(vectors), cut(second), temperature=self.spec.temperature))
        if self.pairs is None:
            return self._over_dimensions(lambda cut: labelled_loss(self.spec)(cut(vectors), labels))
        return self._over_dimensions(lambda cut: self._pairs_loss(cut(vectors), labels))

    def _over_dimensions(self, loss: Any) -> Any:
        return with_dimensions(loss, self.spec.dimensions)

    def _vectors(self, model: Any, ids: Any) -> Any:
        """The vectors of a batch in its order, (B, H); under dropout of tokens where the model has it."""
        network = getattr(model, "_layers", model)
        dropped = hasattr(network, "drop_tokens")
        vectors, order = vectors_by_length(lambda part: network.features(network.drop_tokens(part) if dropped else part), ids)
        restored = paddle.index_select(vectors, paddle.to_tensor(np.argsort(order, kind="stable")))
        return network.dropout(restored) if self.spec.loss == "simcse" else restored

    def _pairs_loss(self, vectors: Any, labels: Any) -> Any:
        assert self.pairs is not None
        groups, roles = split_role(labels)
        places = [np.flatnonzero(roles.numpy() == role) for role in range(4)]
        first, second, negatives, mined = (_select(vectors, place) for place in places)
        if self.pairs.scores is not None:
            scores = np.asarray(self.pairs.scores, dtype=np.float32)[_select(groups, places[0]).numpy()]
            return self._of_scores(paired_cosines(first, second), paddle.to_tensor(scores))
        if self.spec.loss in SCORED_LOSSES:  # triples: 1 for what belongs together, and 0
            cosines = paddle.concat([paired_cosines(first, second), paired_cosines(first, negatives)])
            scores = paddle.concat([paddle.ones([first.shape[0]]), paddle.zeros([first.shape[0]])])
            return self._of_scores(cosines, scores)
        if self.spec.loss == "triplet" and negatives is not None:
            return triplet_loss(first, second, negatives, margin=self.spec.margin)
        if self.spec.loss == "ranking":
            order = np.concatenate(places[1:])
            return ranking_loss(
                first,
                paddle.concat([side for side in (second, negatives, mined) if side is not None]),
                groups=_select(groups, places[0]),
                candidate_groups=_select(groups, order),
                temperature=self.spec.temperature,
            )
        return labelled_loss(self.spec)(vectors, groups)

    def _of_scores(self, cosines: Any, scores: Any) -> Any:
        if self.spec.loss == "cosine":
            return cosine_loss(cosines, scores)
        return cosent_loss(cosines, scores, temperature=self.spec.temperature)


def retrieval_tuning(
    recipe: Recipe,
    arguments: Any,
    rows: EncodedDataset,
    dev: EncodedDataset,
    *,
    model: Any,
    num_labels: int,
    class_weights: npt.NDArray[np.float32],
    tokenizer: Tokenizer,
) -> RetrievalTuning | None:
    """Make what a recipe asks for; None where it does not.

    Args:
        recipe: with all sizes.
        arguments: of the Trainer, which is made to log some twenty times an epoch.
        rows: the training rows.
        dev: the development rows.
        model: has ``features`` and a linear ``head``.
        num_labels: C.
        class_weights: (C,) float32.
        tokenizer: turns the texts of pairs into ids.
    Raises:
        RecipeError: there are several processes, the model gives no vectors, they have fewer dimensions than the recipe states,
            or the loss does not fit the pairs.
        DataError: the pairs cannot be read, or contradict each other.
    """
    spec = recipe.retrieval
    if spec is None:
        return None
    _check_model(spec, model, processes=arguments.world_size)
    pairs = None if spec.pairs is None else read_pairs(spec.pairs)
    if pairs is not None:
        _check_pairs(spec, pairs)
    tuned = rows if pairs is None else encode_pairs(pairs, tokenizer, max_length=recipe.text.max_length)
    size = arguments.per_device_train_batch_size
    texts = len(rows) if pairs is None else len(pairs) * (2 if pairs.negatives is None else 3)
    steps = spec.steps or max(1, -(-texts // size))
    arguments.logging_steps = max(1, steps // _LOGS)
    mined = MinedRows()
    numbers = np.asarray(rows.labels, dtype=np.int64)
    own = np.ones(len(rows)) if rows.weights is None else rows.weights.astype(np.float64)
    callbacks: list[Any] = [_mining(spec, tuned, pairs, mined)] if spec.hard_negatives else []
    callbacks.append(RetrievalFiguresCallback(dev.ids, dev.labels, rows.ids, rows.labels, seed=recipe.seed))
    regression = HeadRegressionCallback(
        rows.ids,
        numbers,
        own * class_weights[numbers],
        num_labels=num_labels,
        inverse_regularization=spec.inverse_regularization,
        seed=recipe.seed,
        between=spec.inverse_regularization or _BETWEEN,
    )
    return RetrievalTuning(spec=spec, rows=tuned, pairs=pairs, steps=steps, mined=mined, callbacks=(*callbacks, regression))


def _mining(spec: RetrievalSpec, rows: EncodedDataset, pairs: Pairs | None, mined: MinedRows) -> HardNegativesCallback:
    """Mine among the training rows, or for first texts among second ones."""
    if pairs is None:
        return HardNegativesCallback(rows.ids, rows.labels, rows.ids, rows.labels, count=spec.hard_negatives, mined=mined)
    count = len(pairs)
    groups = [label // 4 for label in rows.labels[:count]]
    return HardNegativesCallback(
        rows.ids[:count], groups, rows.ids[count : 2 * count], groups, count=spec.hard_negatives, mined=mined
    )


def _check_model(spec: RetrievalSpec, model: Any, *, processes: int) -> None:
    if processes > 1:
        raise RecipeError(
            f"retrieval compares the rows of one process, and this run has {processes}; start one process, or leave retrieval "
            "out"
        )
    if not callable(getattr(model, "features", None)) or not hasattr(model, "head"):
        raise RecipeError(
            f"retrieval tunes the vectors that a model's head reads, and {type(model).__name__} does not give them; expected a "
            "model with features and head, such as textcnn or an encoder"
        )
    width = feature_width(model)
    if spec.dimensions and spec.dimensions[-1] >= width:
        raise RecipeError(
            f"retrieval.dimensions has {spec.dimensions[-1]}, and the vectors of this model have {width} values; expected "
            "fewer than these"
        )


def _check_pairs(spec: RetrievalSpec, pairs: Pairs) -> None:
    scored = spec.loss in SCORED_LOSSES and spec.loss != "simcse"
    if pairs.scores is not None and spec.loss not in SCORED_LOSSES:
        raise RecipeError(
            f"retrieval.loss is {spec.loss!r}, and {pairs.source} has pairs with scores; expected {' or '.join(SCORED_LOSSES)}"
        )
    if scored and pairs.scores is None and pairs.negatives is None:
        raise RecipeError(
            f"retrieval.loss is {spec.loss!r}, and all pairs of {pairs.source} belong together; expected scores or negatives, "
            "or the loss ranking"
        )


def _select(tensor: Any, places: npt.NDArray[np.int64]) -> Any:
    """Rows of a tensor; None for none."""
    return paddle.index_select(tensor, paddle.to_tensor(places)) if len(places) else None
