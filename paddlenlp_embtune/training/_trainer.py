"""The Trainer of ``embtune train``: PaddleNLP's, with batches of similar length and macro-F1."""

from __future__ import annotations

import functools
import inspect
import random
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.compat import Trainer, TrainerCallback, TrainingArguments
from paddlenlp_embtune.config import DistillSpec, Recipe, TextSpec
from paddlenlp_embtune.data import (
    ROW_WEIGHTS,
    TEACHER_LOGITS,
    TEACHER_VECTORS,
    UNLABELLED,
    EncodedDataset,
    LabelBatchSampler,
    LengthBatchSampler,
    PairBatchSampler,
    SoftTargets,
    collate,
    encode_texts,
)
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.evaluation import measures_of
from paddlenlp_embtune.inference import SINGLE, LabelKind, softmax
from paddlenlp_embtune.text import Tokenizer, pad
from paddlenlp_embtune.training._contrastive import ContrastiveTuning, contrastive_tuning
from paddlenlp_embtune.training._criterion import build_criterion, class_weights_of, row_weights_of
from paddlenlp_embtune.training._distillation_loss import student_loss
from paddlenlp_embtune.training._retrieval import RetrievalTuning, retrieval_tuning

paddle = compat.require_paddle()

__all__ = ["CheckpointCallback", "LengthBatchedTrainer", "build_trainer", "predict_logits", "seed_everything"]


class LengthBatchedTrainer(Trainer):  # type: ignore[misc]
    """A Trainer with batches of texts of similar length; where rows have the answers of a teacher, it learns from these too.

    Where several batches make one step, each counts by the weight of its rows, so that the step is that of one large batch.

    Args:
        distill: how the teacher's answers count; None where no row has any.
        cut: texts to train on and development texts that were cut at the maximum length.
        row_weights: of each training row in the mean that the loss is; None for a plain mean.
        contrastive: tunes vectors on the pairs of a batch in place of the loss; None does not.
    """

    def __init__(
        self,
        *arguments: Any,
        distill: DistillSpec | None = None,
        cut: tuple[int, int] = (0, 0),
        row_weights: npt.NDArray[np.float64] | None = None,
        contrastive: ContrastiveTuning | RetrievalTuning | None = None,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self.distill = distill
        self.cut = cut
        self.row_weights = row_weights
        self.contrastive = contrastive
        self._parts: _Parts | None = None

    @functools.wraps(Trainer.training_step)
    def training_step(self, model: Any, inputs: Any, *arguments: Any, **options: Any) -> Any:
        """Take a batch's gradients with the part of its step that its rows make."""
        part = self._parts.current() if self._parts is not None else None
        if part is None:
            return super().training_step(model, inputs, *arguments, **options)
        # The Trainer divides each batch's loss by this number; whatever wraps the loss, the part comes last.
        steps = self.args.gradient_accumulation_steps
        self.args.gradient_accumulation_steps = 1.0 / part if part else float("inf")
        try:
            return super().training_step(model, inputs, *arguments, **options)
        finally:
            self.args.gradient_accumulation_steps = steps

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False) -> Any:
        """Compute the loss of a batch; evaluations, whose rows have no answers of a teacher, have the plain one."""
        if self.contrastive is not None and model.training:
            return self.contrastive.loss(model, inputs)
        if self.distill is not None and TEACHER_LOGITS in inputs:
            loss, logits = student_loss(model, self.model, inputs, self.distill, self.criterion)
        elif ROW_WEIGHTS in inputs:
            loss, logits = self._weighted_loss(model, **inputs)
        else:
            return super().compute_loss(model, inputs, return_outputs)
        return (loss, (loss, logits)) if return_outputs else loss

    def _weighted_loss(self, model: Any, *, labels: Any, row_weights: Any, **inputs: Any) -> tuple[Any, Any]:
        """Compute the loss of rows with weights, and their logits."""
        logits = model(**inputs)
        loss = self.criterion(logits, labels, row_weights)
        # The Trainer averages the batches of an evaluation by their numbers of rows; each counts by the weight of its rows.
        return (loss if model.training else loss * row_weights.mean()), logits

    def _get_train_sampler(self) -> LengthBatchSampler | LabelBatchSampler | PairBatchSampler:
        if self.contrastive is not None:
            return self.contrastive.sampler(self.args)
        sampler = LengthBatchSampler(
            self.train_dataset,
            batch_size=self.args.per_device_train_batch_size,
            seed=self.args.seed,
            accumulation_steps=self.args.gradient_accumulation_steps,
        )
        if sampler.accumulation_steps > 1:
            weights = np.ones(len(self.train_dataset)) if self.row_weights is None else self.row_weights
            if self._parts is not None:
                self.remove_callback(self._parts)
            self._parts = _Parts(sampler, weights)
            self.add_callback(self._parts)
        return sampler


