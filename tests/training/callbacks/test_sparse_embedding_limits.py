"""Embeddings that train by rows, in every company: the same as dense lazy AdamW whatever else is switched on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_embtune import Recipe, attach, compat
from paddlenlp_embtune.training import RunRecord, resolve_groups
from paddlenlp_embtune.training.callbacks import SparseEmbeddingCallback
from paddlenlp_embtune.training.lr_finder import find_learning_rates
from paddlenlp_embtune.training.parameter_groups import group_specs
from tests.host import Trainer, TrainerCallback
from tests.toy import VOCABULARY, WIDTH, Toy, make_trainer, new_process

GROUPS = [
    {"name": "embedding", "parameters": ["*embedding.*"], "rate": 0.02, "weight_decay": 0.1},
    {"name": "rest", "rate": 0.01, "weight_decay": 0.05},
]
PLAIN: dict[str, Any] = {"groups": GROUPS, "freeze": None, "early_stopping": None, "health": None, "clip": None}
EPOCHS = {"unfreeze_at_epoch": 1}


class DenseLazy(paddle.optimizer.AdamW):
    """The reference: a dense AdamW step, after which rows of the tables without a gradient are put back, moments too."""

    def step(self) -> None:
        held = [group["params"] if isinstance(group, dict) else [group] for group in self._param_groups]
        tables = [p for each in held for p in each if tuple(p.shape) == (VOCABULARY, WIDTH)]
        tables = [p for p in tables if p.grad is not None and not p.stop_gradient]
        before = [self._snapshot(table) for table in tables]
        super().step()
        for table, (idle, values, moments) in zip(tables, before, strict=True):
            self._restore(table, idle, values)
            for kind, by_name in self._accumulators.items():
                held = by_name.get(table.name)
                if held is not None and held.shape == table.shape:
                    self._restore(held, idle, moments.get(kind, np.zeros((VOCABULARY, WIDTH), dtype=np.float32)))

    def _snapshot(self, table: Any) -> tuple[Any, Any, dict[str, Any]]:
        idle = np.flatnonzero((table.grad.numpy() == 0).all(axis=1))
        moments = {
            kind: by_name[table.name].numpy().copy()
            for kind, by_name in self._accumulators.items()
            if table.name in by_name and by_name[table.name].shape == table.shape
        }
        return idle, table.numpy().copy(), moments

    @staticmethod
    def _restore(tensor: Any, idle: Any, old: Any) -> None:
        values = tensor.numpy().copy()
        values[idle] = old[idle]
        tensor.set_value(values)


class Padded(Toy):
    """With a padding row."""

    def __init__(self, row: int = 0) -> None:
        super().__init__()
        self.embedding = paddle.nn.Embedding(VOCABULARY, WIDTH, padding_idx=row)


class LastPadded(Toy):
    """Whose last row is padding, and read."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = paddle.nn.Embedding(VOCABULARY, WIDTH, padding_idx=-1)

    def forward(self, input_ids: Any) -> Any:
        return super().forward(paddle.where(input_ids > 20, paddle.full_like(input_ids, VOCABULARY - 1), input_ids))


class Twice(Toy):
    """Looks up twice in a forward pass, by the layer and by a view of it with the ids turned around."""

    def forward(self, input_ids: Any) -> Any:
        two = self.embedding(input_ids) * 0.5 + self.embedding(paddle.clip(input_ids, max=3))
        return self.classifier(paddle.tanh(self.encoder(self.norm(two.mean(axis=1)))))


class Sharing(Toy):
    """Two layers on one table, one of them with a padding row."""

    embedding_parameter = "embedding.weight"

    def __init__(self) -> None:
        super().__init__()
        self.other = paddle.nn.Embedding(VOCABULARY, WIDTH, padding_idx=3)
        self.other.weight = self.embedding.weight

    def forward(self, input_ids: Any) -> Any:
        two = self.embedding(input_ids) + self.other(paddle.clip(input_ids, max=4))
        return self.classifier(paddle.tanh(self.encoder(self.norm(two.mean(axis=1)))))


class Beside(Toy):
    """With a second, smaller table."""

    embedding_parameter = "embedding.weight"

    def __init__(self) -> None:
        super().__init__()
        self.places = paddle.nn.Embedding(8, WIDTH)

    def forward(self, input_ids: Any) -> Any:
        places = self.places(paddle.arange(input_ids.shape[1]))
        return self.classifier(paddle.tanh(self.encoder(self.norm((self.embedding(input_ids) + places).mean(axis=1)))))


class Tied(Toy):
    """Whose table is also read as a matrix, so that its gradient is dense."""

    def forward(self, input_ids: Any) -> Any:
        hidden = paddle.tanh(self.encoder(self.norm(self.embedding(input_ids).mean(axis=1))))
        return self.classifier(
            hidden + paddle.matmul(paddle.matmul(hidden, self.embedding.weight, transpose_y=True), self.embedding.weight)
        )


