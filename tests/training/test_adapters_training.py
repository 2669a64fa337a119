"""Adapters under a Trainer: what is frozen stays bit-equal, runs resume, and recipes can steer them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import paddlenlp.transformers as transformers
import pytest

from paddlenlp_embtune.config.adapter import ADAPTER_KINDS, AdapterSpec
from paddlenlp_embtune.config.optimization import GroupSpec
from paddlenlp_embtune.config.recipe import LayerwiseSpec, Recipe, SparseSpec
from paddlenlp_embtune.models.adapters.insertion import adapter_groups, add_adapter, merge_adapter
from paddlenlp_embtune.models.pretrained_classifier import PretrainedClassifier
from paddlenlp_embtune.training import attach
from tests.toy import LABELS, VOCABULARY, make_trainer, new_process

OPTIONS: dict[str, dict[str, Any]] = {
    "lora": {"rank": 2, "dropout": 0.1},
    "prefix": {"tokens": 3},
    "prompt": {"tokens": 3},
    "houlsby": {"bottleneck": 4},
}
FAMILIES = {"lora": "BertModel", "prefix": "ErnieModel", "prompt": "BertModel", "houlsby": "ErnieModel"}
SETTINGS: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 12,
    "type_vocab_size": 2,
    "pad_token_id": 0,
    "initializer_range": 0.2,
}
EMBEDDING = "network.embeddings.word_embeddings.weight"


def spec(kind: str, **more: Any) -> AdapterSpec:
    return AdapterSpec(kind=kind, **{**OPTIONS[kind], **more})


def adapted(kind: str, **more: Any) -> PretrainedClassifier:
    paddle.seed(1)
    model = PretrainedClassifier(
        vocabulary_size=VOCABULARY, dimension=16, num_labels=LABELS, architecture=FAMILIES[kind], settings=SETTINGS
    )
    add_adapter(model, spec(kind, **more))
    return model


def recipe(groups: list[GroupSpec] | None, **parts: Any) -> Recipe:
    return Recipe(groups=None if groups is None else tuple(groups), **{"freeze": None, "early_stopping": None, **parts})


def weights(model: Any) -> dict[str, np.ndarray]:
    return {name: value.numpy().copy() for name, value in model.state_dict().items()}


def check_moves(before: dict[str, np.ndarray], model: Any) -> None:
    """What is frozen is bit-equal, all else has moved."""
    frozen = {name for name, parameter in model.named_parameters() if parameter.stop_gradient}
    for name, value in weights(model).items():
        if name in frozen:
            np.testing.assert_array_equal(value, before[name], err_msg=name)
        else:
            assert np.abs(value - before[name]).max() > 1e-5, name


@pytest.mark.parametrize("kind", ADAPTER_KINDS)
def test_only_adapter_and_head_move(tmp_path: Path, kind: str) -> None:
    model = adapted(kind)
    before = weights(model)
    trainer = make_trainer(tmp_path, model=model)
    record = attach(trainer, recipe(adapter_groups(model, spec(kind))))
    trainer.train()
    check_moves(before, model)
    phases = {row["name"]: row["phase"] for row in record.of("groups")[0]["table"]}
    assert phases["adapter"] == phases["head"] == "all epochs"
    assert phases["embedding"] == phases["rest"] == "frozen before training"
    assert len(record.of("health")) == 3


@pytest.mark.parametrize("kind", ADAPTER_KINDS)
def test_the_embedding_trains_beside_an_adapter_by_rows(tmp_path: Path, kind: str) -> None:
    model = adapted(kind, train_embedding=True)
    before = weights(model)
    trainer = make_trainer(tmp_path, model=model)
    record = attach(trainer, recipe(adapter_groups(model, spec(kind)), sparse=SparseSpec(from_rows=0)))
    trainer.train()
    assert [event["used"] for event in record.of("sparse")] == [True]
    check_moves(before, model)
    moved = np.abs(model.state_dict()[EMBEDDING].numpy() - before[EMBEDDING]).max(axis=1)
    assert (moved[1:20] > 0).all()
    assert not moved[-5:].any()


@pytest.mark.parametrize("kind", ADAPTER_KINDS)
def test_a_frozen_embedding_does_not_mind_rows(tmp_path: Path, kind: str) -> None:
    model = adapted(kind)
    before = weights(model)
    trainer = make_trainer(tmp_path, model=model, max_steps=2)
    attach(trainer, recipe(adapter_groups(model, spec(kind)), sparse=SparseSpec(from_rows=0)))
    trainer.train()
    check_moves(before, model)


@pytest.mark.parametrize("groups", [None, "layerwise"])
@pytest.mark.parametrize("kind", ADAPTER_KINDS)
def test_groups_by_depth_take_adapters(tmp_path: Path, kind: str, groups: str | None) -> None:
    model = adapted(kind)
    before = weights(model)
    trainer = make_trainer(tmp_path, model=model, max_steps=4)
    attach(trainer, recipe(None, layerwise=LayerwiseSpec(rate=1e-2) if groups else None))
    trainer.train()
    check_moves(before, model)


@pytest.mark.parametrize("kind", ADAPTER_KINDS)
def test_a_run_that_goes_on_ends_as_one_that_never_stopped(tmp_path: Path, kind: str) -> None:
    ends = []
    for checkpoint in (None, str(tmp_path / "checkpoint-4")):
        with new_process():
            model = adapted(kind)
            trainer = make_trainer(tmp_path, model=model, save_strategy="epoch")
            attach(trainer, recipe(adapter_groups(model, spec(kind))))
            trainer.train(resume_from_checkpoint=checkpoint)
        ends.append(weights(model))
    assert ends[0].keys() == ends[1].keys()
    for name, value in ends[0].items():
        np.testing.assert_array_equal(ends[1][name], value, err_msg=name)


@pytest.mark.parametrize("kind", ADAPTER_KINDS)
@pytest.mark.parametrize("name", ["Bert", "Ernie"])
def test_somebody_elses_classifier_trains_without_a_recipe(tmp_path: Path, name: str, kind: str) -> None:
    paddle.seed(1)
    config = getattr(transformers, f"{name}Config").from_dict({**SETTINGS, "num_labels": LABELS})
    model = getattr(transformers, f"{name}ForSequenceClassification")(config)
    add_adapter(model, spec(kind))
    before = weights(model)
    trainer = make_trainer(tmp_path, model=model, save_strategy="epoch")
    trainer.train()
    check_moves(before, model)
    model.eval()
    ids = paddle.to_tensor([[3, 4, 5, 0]])
    expected = model(ids).numpy()
    twin = type(model)(config)
    add_adapter(twin, spec(kind))
    twin.eval()
    twin.set_state_dict(paddle.load(str(tmp_path / "checkpoint-12" / "model_state.pdparams")))
    np.testing.assert_array_equal(twin(ids).numpy(), expected)
    if merge_adapter(model):
        model.save_pretrained(str(tmp_path / "folded"))
        plain = type(model).from_pretrained(str(tmp_path / "folded"))
        plain.eval()
        np.testing.assert_allclose(plain(ids).numpy(), expected, rtol=1e-6, atol=1e-6)
