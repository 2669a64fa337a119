"""The parts of a recipe about the run itself: its length and size, sparse gradients, and what the bundle carries."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.utils.schema import check_types, require, require_at_most

__all__ = ["PRECISIONS", "ExportSpec", "SparseSpec", "TrainSpec"]

PRECISIONS = ("fp32", "bf16", "auto")
_MANY_ROWS = 4_000
"""Rows from which on a small model takes larger batches, and learns as much in fewer steps."""
_FEW_LABELS = 5
"""Labels up to which it learns as much in still fewer."""

_LEAST_STEPS, _MOST_EPOCHS = 300, 100
"""Steps that it takes with few rows, as far as this many passes make them."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SparseSpec:
    """When the embedding trains by rows, so that a step costs the same whatever the size of its table.

    Args:
        from_rows: embeddings with at least this many rows do, 0 or more. Rows that a batch has not read then stay where they
            are, while AdamW with dense gradients moves them on by momentum and decay.
    """

    from_rows: int = 100_000

    def __post_init__(self) -> None:
        check_types(self, where="sparse", error=RecipeError)
        require(self.from_rows >= 0, "sparse.from_rows", self.from_rows, "0 or more (sparse: null trains with dense gradients)")
        require_at_most("sparse.from_rows", self.from_rows)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainSpec:
    """Length and size of the run.

    Args:
        epochs: passes over the training rows; None takes as many as make about 1,200 steps, 8 at least and 40 at most, or with
            few rows as many as make 300 steps, 100 at most; from 4,000 rows on about 400 steps, or 600 for more than 5 labels,
            6 at least; for an encoder about 240 steps, 3 at least and 20 at most. Like the sizes below, at most 1,000,000.
        batch_size: rows in a batch of one process; None takes 64, from 4,000 rows on 128, for an encoder 32.
        accumulation_steps: batches whose gradients make one step, 1 or more.
        recompute: compute the activations of an encoder's layers again in the backward pass instead of keeping them, which
            saves memory and costs about a third more time.
        precision: of an encoder's products with weights in training steps, on a CPU: ``bf16`` rounds their factors to bfloat16,
            on processors that multiply it; ``auto`` does so where that is clearly faster. Sums, weights, optimizer, losses,
            evaluations and the bundle are float32 always, and so are other models.
        eval_batch_size: rows in a forward pass of an evaluation; None takes 256, for an encoder 32.
        loss: a registered loss: ``cross_entropy``, ``focal``, ``squared_emd`` for ordered labels, or that of a plugin; for
            several labels a text ``binary_cross_entropy``, which ``cross_entropy`` then means, or ``asymmetric``.
        loss_options: the loss's own options: ``gamma`` of ``focal``; ``cross_entropy`` of ``squared_emd``, how much of the
            cross-entropy is added; ``gamma_positive``, ``gamma_negative`` and ``margin`` of ``asymmetric``.
        class_balance: how far rare classes weigh more in the loss, 0 (not at all) to 1 (every class weighs the same in all).
        effective_numbers: in place of ``class_balance``, weigh a class of n rows by (1 - beta) / (1 - beta**n); this is beta,
            0 or more and below 1. The paper took 0.9 to 0.9999: rows beyond about 1 / (1 - beta) count for little.
        class_weights: in place of both, the weight of each label, above 0. All of these are scaled to a mean of 1 over the
            training rows, or where a text may have several labels, over the labels.
        checkpoint_seconds: write a checkpoint when this long has passed since the last one, 0 or more (0 means at every step);
            None writes none. A run that was killed continues from its last checkpoint, bit-equal.
    Source:
        Mosbach et al. 2021, "On the Stability of Fine-tuning BERT": with few rows an encoder wants many epochs;
        effective_numbers: Cui et al. 2019, "Class-Balanced Loss Based on Effective Number of Samples", equation 4
    """

    epochs: int | None = None
    batch_size: int | None = None
    accumulation_steps: int = 1
    recompute: bool = False
    precision: str = "fp32"
    eval_batch_size: int | None = None
    loss: str = "cross_entropy"
    loss_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    class_balance: float = 0.5
    effective_numbers: float | None = None
    class_weights: Mapping[str, float] | None = None
    checkpoint_seconds: float | None = 60.0

    def __post_init__(self) -> None:
        check_types(self, where="train", error=RecipeError)
        for name in ("epochs", "batch_size", "accumulation_steps", "eval_batch_size"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"train.{name}", value, "1 or more")
            require_at_most(f"train.{name}", value, 1_000_000)
        require(self.precision in PRECISIONS, "train.precision", self.precision, "fp32, bf16 or auto")
        both = self.recompute and self.precision == "bf16"
        require(not both, "train.precision", self.precision, "fp32 or auto where train.recompute is true")
        require(0 <= self.class_balance <= 1, "train.class_balance", self.class_balance, "0 to 1")
        self._check_class_weights()
        seconds = self.checkpoint_seconds
        require(seconds is None or seconds >= 0, "train.checkpoint_seconds", seconds, "0 or more, or null for none")

    def _check_class_weights(self) -> None:
        beta, stated = self.effective_numbers, self.class_weights
        require(beta is None or 0 <= beta < 1, "train.effective_numbers", beta, "0 or more and below 1, or null")
        for label, weight in (stated or {}).items():
            require(0 < weight <= 1e6, f"train.class_weights.{label}", weight, "above 0 and at most 1,000,000")
        if beta is not None and stated is not None:
            raise RecipeError("train has both effective_numbers and class_weights, which state the same; leave one of them out")

    def resolved(self, rows: int, *, encoder: bool, labels: int = 2) -> TrainSpec:
        """Fill in the numbers that are None, for so many rows and labels, and a small model or an encoder."""
        many = (128, 256, 400 if labels <= _FEW_LABELS else 600, 6, 40)
        few_or_many = many if rows >= _MANY_ROWS else (64, 256, 1200, 8, 40)
        batch_size, eval_batch_size, steps, least, most = (32, 32, 240, 3, 20) if encoder else few_or_many
        batch_size = self.batch_size or batch_size
        steps_per_epoch = -(-rows // (batch_size * self.accumulation_steps))
        few = 0 if encoder or rows >= _MANY_ROWS else min(_MOST_EPOCHS, round(_LEAST_STEPS / steps_per_epoch))
        return dataclasses.replace(
            self,
            epochs=self.epochs or min(max(most, few), max(least, round(steps / steps_per_epoch))),
            batch_size=batch_size,
            eval_batch_size=self.eval_batch_size or eval_batch_size,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportSpec:
    """What the bundle carries beside the weights.

    Args:
        engines: registered exporters.
        calibrate: fit a temperature on the development rows, 20 at least.
        target_precision: also fit thresholds, below which answers are marked as abstained: the lowest that give each label
            this precision on the development rows, above 0 and below 1; null sets none.
        int8: also carry a program in 8 bits for ``onnxruntime``, by ``static`` or ``dynamic`` quantization; the run fails
            where it is not smaller, faster and nearly as good on the development rows. null makes none.
    """

    engines: tuple[str, ...] = ("onnxruntime", "paddle_inference")
    calibrate: bool = True
    target_precision: float | None = None
    int8: str | None = None

    def __post_init__(self) -> None:
        check_types(self, where="export", error=RecipeError)
        wanted = self.target_precision
        require(wanted is None or 0 < wanted < 1, "export.target_precision", wanted, "above 0 and below 1, or null")
        require(wanted is None or self.calibrate, "export.target_precision", wanted, "null where export.calibrate is false")
        require(self.int8 in (None, "static", "dynamic"), "export.int8", self.int8, "static, dynamic or null")
        require(self.int8 is None or "onnxruntime" in self.engines, "export.int8", self.int8, "null without onnxruntime")
