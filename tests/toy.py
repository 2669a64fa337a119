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
        "per_device_eval_batch_size": 32,
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


class Steps(TrainerCallback):
    """All weights before every step and at the end, and which parameters had a gradient when the optimizer began."""

    def __init__(self) -> None:
        self.weights: list[dict[str, np.ndarray]] = []
        self.with_gradient: list[set[str]] = []

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.weights.append({name: value.numpy().copy() for name, value in kwargs["model"].named_parameters()})

    def on_optimizer_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.with_gradient.append({name for name, value in kwargs["model"].named_parameters() if value.grad is not None})

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.on_step_begin(args, state, control, **kwargs)

    def moved(self, name: str) -> list[int]:
        """Numbers of the steps that changed a parameter, 0 the first."""
        pairs = zip(self.weights, self.weights[1:], strict=False)
        return [step for step, (before, after) in enumerate(pairs) if not np.array_equal(before[name], after[name])]

    def update(self, step: int, name: str) -> np.ndarray:
        """What a step added to a parameter."""
        return self.weights[step + 1][name] - self.weights[step][name]


def state_of(model: Any) -> dict[str, np.ndarray]:
    """A copy of parameters and buffers."""
    return {name: value.numpy().copy() for name, value in model.state_dict().items()}


class States(TrainerCallback):
    """Parameters and buffers at the beginning and after every step."""

    def __init__(self) -> None:
        self.states: list[dict[str, np.ndarray]] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.states.append(state_of(kwargs["model"]))

    on_step_end = on_train_begin


def script_accuracy(trainer: Any, *values: float) -> Any:
    """Let the evaluations of a Trainer give these accuracies, one for each epoch of four steps."""
    trainer.compute_metrics = lambda _: {"accuracy": values[max(0, trainer.state.global_step // 4 - 1)]}
    return trainer


def assert_equal(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> None:
    assert set(first) == set(second)
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)


def named(model: Any) -> dict[str, np.ndarray]:
    return {name: value.numpy().copy() for name, value in model.named_parameters()}


class Interrupt(TrainerCallback):
    """Interrupts training once, before a step, as Ctrl-C does."""

    def __init__(self, step: int) -> None:
        self.step: int | None = step

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step:
            self.step = None
            raise KeyboardInterrupt


class Block(paddle.nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.dense = paddle.nn.Linear(WIDTH, WIDTH)
        self.norm = paddle.nn.LayerNorm(WIDTH)

    def forward(self, hidden: Any) -> Any:
        return self.norm(hidden + paddle.tanh(self.dense(hidden)))


class Encoder(paddle.nn.Layer):
    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = paddle.nn.LayerList([Block() for _ in range(layers)])

    def forward(self, hidden: Any) -> Any:
        for layer in self.layers:
            hidden = layer(hidden)
        return hidden


class Deep(paddle.nn.Layer):
    """An embedding with a norm, numbered layers, a pooler and a classifier."""

    def __init__(self, layers: int = 3) -> None:
        super().__init__()
        self.embedding = paddle.nn.Embedding(VOCABULARY, WIDTH)
        self.norm = paddle.nn.LayerNorm(WIDTH)
        self.encoder = Encoder(layers)
        self.pooler = paddle.nn.Linear(WIDTH, WIDTH)
        self.classifier = paddle.nn.Linear(WIDTH, LABELS)

    def forward(self, input_ids: Any) -> Any:
        hidden = self.encoder(self.norm(self.embedding(input_ids)).mean(axis=1))
        return self.classifier(paddle.tanh(self.pooler(hidden)))
