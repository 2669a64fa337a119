"""A small model with dropout, padded texts, and what the papers say that one step's gradients are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle

from paddlenlp_embtune import compat
from paddlenlp_embtune.config.regularization import RegularizationSpec
from paddlenlp_embtune.training.regularization.apply import regularize
from tests.host import Trainer, TrainerCallback
from tests.toy import LABELS, LENGTH, VOCABULARY, WIDTH, make_trainer

functional = paddle.nn.functional


class Small(paddle.nn.Layer):
    """Dropped rows, a hidden layer, the mean over tokens, a dropped head."""

    def __init__(self, dropout: float = 0.3) -> None:
        super().__init__()
        self.embedding = paddle.nn.Embedding(VOCABULARY, WIDTH, padding_idx=0)
        self.hidden = paddle.nn.Linear(WIDTH, WIDTH)
        self.classifier = paddle.nn.Linear(WIDTH, LABELS)
        self.dropout = paddle.nn.Dropout(dropout)
        self.seen: list[np.ndarray] = []

    def forward(self, input_ids: Any) -> Any:
        self.seen.append(input_ids.numpy())
        return self.rest(self.embedding(input_ids), input_ids)

    def rest(self, rows: Any, ids: Any) -> Any:
        mask = (ids != 0).astype("float32").unsqueeze(-1)
        hidden = paddle.tanh(self.hidden(self.dropout(rows))) * mask
        return self.classifier(self.dropout(hidden.sum(axis=1) / mask.sum(axis=1)))


class Padded(paddle.io.Dataset):
    """Texts of different lengths; the label can be read off the first token."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        generator = np.random.default_rng(0)
        self.ids = generator.integers(1, VOCABULARY - 5, (rows, LENGTH))
        for row in self.ids:
            row[generator.integers(2, LENGTH + 1) :] = 0

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"input_ids": self.ids[index], "labels": int(self.ids[index][0] % LABELS)}


class Gradients(TrainerCallback):
    """What a step begins and ends with: the state of Paddle's generator, and the gradients that the optimizer gets."""

    def __init__(self) -> None:
        self.states: list[Any] = []
        self.found: list[dict[str, np.ndarray]] = []

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.states.append(paddle.get_rng_state())

    def on_optimizer_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        named = dict(kwargs["model"].named_parameters())
        self.found.append({name: _whole(value) for name, value in named.items() if value.grad is not None})


def _whole(parameter: Any) -> np.ndarray:
    rows, values = compat.gradient_rows(parameter), compat.gradient_values(parameter).numpy()
    if rows is None:
        return values.copy()
    whole = np.zeros(parameter.shape, dtype=np.float32)
    whole[rows] = values
    return whole


def make_regularized(folder: Path, spec: RegularizationSpec, *callbacks: Any, model: Any = None, **options: Any) -> Trainer:
    """A Trainer on padded texts, regularised."""
    weights = options.pop("class_weights", None)
    paddle.seed(0)
    trainer = make_trainer(folder, *callbacks, model=model or Small(), **{"max_grad_norm": 0.0, **options})
    trainer.train_dataset, trainer.eval_dataset = Padded(64), Padded(32)
    if weights is not None:
        trainer.criterion = paddle.nn.CrossEntropyLoss(weight=paddle.to_tensor(weights))
    for callback in regularize(trainer, spec):
        trainer.add_callback(callback)
    return trainer


