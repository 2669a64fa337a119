"""Embeddings that train by rows: the same as dense lazy AdamW, and nothing else moves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_embtune import HostError, Recipe, attach, compat
from paddlenlp_embtune.training import RunRecord
from paddlenlp_embtune.training.callbacks import SparseEmbeddingCallback
from paddlenlp_embtune.utils.checkpoint_folders import last_checkpoint
from tests.host import Trainer
from tests.toy import VOCABULARY, WIDTH, Toy, make_trainer, new_process

GROUPS = [
    {"name": "embedding", "parameters": ["embedding.*"], "rate": 0.02, "weight_decay": 0.1},
    {"name": "rest", "rate": 0.01, "weight_decay": 0.05},
]
PLAIN: dict[str, Any] = {"groups": GROUPS, "freeze": None, "early_stopping": None, "health": None, "clip": None}
BY_ROWS = {"sparse": {"from_rows": 0}}
DENSE = {"sparse": None}


class DenseLazy(paddle.optimizer.AdamW):
    """The reference: a dense AdamW step, after which rows of the embedding without a gradient are put back, moments too."""

    def step(self) -> None:
        table = self._param_groups[0]["params"][0]
        assert tuple(table.shape) == (VOCABULARY, WIDTH)
        idle = np.flatnonzero((table.grad.numpy() == 0).all(axis=1))
        held = [by_name for by_name in self._accumulators.values() if table.name in by_name]
        moments = [by_name[table.name] for by_name in held if by_name[table.name].shape == table.shape]
        before = [tensor.numpy().copy() for tensor in (table, *moments)]
        super().step()
        moments = [by_name[table.name] for by_name in self._accumulators.values()]
        moments = [tensor for tensor in moments if tensor.shape == table.shape]
        before += [np.zeros((VOCABULARY, WIDTH), dtype=np.float32)] * (1 + len(moments) - len(before))
        for tensor, old in zip((table, *moments), before, strict=True):
            values = tensor.numpy().copy()
            values[idle] = old[idle]
            tensor.set_value(values)


def train(folder: Path, recipe: dict[str, Any], *, model: Any = None, reference: bool = False, **arguments: Any) -> Trainer:
    with new_process():
        trainer = make_trainer(folder, model=model, max_grad_norm=0.0, **arguments)
        trainer.model.embedding.weight.set_value(start())
        attach(trainer, Recipe.from_dict({**PLAIN, **recipe}))
        if reference:
            build = trainer.create_optimizer

            def create(*given: Any, **named: Any) -> Any:
                optimizer = build(*given, **named)
                optimizer.__class__ = DenseLazy
                return optimizer

            trainer.create_optimizer = create
        trainer.train()
    return trainer


def start() -> np.ndarray:
    return np.random.default_rng(3).normal(0, 0.5, (VOCABULARY, WIDTH)).astype(np.float32)


def weights(trainer: Trainer) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in trainer.model.named_parameters()}


@pytest.mark.parametrize(
    "control",
    [
        {},
        {"clip": {"global_norm": 0.05}},
        {"clip": {"global_norm": None, "row_norm": 0.002, "group_norms": {"embedding": 0.01}}},
        {"rows": {"protect": [3, 4]}},
        {"rows": {"train": [5, 6, 7]}},
        {"rows": {"protect": [3], "trust_cosine": 0.999, "trust_every_steps": 1}},
        {"freeze": {"groups": ["embedding"], "unfreeze_at_epoch": 1}},
    ],
    ids=["plain", "clip", "clip rows", "protect", "train few", "trust", "freeze"],
)
def test_rows_train_as_with_dense_lazy_adamw(control: dict[str, Any], tmp_path: Path) -> None:
    rows = weights(train(tmp_path / "rows", {**BY_ROWS, **control}))
    dense = weights(train(tmp_path / "dense", {**DENSE, **control}, reference="freeze" not in control))
    if "freeze" in control:  # while it is frozen there is nothing to compare; afterwards untouched rows must not have moved
        assert np.abs(rows["embedding.weight"][-5:] - start()[-5:]).max() == 0
        assert np.abs(rows["embedding.weight"][1:-5] - start()[1:-5]).max() > 0.01
        return
    for name, value in rows.items():
        np.testing.assert_allclose(value, dense[name], atol=1e-6, err_msg=name)
    assert np.abs(rows["embedding.weight"] - start()).max() > 0.01


def test_rows_that_no_batch_reads_stay_bit_equal_where_dense_steps_decay_them(tmp_path: Path) -> None:
    rows = weights(train(tmp_path / "rows", BY_ROWS))["embedding.weight"]
    dense = weights(train(tmp_path / "dense", DENSE))["embedding.weight"]
    unread = [0, *range(VOCABULARY - 5, VOCABULARY)]
    np.testing.assert_array_equal(rows[unread], start()[unread])
    assert np.abs(dense[unread] - start()[unread]).max() > 1e-3


def test_padding_gets_no_gradient_and_counts_in_no_norm() -> None:
    paddle.seed(0)
    layer = paddle.nn.Embedding(6, 4, padding_idx=0, sparse=True)
    ids = paddle.to_tensor([[0, 2, 2, 5, 0]])
    layer(ids).sum().backward()
    assert (np.abs(layer.weight.grad.numpy()).sum(axis=1) > 0).all(), "Paddle has fixed it: padding has no gradient by rows"
    compat.merge_gradient(layer.weight, padding_row=0)
    assert compat.gradient_rows(layer.weight).tolist() == [0, 2, 5]
    np.testing.assert_array_equal(compat.gradient_values(layer.weight).numpy()[:, 0], [0.0, 2.0, 1.0])


def test_values_change_in_place_and_reach_the_step() -> None:
    layer = paddle.nn.Embedding(6, 4, sparse=True)
    layer(paddle.to_tensor([[1, 1, 4]])).sum().backward()
    with paddle.no_grad():
        compat.gradient_values(layer.weight).scale_(0.5)
    np.testing.assert_array_equal(compat.gradient_values(layer.weight).numpy()[:, 0], [1.0, 0.5])


def test_a_dense_gradient_is_given_as_it_is() -> None:
    layer = paddle.nn.Embedding(6, 4)
    layer(paddle.to_tensor([[1, 1, 4]])).sum().backward()
    compat.merge_gradient(layer.weight, padding_row=1)
    assert compat.gradient_rows(layer.weight) is None
    assert compat.gradient_values(layer.weight).numpy()[:, 0].tolist() == [0, 2, 0, 0, 1, 0]


def test_a_resumed_run_ends_bit_equal(tmp_path: Path) -> None:
    options = {"save_strategy": "steps", "save_steps": 5, "num_train_epochs": 3}
    whole = weights(train(tmp_path / "whole", BY_ROWS, **options))
    with new_process():
        trainer = make_trainer(tmp_path / "whole", max_grad_norm=0.0, **options)
        attach(trainer, Recipe.from_dict({**PLAIN, **BY_ROWS}))
        trainer.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-5"))
    assert last_checkpoint(tmp_path / "whole") is not None
    for name, value in weights(trainer).items():
        np.testing.assert_array_equal(value, whole[name], err_msg=name)


def test_accumulated_batches_train_as_one(tmp_path: Path) -> None:
    one = weights(train(tmp_path / "one", BY_ROWS))
    many = weights(train(tmp_path / "many", BY_ROWS, per_device_train_batch_size=4, gradient_accumulation_steps=4))
    for name, value in one.items():
        np.testing.assert_allclose(value, many[name], atol=1e-5, err_msg=name)


def test_an_optimizer_of_another_kind_trains_densely_and_the_record_says_so(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, max_grad_norm=0.0)
    record = attach(trainer, Recipe.from_dict({**PLAIN, **BY_ROWS}))
    groups = trainer.optimizer_grouped_parameters
    trainer.create_optimizer = lambda *_: setattr(
        trainer, "optimizer", paddle.optimizer.Adam(learning_rate=trainer.lr_scheduler, parameters=groups)
    )
    trainer.train()
    event = next(event for event in record.events if event["event"] == "sparse")
    assert not event["used"]
    assert "Adam" in event["why"]


def test_model_and_optimizer_are_left_as_they_were(tmp_path: Path) -> None:
    trainer = train(tmp_path, BY_ROWS)
    assert not trainer.model.embedding._sparse
    assert type(compat.inner_optimizer(trainer.optimizer)).__name__ == "AdamW"


@pytest.mark.parametrize(("recipe", "used"), [({}, False), (DENSE, False), (BY_ROWS, True)])
def test_small_tables_train_densely_unless_told(recipe: dict[str, Any], used: bool, tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    record: RunRecord = attach(trainer, Recipe.from_dict({**PLAIN, **recipe}))
    found = [each for each in trainer.callback_handler.callbacks if isinstance(each, SparseEmbeddingCallback)]
    assert bool(found) is used
    assert trainer.model.embedding._sparse is used
    assert record.events


class NoEmbeddingLayer(Toy):
    """Looks its table up by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.table = self.create_parameter([VOCABULARY, WIDTH])
        del self.embedding
        self.embedding_parameter = "table"


def test_a_table_without_a_layer_is_refused() -> None:
    with pytest.raises(HostError, match=r"'table' belongs to no nn\.Embedding of NoEmbeddingLayer"):
        SparseEmbeddingCallback().prepare(NoEmbeddingLayer())
