"""The Trainer of ``embtune train``: PaddleNLP's, with batches of similar length and macro-F1."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import host, registry
from paddlenlp_embtune.data import Rows
from paddlenlp_embtune.data.batching import EncodedDataset, LengthBatchSampler, collate
from paddlenlp_embtune.evaluation import agreement, classification_report
from paddlenlp_embtune.recipe import Recipe
from paddlenlp_embtune.text import Tokenizer, pad

paddle = host.require_paddle()

with host.quiet():
    from paddlenlp.trainer import Trainer, TrainerCallback, TrainingArguments

__all__ = ["CheckpointCallback", "LengthBatchedTrainer", "build_trainer", "class_weights", "predict_logits", "seed_everything"]


class LengthBatchedTrainer(Trainer):  # type: ignore[misc]
    """A Trainer whose training batches hold texts of similar length."""

    def _get_train_sampler(self) -> LengthBatchSampler:
        return LengthBatchSampler(self.train_dataset, batch_size=self.args.per_device_train_batch_size, seed=self.args.seed)


class CheckpointCallback(TrainerCallback):  # type: ignore[misc]
    """Asks for a checkpoint when a time has passed since the last one; for one process.

    Args:
        seconds: 0 asks at every step.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._last = time.monotonic()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the clock."""
        self._last = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Look at the clock."""
        if time.monotonic() - self._last >= self.seconds:
            control.should_save = True
            self._last = time.monotonic()


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and Paddle, before a model is built."""
    random.seed(seed)
    np.random.seed(seed)
    paddle.seed(seed)


def build_trainer(
    recipe: Recipe, model: Any, *, rows: tuple[Rows, Rows], labels: Sequence[str], tokenizer: Tokenizer, out: str
) -> LengthBatchedTrainer:
    """Build a Trainer that evaluates after every epoch, and let the model fit what it fits before training.

    Args:
        recipe: sizes, seed and loss.
        model: maps (B, L) int64 ids to (B, C) float32 logits.
        rows: training and development rows.
        labels: class names in order, C.
        tokenizer: turns the rows into ids.
        out: folder for what the Trainer itself writes: checkpoints.
    """
    arguments = TrainingArguments(
        output_dir=out,
        num_train_epochs=recipe.train.epochs,
        per_device_train_batch_size=recipe.train.batch_size,
        per_device_eval_batch_size=recipe.train.eval_batch_size,
        evaluation_strategy="epoch",
        logging_strategy="steps",
        logging_steps=max(1, len(rows[0]) // recipe.train.batch_size // 5),
        save_strategy="no",
        save_total_limit=2,
        seed=recipe.seed,
        disable_tqdm=True,
        report_to=[],
        remove_unused_columns=False,
        dataloader_num_workers=0,
    )
    length = recipe.text.max_length
    train, dev = (encode_rows(part, labels, tokenizer, max_length=length) for part in rows)
    weights = class_weights(train.labels, len(labels), balance=recipe.train.class_balance)
    if hasattr(model, "fit_before_training"):
        model.fit_before_training(train.ids, train.labels, class_weights=weights)

    def compute_metrics(prediction: Any) -> dict[str, float]:
        truth, predicted = prediction.label_ids.tolist(), prediction.predictions.argmax(-1).tolist()
        report = classification_report(truth, predicted, labels)
        return {**{name: report[name] for name in ("accuracy", "f1_macro")}, **agreement(truth, predicted, len(labels))}

    return LengthBatchedTrainer(
        model=model,
        criterion=registry.current().get("loss", recipe.train.loss)(class_weights=weights),
        args=arguments,
        data_collator=collate,
        train_dataset=train,
        eval_dataset=dev.by_length(),
        compute_metrics=compute_metrics,
        callbacks=[] if recipe.train.checkpoint_seconds is None else [CheckpointCallback(recipe.train.checkpoint_seconds)],
    )


def class_weights(labels: Sequence[int], num_labels: int, *, balance: float) -> npt.NDArray[np.float32]:
    """Weights that are inverse to the frequency of a class, to the power of ``balance``; their mean over all rows is 1.

    Shapes:
        returns: (C,) float32
    Source:
        King and Zeng 2001, "Logistic Regression in Rare Events Data", section 4.2, for ``balance`` 1
    """
    counts = np.maximum(np.bincount(labels, minlength=num_labels), 1)
    weights = counts.astype(np.float64) ** -balance
    scaled: npt.NDArray[np.float64] = weights * counts.sum() / (weights * counts).sum()
    return scaled.astype(np.float32)


def encode_rows(rows: Rows, labels: Sequence[str], tokenizer: Tokenizer, *, max_length: int) -> EncodedDataset:
    """Turn labelled rows into ids and class numbers."""
    number = {label: index for index, label in enumerate(labels)}
    ids = [tokenizer.encode(text, max_length=max_length) for text in rows.texts]
    return EncodedDataset(ids, [number[label] for label in rows.labels])


def predict_logits(model: Any, dataset: EncodedDataset, *, batch_size: int) -> npt.NDArray[np.float32]:
    """Logits of the live model in evaluation mode for rows, in their order.

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
    return restored
