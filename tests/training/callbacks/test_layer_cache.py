"""Cached lower layers: the same states, fewer computations, and nothing stale."""

from __future__ import annotations

import errno
import os
from typing import Any

import numpy as np
import paddle
import pytest

import paddlenlp_embtune as embtune
from paddlenlp_embtune.data.dataset import collate
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.models.layer_cache import LayerCache, cacheable_layers
from paddlenlp_embtune.models.pretrained_classifier import PretrainedClassifier, classifier_on
from paddlenlp_embtune.text import pad
from paddlenlp_embtune.training import _exported_engine
from paddlenlp_embtune.training.callbacks import _lowest_layers
from tests.encoders import dataset, ids_of, tiny_encoder
from tests.host import Trainer, TrainingArguments

ROWS = 24


def classifier(architecture: str = "BertModel", **options: Any) -> PretrainedClassifier:
    found = tiny_encoder(architecture)
    paddle.seed(1)
    return classifier_on(found, found.table, num_labels=2, options=options)


def trainer(folder: Any, model: Any, recipe: embtune.Recipe, *, epochs: int = 3, save_steps: int | None = None) -> Trainer:
    arguments = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=epochs,
        per_device_train_batch_size=8,
        evaluation_strategy="epoch",
        save_strategy="no" if save_steps is None else "steps",
        save_steps=save_steps or 500,
        disable_tqdm=True,
        report_to=[],
        remove_unused_columns=False,
    )
    built = Trainer(
        model=model,
        criterion=paddle.nn.CrossEntropyLoss(),
        args=arguments,
        data_collator=collate,
        train_dataset=dataset(ROWS, seed=0),
        eval_dataset=dataset(8, seed=1),
    )
    embtune.attach(built, recipe)
    return built


def recipe(*groups: str, cached: bool = True, **times: Any) -> embtune.Recipe:
    freeze = {"groups": list(groups), "cached": cached, **(times or {"permanent": True})}
    plain = {"freeze": freeze, "early_stopping": None, "health": None, "schedule": {"warmup_ratio": 0.0}}
    return embtune.Recipe.from_dict(plain)


def count_calls(layer: Any) -> list[int]:
    calls: list[int] = []
    layer.register_forward_pre_hook(lambda *_: calls.append(1))
    return calls


@pytest.mark.parametrize("architecture", ["BertModel", "ErnieModel", "RobertaModel"])
@pytest.mark.parametrize("depth", [1, 3])
def test_states_are_those_of_the_layers(architecture: str, depth: int) -> None:
    model = classifier(architecture)
    model.eval()
    ids = pad(ids_of(5))
    with paddle.no_grad():
        wanted = model(paddle.to_tensor(ids)).numpy()
    cache = LayerCache(model, depth)
    cache.fill(ids_of(9))
    unknown = pad(ids_of(3, seed=5))
    with paddle.no_grad():
        other = model(paddle.to_tensor(unknown)).numpy()
        cache.use()
        for parameter in model.network.embeddings.parameters():
            parameter.set_value(paddle.zeros_like(parameter))
        np.testing.assert_allclose(model(paddle.to_tensor(ids)).numpy(), wanted, atol=2e-6)  # not computed again
        assert np.abs(model(paddle.to_tensor(unknown)).numpy() - other).max() > 1e-3  # computed
        cache.release()
        assert np.abs(model(paddle.to_tensor(ids)).numpy() - wanted).max() > 1e-3


def test_training_with_the_cache_is_training_without_dropout_below(tmp_path: Any) -> None:
    ends = []
    for cached in (False, True):
        model = classifier(dropout=0.0, encoder_dropout=0.0)
        trainer(tmp_path, model, recipe("embedding", "layer.0", "layer.1", cached=cached)).train()
        ends.append({name: value.numpy() for name, value in model.state_dict().items()})
    start = classifier().state_dict()
    for name, value in ends[0].items():
        # Softmax takes no notice of a key's bias: its gradient is rounding, which Adam makes steps of.
        tolerance = 1e-3 if name.endswith("k_proj.bias") else 1e-5
        np.testing.assert_allclose(ends[1][name], value, atol=tolerance, err_msg=name)
    held = "network.encoder.layers.1.linear1.weight"
    np.testing.assert_array_equal(ends[1][held], start[held].numpy())
    moved = "network.encoder.layers.2.linear1.weight"
    assert np.abs(ends[1][moved] - start[moved].numpy()).max() > 1e-5


def test_the_layers_are_left_alone_once_the_states_are_there(tmp_path: Any) -> None:
    model = classifier()
    running = trainer(tmp_path, model, recipe("embedding", "layer.0"))
    attention = count_calls(model.network.encoder.layers[0].self_attn)
    above = count_calls(model.network.encoder.layers[1].self_attn)
    running.train()
    assert len(attention) <= 3 < len(above)  # a batch or two of texts of similar lengths
    before = len(attention)
    model(paddle.to_tensor(pad(ids_of(3))))
    assert len(attention) == before + 1