class Blanks(Padded):
    """For which whole batches are padding."""

    def __init__(self) -> None:
        super().__init__(0)
        self.calls = 0

    def forward(self, input_ids: Any) -> Any:
        self.calls += self.training
        if self.training and self.calls in (1, 3, 4):
            input_ids = paddle.zeros_like(input_ids)
        return super().forward(input_ids)


def start() -> np.ndarray:
    return np.random.default_rng(3).normal(0, 0.5, (VOCABULARY, WIDTH)).astype(np.float32)


def referenced(trainer: Trainer) -> None:
    build = trainer.create_optimizer

    def create(*given: Any, **named: Any) -> Any:
        optimizer = build(*given, **named)
        compat.inner_optimizer(optimizer).__class__ = DenseLazy
        return optimizer

    trainer.create_optimizer = create


def train(
    folder: Path, recipe: dict[str, Any], *callbacks: Any, rows: bool, model: Any = Toy, **arguments: Any
) -> tuple[Trainer, RunRecord]:
    with new_process():
        paddle.seed(0)
        arguments = {"max_grad_norm": 0.0, **arguments}
        trainer = make_trainer(folder, *callbacks, model=model(), **arguments)
        trainer.model.embedding.weight.set_value(start())
        record = attach(trainer, Recipe.from_dict({**PLAIN, "sparse": {"from_rows": 0} if rows else None, **recipe}))
        if not rows:
            referenced(trainer)
        trainer.train()
    return trainer, record


def weights(trainer: Trainer) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in trainer.model.named_parameters()}


SCHEDULED = {
    "groups": [
        {"name": "embedding", "parameters": ["*embedding.*"], "rate": 0.02, "weight_decay": 0.1},
        {"name": "encoder", "parameters": ["encoder.*"], "rate": 0.02, "schedule": {"kind": "linear"}},
        {"name": "rest", "rate": 0.01, "weight_decay": 0.05, "schedule": {"kind": "constant"}},
    ],
    "schedule": {"kind": "cosine", "warmup_ratio": 0.2},
}
COMBINATIONS: dict[str, dict[str, Any]] = {
    "own clip": {"arguments": {"max_grad_norm": 0.05}},
    "schedules": {"recipe": SCHEDULED},
    "all": {
        "recipe": {
            **SCHEDULED,
            "freeze": {"groups": ["encoder", "embedding"], "gradual": True, "unfreeze_at_epoch": 1, "warmup_steps": 2},
            "clip": {"global_norm": 0.05, "row_norm": 0.01, "group_norms": {"embedding": 0.02}},
            "rows": {"protect": [3], "trust_cosine": 0.99, "trust_every_steps": 2},
            "average": {"every_steps": 2, "metric": "accuracy"},
            "early_stopping": {"metric": "loss", "mode": "min", "patience_evals": 3},
            "health": {},
        },
        "arguments": {"num_train_epochs": 5},
    },
    "refreeze": {"recipe": {"freeze": {"groups": ["embedding"], "unfreeze_at_step": 2, "refreeze_at_step": 8}}},
    "swa": {"recipe": {"average": {"kind": "swa", "metric": "accuracy"}}},
    "best restored": {
        "recipe": {"early_stopping": {"metric": "loss", "mode": "min", "patience_evals": 1}},
        "arguments": {"num_train_epochs": 6},
    },
    "left over": {"arguments": {"per_device_train_batch_size": 6, "gradient_accumulation_steps": 3}},
    "padding 0": {"model": Padded},
    "padding 7": {"model": lambda: Padded(7)},
    "padding -23": {"model": lambda: Padded(-23)},
    "padding -1": {"model": LastPadded},
    "twice": {"model": Twice},
    "two tables": {"model": Beside},
    "tied": {"model": Tied},
    "tied, accumulated": {"model": Tied, "arguments": {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 2}},
    "blank batches": {"model": Blanks},
    "blank batches, clipped": {"model": Blanks, "recipe": {"clip": {"global_norm": 0.1, "row_norm": 0.01}}},
    "blank batches, protected": {"model": Blanks, "recipe": {"rows": {"train": [4, 5]}, "health": {}}},
    "health": {"recipe": {"health": {"gradient_every_steps": 1}}},
}


@pytest.mark.parametrize("name", list(COMBINATIONS))
def test_in_every_company_rows_train_as_with_dense_lazy_adamw(name: str, tmp_path: Path) -> None:
    given = COMBINATIONS[name]
    options = {"model": given.get("model", Toy), **given.get("arguments", {})}
    rows, record = train(tmp_path / "rows", given.get("recipe", {}), rows=True, **options)
    dense, _ = train(tmp_path / "dense", given.get("recipe", {}), rows=False, **options)
    assert next(event for event in record.events if event["event"] == "sparse")["used"]
    expected = weights(dense)
    for parameter, value in weights(rows).items():
        np.testing.assert_allclose(value, expected[parameter], atol=2e-6, err_msg=parameter)
    assert np.abs(expected["embedding.weight"] - start()).max() > 0.005


