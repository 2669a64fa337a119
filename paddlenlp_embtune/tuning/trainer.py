"""The Trainer of ``embtune train``: PaddleNLP's, with batches of similar length and macro-F1."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from paddlenlp_embtune import host, registry
from paddlenlp_embtune.data import Rows
from paddlenlp_embtune.data.batching import EncodedDataset, LengthBatchSampler, collate
from paddlenlp_embtune.evaluation import classification_report
from paddlenlp_embtune.recipe import Recipe
from paddlenlp_embtune.text import Tokenizer, pad

paddle = host.require_paddle()

with host.quiet():
    from paddlenlp.trainer import Trainer, TrainingArguments

__all__ = ["LengthBatchedTrainer", "build_trainer", "predict_classes", "seed_everything"]


class LengthBatchedTrainer(Trainer):  # type: ignore[misc]
    """A Trainer whose training batches hold texts of similar length."""

    def _get_train_sampler(self) -> LengthBatchSampler:
        return LengthBatchSampler(self.train_dataset, batch_size=self.args.per_device_train_batch_size, seed=self.args.seed)


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and Paddle, before a model is built."""
    random.seed(seed)
    np.random.seed(seed)
    paddle.seed(seed)


def build_trainer(
    recipe: Recipe, model: Any, *, rows: tuple[Rows, Rows], labels: Sequence[str], tokenizer: Tokenizer, out: str
) -> LengthBatchedTrainer:
    """Build a Trainer that evaluates after every epoch.

    Args:
        recipe: sizes, seed and loss.
        model: maps (B, L) int64 ids to (B, C) float32 logits.
        rows: training and development rows.
        labels: class names in order, C.
        tokenizer: turns the rows into ids.
        out: folder for what the Trainer itself writes.
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
        seed=recipe.seed,
        disable_tqdm=True,
        report_to=[],
        remove_unused_columns=False,
        dataloader_num_workers=0,
    )
    length = recipe.text.max_length
    train, dev = (encode_rows(part, labels, tokenizer, max_length=length) for part in rows)

    def compute_metrics(prediction: Any) -> dict[str, float]:
        report = classification_report(prediction.label_ids.tolist(), prediction.predictions.argmax(-1).tolist(), labels)
        return {name: report[name] for name in ("accuracy", "f1_macro")}

    return LengthBatchedTrainer(
        model=model,
        criterion=registry.current().get("loss", recipe.train.loss)(num_labels=len(labels)),
        args=arguments,
        data_collator=collate,
        train_dataset=train,
        eval_dataset=dev.by_length(),
        compute_metrics=compute_metrics,
    )


def encode_rows(rows: Rows, labels: Sequence[str], tokenizer: Tokenizer, *, max_length: int) -> EncodedDataset:
    """Turn labelled rows into ids and class numbers."""
    number = {label: index for index, label in enumerate(labels)}
    ids = [tokenizer.encode(text, max_length=max_length) for text in rows.texts]
    return EncodedDataset(ids, [number[label] for label in rows.labels])


def predict_classes(trainer: Any, rows: Rows, tokenizer: Tokenizer, recipe: Recipe) -> list[int]:
    """Class numbers of the live model for rows, in their order."""
    ids = [tokenizer.encode(text, max_length=recipe.text.max_length) for text in rows.texts]
    order = sorted(range(len(ids)), key=lambda index: len(ids[index]))
    classes = [0] * len(ids)
    trainer.model.eval()
    for start in range(0, len(order), recipe.train.eval_batch_size):
        chosen = order[start : start + recipe.train.eval_batch_size]
        with paddle.no_grad():
            logits = trainer.model(paddle.to_tensor(pad([ids[index] for index in chosen]))).numpy()
        for index, row in zip(chosen, logits, strict=True):
            classes[index] = int(row.argmax())
    return classes