def test_a_release_ends_the_cache(tmp_path: Any) -> None:
    model = classifier()
    running = trainer(tmp_path, model, recipe("embedding", "layer.0", unfreeze_at_epoch=2))
    start = {name: value.numpy() for name, value in model.state_dict().items()}
    attention = count_calls(model.network.encoder.layers[0].self_attn)
    running.train()
    steps = ROWS // 8
    assert steps <= len(attention) <= steps + 4  # one epoch of three, its evaluation, and the filling
    moved = "network.encoder.layers.0.linear1.weight"
    assert np.abs(model.state_dict()[moved].numpy() - start[moved]).max() > 1e-6


def test_how_many_layers_can_be_cached() -> None:
    model = classifier()
    assert cacheable_layers(model) == 0
    for name, parameter in model.named_parameters():
        parameter.stop_gradient = "embeddings" in name or "layers.0" in name or "layers.2" in name
    assert cacheable_layers(model) == 1
    for parameter in model.network.parameters():
        parameter.stop_gradient = True
    assert cacheable_layers(model) == 3
    model.network.embeddings.layer_norm.weight.stop_gradient = False
    assert cacheable_layers(model) == 0


def test_nothing_frozen_from_below_is_refused(tmp_path: Any) -> None:
    with pytest.raises(RecipeError, match="no layer is frozen from below together with the embedding"):
        trainer(tmp_path, classifier(), recipe("layer.0")).train()


def test_too_large_states_are_not_kept(tmp_path: Any) -> None:
    model = classifier()
    running = trainer(tmp_path, model, recipe("embedding", "layer.0"))
    callback = next(each for each in running.callback_handler.callbacks if type(each).__name__ == "LayerCacheCallback")
    callback.most_megabytes = 0
    attention = count_calls(model.network.encoder.layers[0].self_attn)
    running.train()
    assert len(attention) >= 9


def callback_of(running: Trainer) -> Any:
    return next(each for each in running.callback_handler.callbacks if type(each).__name__ == "LayerCacheCallback")


def cached_event(running: Trainer) -> dict[str, Any]:
    return callback_of(running).record.of("cached")[-1]


def test_states_are_kept_in_half_precision_and_say_so(tmp_path: Any) -> None:
    running = trainer(tmp_path, classifier(), recipe("embedding", "layer.0"), epochs=1)
    running.train()
    event = cached_event(running)
    assert (event["layers"], event["precision"], event["kept"], event["engine"]) == (1, "float16", "memory", "paddle")
    assert event["seconds"] >= 0


def test_states_that_half_precision_cannot_hold_are_kept_in_single_precision() -> None:
    model = classifier()
    scale = model.network.encoder.layers[0].norm2.weight
    scale.set_value(scale * 1e5)
    model.eval()
    cache = LayerCache(model, 1)
    texts = ids_of(9)
    cache.fill(texts, half=True)
    assert not cache.store.half
    longest = max(texts, key=lambda text: (len(text), tuple(text)))
    wanted = cache.compute(pad([longest]))[0]
    assert np.abs(wanted).max() > np.finfo(np.float16).max
    np.testing.assert_allclose(cache.store.read(sum(map(len, texts)) - len(longest), len(longest)), wanted, rtol=1e-4)


def test_a_file_holds_what_would_take_too_much_memory_and_training_is_the_same(tmp_path: Any) -> None:
    ends = []
    for megabytes in (1024, 0):
        model = classifier()
        running = trainer(tmp_path / str(megabytes), model, recipe("embedding", "layer.0"), epochs=1)
        callback_of(running).memory_megabytes = megabytes
        running.train()
        assert cached_event(running)["kept"] == ("memory" if megabytes else "file")
        assert callback_of(running)._cache is None
        ends.append({name: value.numpy() for name, value in model.state_dict().items()})
    for name, value in ends[0].items():
        np.testing.assert_array_equal(ends[1][name], value, err_msg=name)


def test_without_room_on_the_disk_nothing_is_cached(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    running = trainer(tmp_path, classifier(), recipe("embedding", "layer.0"), epochs=1)
    callback_of(running).memory_megabytes = 0
    running.train()
    assert cached_event(running)["layers"] == 0


@pytest.mark.slow
def test_onnx_runtime_computes_what_is_worth_it_and_a_resumed_run_has_the_same_bits(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_exported_engine, "_LEAST_OPERATIONS", 0)
    ends = []
    for resumed in (False, True):
        model = classifier()
        running = trainer(tmp_path, model, recipe("embedding", "layer.0", "layer.1"), epochs=2, save_steps=3)
        running.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3") if resumed else None)
        assert cached_event(running)["engine"] == "onnxruntime"
        ends.append({name: value.numpy() for name, value in model.state_dict().items()})
    for name, value in ends[0].items():
        np.testing.assert_array_equal(ends[1][name], value, err_msg=name)


def test_an_engine_that_answers_otherwise_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_exported_engine, "_LEAST_OPERATIONS", 0)
    model = classifier()
    model.eval()
    cache = LayerCache(model, 1)
    monkeypatch.setattr(_exported_engine, "_by_onnx_runtime", lambda _: lambda ids: cache.compute(ids) * np.float32(1.00001))
    assert _lowest_layers.choose_engine(cache, ids_of(6)) == ("paddle", None)
    monkeypatch.setattr(_exported_engine, "_by_onnx_runtime", lambda _: lambda ids: cache.compute(ids) * np.float32(1.0000001))
    assert _lowest_layers.choose_engine(cache, ids_of(6))[0] == "onnxruntime"