class _Parts(TrainerCallback):  # type: ignore[misc]
    """Knows what part of its step each batch makes, also after batches that a resumed run skips.

    Args:
        sampler: gives the batches.
        weights: of each row.
    """

    def __init__(self, sampler: LengthBatchSampler, weights: npt.NDArray[np.float64]) -> None:
        self._sampler = sampler
        self._weights = weights
        self._shares: list[float] = []
        self._at = -1

    def current(self) -> float | None:
        """The part of the batch that is being trained on; None where no epoch has begun."""
        return self._shares[self._at] if 0 <= self._at < len(self._shares) else None

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Look at the epoch's batches."""
        self._shares, self._at = self._sampler.shares(self._weights), -1

    def on_load_data_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Count a batch, skipped ones too."""
        self._at += 1


class CheckpointCallback(TrainerCallback):  # type: ignore[misc]
    """Asks for a checkpoint when a time has passed since the last one; for one process.

    Args:
        seconds: 0 asks at every step.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._last = time.monotonic()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Count the time from the start of training."""
        self._last = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ask for a checkpoint when the time has passed."""
        if time.monotonic() - self._last >= self.seconds:
            control.should_save = True
            self._last = time.monotonic()


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and Paddle, before a model is built."""
    random.seed(seed)
    np.random.seed(seed)
    paddle.seed(seed)


def build_trainer(
    recipe: Recipe,
    model: Any,
    *,
    rows: tuple[EncodedDataset, EncodedDataset],
    labels: Sequence[str],
    tokenizer: Tokenizer,
    out: str,
    kind: LabelKind = SINGLE,
    soft_targets: SoftTargets | None = None,
) -> LengthBatchedTrainer:
    """Build a Trainer that evaluates after every epoch, and let the model fit what it fits before training.

    Args:
        recipe: sizes, seed and loss; no size of ``train`` is None any more.
        model: maps (B, L) int64 ids to (B, C) float32 logits.
        rows: training and development rows, in order.
        labels: class names in order, C.
        tokenizer: turns unlabelled texts into ids.
        out: folder for what the Trainer itself writes: checkpoints.
        kind: of the labels.
        soft_targets: unlabelled texts, and a teacher's answers to them and to the training rows.
    Raises:
        RecipeError: activations are to be computed again, and the model cannot do that; or loss and weights do not fit.
    """
    if recipe.train.recompute and not any(hasattr(layer, "enable_recompute") for layer in model.sublayers()):
        raise RecipeError(
            f"train.recompute is true, but {type(model).__name__} has no layers that can compute activations again; expected "
            "false, or an encoder"
        )
    unlabelled = 0 if soft_targets is None else len(soft_targets.unlabelled)
    arguments = TrainingArguments(
        output_dir=out,
        num_train_epochs=recipe.train.epochs,
        per_device_train_batch_size=recipe.train.batch_size,
        gradient_accumulation_steps=recipe.train.accumulation_steps,
        recompute=recipe.train.recompute,
        per_device_eval_batch_size=recipe.train.eval_batch_size,
        evaluation_strategy="epoch",
        logging_strategy="steps",
        save_strategy="no",
        save_total_limit=2,
        seed=recipe.seed,
        disable_tqdm=True,
        report_to=[],
        remove_unused_columns=False,
        dataloader_num_workers=0,
    )
    arguments.logging_steps = max(1, (len(rows[0].truth) + unlabelled) // arguments.per_device_train_batch_size // 5)
    train, dev = rows[0], rows[1].by_length()
    weights = class_weights_of(recipe.train, train, labels)
    criterion = build_criterion(recipe.train, weights, kind=kind, weighs_rows=train.weights is not None)
    labelled = train
    if soft_targets is not None:
        train = with_soft_targets(labelled, soft_targets, tokenizer, text=recipe.text)
    if hasattr(model, "fit_before_training"):
        continued = recipe.continual is not None and bool(recipe.continual.methods)
        _fit_before_training(model, labelled, train, weights, continued=continued)

    tuning: ContrastiveTuning | RetrievalTuning | None = contrastive_tuning(
        recipe, arguments, labelled, labels=labels, class_weights=weights, tokenizer=tokenizer
    )
    tuning = tuning or retrieval_tuning(
        recipe,
        arguments,
        labelled,
        rows[1],
        model=model,
        num_labels=len(labels),
        class_weights=weights,
        tokenizer=tokenizer,
    )
    if tuning is not None:
        train = tuning.rows

    measures = measures_of(kind, labels)

    def compute_metrics(prediction: Any) -> dict[str, float]:
        logits, numbers = dev.by_text(prediction.predictions, prediction.label_ids)
        return measures.monitored(numbers, logits)

    return LengthBatchedTrainer(
        model=model,
        criterion=criterion,
        args=arguments,
        data_collator=collate,
        train_dataset=train,
        eval_dataset=dev,
        compute_metrics=compute_metrics,
        callbacks=[] if recipe.train.checkpoint_seconds is None else [CheckpointCallback(recipe.train.checkpoint_seconds)],
        distill=recipe.distill if soft_targets is not None else None,
        cut=(train.cut, dev.cut),
        row_weights=None
        if isinstance(tuning, RetrievalTuning)  # its rows may be those of pairs, and no step has several batches
        else row_weights_of(train, weights, criterion=criterion if soft_targets is None else None),
        contrastive=tuning,
    )


def _fit_before_training(
    model: Any, labelled: EncodedDataset, taught: EncodedDataset, weights: npt.NDArray[np.float32], *, continued: bool
) -> None:
    """Let a model fit what it fits; also to a teacher's answers to unlabelled texts, and on from what it was, where it can."""
    known = inspect.signature(model.fit_before_training).parameters
    with_answers = len(taught) > len(labelled) and "answers" in known
    rows = taught if with_answers else labelled
    options: dict[str, Any] = {"class_weights": weights}
    if continued and "continued" in known:
        options["continued"] = True
    if with_answers:
        options["answers"] = softmax(taught.teacher_outputs[TEACHER_LOGITS])
    if rows.weights is not None:
        if "row_weights" not in known:
            raise RecipeError(
                f"data.weight_column is stated, but fit_before_training of {type(model).__name__} takes no row_weights; "
                "expected a model that does, such as textcnn, or data.weight_column null"
            )
        options["row_weights"] = rows.weights
    model.fit_before_training(rows.ids, rows.labels, **options)


