"""A small model and data set that know nothing of this package, on a plain PaddleNLP Trainer."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from tests.host import ARGUMENTS, Trainer, TrainerCallback, TrainingArguments

ROWS, LENGTH, VOCABULARY, WIDTH, LABELS = 64, 6, 30, 8, 3


class Toy(paddle.nn.Layer):
    """Mean of embeddings, a norm, a hidden layer, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = paddle.nn.Embedding(VOCABULARY, WIDTH)
        self.norm = paddle.nn.LayerNorm(WIDTH)
        self.encoder = paddle.nn.Linear(WIDTH, WIDTH)
        self.classifier = paddle.nn.Linear(WIDTH, LABELS)

    def forward(self, input_ids: Any) -> Any:
        hidden = self.norm(self.embedding(input_ids).mean(axis=1))
        return self.classifier(paddle.tanh(self.encoder(hidden)))


class ToyData(paddle.io.Dataset):
    """Texts whose label can be read off their first token."""

    def __init__(self, rows: int = ROWS) -> None:
        super().__init__()
        generator = np.random.default_rng(0)
        self.ids = generator.integers(1, VOCABULARY - 5, (rows, LENGTH))
        self.labels = self.ids[:, 0] % LABELS

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"input_ids": self.ids[index], "labels": int(self.labels[index])}


class Snapshots(TrainerCallback):
    """All weights at the start of every epoch and at the end."""

    def __init__(self) -> None:
        self.weights: list[dict[str, np.ndarray]] = []
        self.stop_gradient: list[dict[str, bool]] = []

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._take(kwargs["model"])

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._take(kwargs["model"])

    def _take(self, model: Any) -> None:
        self.weights.append({name: value.numpy().copy() for name, value in model.named_parameters()})
        self.stop_gradient.append({name: value.stop_gradient for name, value in model.named_parameters()})


@contextlib.contextmanager
def new_process() -> Iterator[None]:
    """Count Paddle's own names from the start, as a new process does: optimizer state is stored under them."""
    with paddle.utils.unique_name.guard():
        yield


def accuracy(prediction: Any) -> dict[str, float]:
    return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}


def make_trainer(out: Path, *callbacks: Any, model: Any = None, rows: int = ROWS, **arguments: Any) -> Trainer:
    """A Trainer as a stranger would build it: one evaluation an epoch, 4 steps an epoch."""
    options: dict[str, Any] = {
        "num_train_epochs": 3,
        "per_device_train_batch_size": 16,
        "learning_rate": 0.01,
        "weight_decay": 0.1,
        "evaluation_strategy": "epoch",
        "save_strategy": "no",
        "logging_steps": 2,
        "seed": 0,
        "disable_tqdm": True,
        "report_to": [],
        **ARGUMENTS,
        **arguments,
    }
    paddle.seed(0)
    return Trainer(
        model=Toy() if model is None else model,
        criterion=paddle.nn.CrossEntropyLoss(),
        args=TrainingArguments(output_dir=str(out), **options),
        train_dataset=ToyData(rows),
        eval_dataset=ToyData(32),
        compute_metrics=accuracy,
        callbacks=list(callbacks),
    )