class Breaks(TrainerCallback):
    """Ends the training by an error."""

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 2 and not hasattr(self, "done"):
            self.done = True
            raise KeyboardInterrupt


def test_a_training_that_broke_off_can_be_begun_again_by_rows(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, Breaks(), max_grad_norm=0.0)
    record = attach(trainer, Recipe.from_dict({**PLAIN, "sparse": {"from_rows": 0}}))
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    trainer.train()
    assert [event["used"] for event in record.events if event["event"] == "sparse"] == [True, True]
    assert not trainer.model.embedding._sparse
    assert type(compat.inner_optimizer(trainer.optimizer)).__name__ == "AdamW"


def test_training_twice_goes_on_by_rows(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, max_grad_norm=0.0)
    record = attach(trainer, Recipe.from_dict({**PLAIN, "sparse": {"from_rows": 0}}))
    trainer.train()
    once = trainer.model.embedding.weight.numpy().copy()
    trainer.train()
    twice = trainer.model.embedding.weight.numpy()
    assert [event["used"] for event in record.events if event["event"] == "sparse"] == [True, True]
    np.testing.assert_array_equal(once[-5:], twice[-5:])
    assert np.abs(once - twice).max() > 0.001


def test_the_callback_alone_trains_by_rows_under_the_hosts_own_clipping(tmp_path: Path) -> None:
    found = []
    for name, callbacks in (("rows", [SparseEmbeddingCallback()]), ("dense", [])):
        with new_process():
            paddle.seed(0)
            trainer = make_trainer(tmp_path / name, *callbacks, model=Padded(), max_grad_norm=0.1)
            trainer.model.embedding.weight.set_value(start())
            if not callbacks:
                referenced(trainer)
            trainer.train()
        found.append(weights(trainer))
    for parameter, value in found[0].items():
        np.testing.assert_allclose(value, found[1][parameter], atol=2e-6, err_msg=parameter)
    np.testing.assert_array_equal(found[0]["embedding.weight"][-5:], start()[-5:])


def test_the_rate_finder_takes_a_trainer_that_a_recipe_is_attached_to(tmp_path: Path) -> None:
    recipe = Recipe.from_dict({**PLAIN, "sparse": {"from_rows": 0}})
    trainer = make_trainer(tmp_path, max_grad_norm=0.0)
    attach(trainer, recipe)
    curve = find_learning_rates(trainer, resolve_groups(trainer.model, group_specs(recipe, trainer.model)), steps=10)
    assert len(curve.losses) == 10
    assert trainer.model.embedding._sparse


def test_an_embedding_that_scales_by_frequency_trains_densely_and_the_record_says_so(tmp_path: Path) -> None:
    model = Toy()
    model.embedding = paddle.nn.Embedding(VOCABULARY, WIDTH, scale_grad_by_freq=True)
    trainer = make_trainer(tmp_path, model=model, max_grad_norm=0.0)
    record = attach(trainer, Recipe.from_dict({**PLAIN, "sparse": {"from_rows": 0}}))
    trainer.train()
    assert [event["used"] for event in record.events if event["event"] == "sparse"] == [False]


def test_layers_with_different_padding_on_one_table_train_densely(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, model=Sharing(), max_grad_norm=0.0)
    record = attach(trainer, Recipe.from_dict({**PLAIN, "sparse": {"from_rows": 0}}))
    assert any(event["event"] == "sparse" and "padding" in event["why"] for event in record.events)
    assert not trainer.model.embedding._sparse


def test_fixed_rows_are_not_written_where_steps_are_by_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They may be nearly all of a large table, at every step."""
    sizes: list[int] = []
    scatter = paddle.scatter_

    def counted(table: Any, rows: Any, values: Any) -> Any:
        sizes.append(int(rows.shape[0]))
        return scatter(table, rows, values)

    monkeypatch.setattr(paddle, "scatter_", counted)
    train(tmp_path, {"rows": {"train": [5, 6]}}, rows=True)
    assert max(sizes) < VOCABULARY - 2


def test_half_precision_on_an_accelerator_trains_densely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its loss scale cannot be taken from a gradient by rows: Paddle reads memory that is not there."""
    trainer = make_trainer(tmp_path, max_grad_norm=0.0)
    trainer.args.fp16 = True
    monkeypatch.setattr(paddle, "get_device", lambda: "gpu:0")
    record = attach(trainer, Recipe.from_dict({**PLAIN, "sparse": {"from_rows": 0}}))
    assert any(event["event"] == "sparse" and "loss scale" in event["why"] for event in record.events)
    assert not trainer.model.embedding._sparse