def with_soft_targets(
    rows: EncodedDataset, soft_targets: SoftTargets, tokenizer: Tokenizer, *, text: TextSpec
) -> EncodedDataset:
    """Put unlabelled texts behind the training rows, and a teacher's answers beside all of them."""
    blank = [UNLABELLED] * len(soft_targets.unlabelled)
    others = encode_texts(soft_targets.unlabelled, blank, tokenizer, max_length=text.max_length, windows=text.windows)
    taught: dict[str, npt.NDArray[Any]] = {TEACHER_LOGITS: soft_targets.train}
    if soft_targets.train_vectors is not None:
        taught[TEACHER_VECTORS] = soft_targets.train_vectors
    return rows.with_soft_targets(others, taught)


def predict_logits(model: Any, dataset: EncodedDataset, *, batch_size: int) -> npt.NDArray[np.float32]:
    """Logits of the live model in evaluation mode for texts, in their order; of their windows together where they have any.

    Shapes:
        returns: (N, C) float32
    """
    model.eval()
    order = np.argsort(dataset.lengths, kind="stable")
    parts = []
    for start in range(0, len(order), batch_size):
        with paddle.no_grad():
            batch = pad([dataset.ids[index] for index in order[start : start + batch_size]])
            parts.append(model(paddle.to_tensor(batch)).numpy())
    logits = np.concatenate(parts)
    restored: npt.NDArray[np.float32] = np.empty_like(logits)
    restored[order] = logits
    return dataset.by_text(restored, dataset.labels)[0]