def expected_gradients(model: Small, ids: np.ndarray, spec: RegularizationSpec, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Compute what a pass over a batch should leave, from the papers' formulas, drawing from Paddle's generator as it stands.

    Args:
        model: in training mode; takes no part in what regularises it.
        ids: (B, L).
        spec: what is on.
        weights: (C,) of the classes.
    """
    labels = paddle.to_tensor(ids[:, 0] % LABELS)
    adversarial = spec.adversarial
    kind = adversarial.kind if adversarial is not None else None
    number = {None: 1, "fgm": 2, "freelb": adversarial.steps if adversarial is not None else 0}[kind]
    ids = np.concatenate([ids, ids]) if spec.r_drop else ids
    tokens = (ids != 0)[..., None].astype(np.float32)
    state, change, total = paddle.get_rng_state(), None, {}
    for _ in range(number):
        paddle.set_rng_state(state)
        rows = model.embedding(paddle.to_tensor(ids))
        if spec.embedding_dropout:
            rows = rows * paddle.to_tensor(_factors(ids, spec))
        if kind == "freelb":
            drawn = paddle.uniform(rows.shape, min=-adversarial.epsilon, max=adversarial.epsilon).numpy()
            change = drawn * tokens / np.sqrt(tokens.sum((1, 2), keepdims=True) * WIDTH) if change is None else change
        added = paddle.to_tensor(np.zeros(rows.shape, np.float32) if change is None else change, stop_gradient=False)
        loss = _loss(model.rest(rows + added, paddle.to_tensor(ids)), labels, spec, weights)
        loss = loss / number if kind == "freelb" else loss
        named = {name: value for name, value in model.named_parameters() if not value.stop_gradient}
        *found, uphill = paddle.grad(loss, [*named.values(), added], allow_unused=True)
        for name, gradient in zip(named, found, strict=True):
            total[name] = total.get(name, 0) + gradient.numpy()
        if kind is not None:
            change = _next_change(change, uphill.numpy() * tokens, spec)
    return total


def _factors(ids: np.ndarray, spec: RegularizationSpec) -> np.ndarray:
    halves = np.split(ids, 2) if spec.r_drop else [ids]
    types = np.unique(ids)
    kept = paddle.rand([len(halves), len(types)]).numpy() >= spec.embedding_dropout
    scale = 1 / (1 - spec.embedding_dropout)
    tables = [{token: scale * keep for token, keep in zip(types, row, strict=True)} | {0: 1.0} for row in kept]
    looked_up = [np.vectorize(table.get)(half) for table, half in zip(tables, halves, strict=True)]
    return np.concatenate(looked_up)[..., None].astype(np.float32)


def _loss(logits: Any, labels: Any, spec: RegularizationSpec, weights: np.ndarray) -> Any:
    spread = functional.one_hot(labels, LABELS) * (1 - spec.label_smoothing) + spec.label_smoothing / LABELS
    weight = paddle.to_tensor(weights)[labels]

    def cross_entropy(part: Any) -> Any:
        rows = functional.cross_entropy(part, spread, soft_label=True, reduction="none").flatten()
        return (rows * weight).sum() / weight.sum()

    if not spec.r_drop:
        return cross_entropy(logits)
    first, second = logits.chunk(2)
    one, other = functional.log_softmax(first), functional.log_softmax(second)
    # Not Paddle's kl_div, which passes no gradient on to the distribution that it expects under.
    there = (one.exp() * (one - other)).sum(axis=-1).mean()
    back = (other.exp() * (other - one)).sum(axis=-1).mean()
    paper = cross_entropy(first) + cross_entropy(second) + spec.r_drop * 0.5 * (there + back)
    return paper / 2


def _next_change(change: np.ndarray | None, uphill: np.ndarray, spec: RegularizationSpec) -> np.ndarray:
    adversarial = spec.adversarial
    assert adversarial is not None
    assert adversarial.epsilon is not None
    moved = np.zeros_like(uphill)
    for row, gradient in enumerate(uphill):
        direction = gradient / np.linalg.norm(gradient)
        if adversarial.kind == "fgm":
            moved[row] = adversarial.epsilon * direction
            continue
        assert change is not None
        moved[row] = change[row] + adversarial.step_size * direction
        if (length := np.linalg.norm(moved[row])) > adversarial.epsilon:
            moved[row] *= adversarial.epsilon / length
    return moved
