"""What encoders, caches, faster steps, adapters and trainings that break off do to each other."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import paddle
import pytest

import paddlenlp_embtune as embtune
from paddlenlp_embtune import compat
from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.config.adapter import AdapterSpec
from paddlenlp_embtune.data.dataset import collate
from paddlenlp_embtune.encoders.saving import save_encoder
from paddlenlp_embtune.errors import HostError, RecipeError
from paddlenlp_embtune.models.adapters.insertion import add_adapter
from paddlenlp_embtune.models.layer_cache import cacheable_layers
from paddlenlp_embtune.models.pretrained_classifier import PretrainedClassifier, classifier_on
from paddlenlp_embtune.text import pad
from paddlenlp_embtune.training import run as run_module
from paddlenlp_embtune.training.callbacks import cpu_kernels
from paddlenlp_embtune.utils.checkpoint_folders import last_checkpoint
from tests.encoders import dataset, encoder_of_rows, ids_of, tiny_encoder
from tests.helpers import Run
from tests.host import Trainer, TrainerCallback, TrainingArguments
from tests.toy import new_process

BELOW = ["embedding", "layer.0"]


class Death(TrainerCallback):
    """Breaks training off before a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step:
            raise KeyboardInterrupt


def classifier(*, pooling: str = "mean") -> PretrainedClassifier:
    found = tiny_encoder(pooling=pooling)
    paddle.seed(1)
    return classifier_on(found, found.table, num_labels=2, options={})


def trainer(folder: Path, model: Any, freeze: dict[str, Any] | None, *callbacks: Any, **arguments: Any) -> Trainer:
    paddle.seed(2)
    options = {"num_train_epochs": 4, "evaluation_strategy": "epoch", "save_strategy": "no", **arguments}
    built = Trainer(
        model=model,
        criterion=paddle.nn.CrossEntropyLoss(),
        args=TrainingArguments(
            output_dir=str(folder),
            per_device_train_batch_size=8,
            disable_tqdm=True,
            report_to=[],
            remove_unused_columns=False,
            **options,
        ),
        data_collator=collate,
        train_dataset=dataset(24, seed=0),
        eval_dataset=dataset(8, seed=1),
        compute_metrics=lambda found: {"accuracy": float((found.predictions.argmax(-1) == found.label_ids).mean())},
        callbacks=list(callbacks),
    )
    recipe = {"freeze": freeze, "early_stopping": None, "health": None, "schedule": {"warmup_ratio": 0.0}}
    embtune.attach(built, embtune.Recipe.from_dict(recipe))
    return built


def own_forwards(model: Any) -> list[str]:
    return sorted({type(layer).__name__ for layer in model.sublayers(include_self=True) if "forward" in vars(layer)})


@pytest.mark.parametrize(
    ("freeze", "death"),
    [
        ({"groups": BELOW, "unfreeze_at_epoch": 1}, 5),
        ({"groups": BELOW, "unfreeze_at_epoch": 1}, 3),
        ({"groups": ["layer.1", "layer.0", "embedding"], "gradual": True, "unfreeze_at_epoch": 1}, 5),
        ({"groups": BELOW, "unfreeze_at_epoch": 1, "refreeze_at_epoch": 2}, 8),
        ({"groups": BELOW, "unfreeze_on_plateau": {"metric": "accuracy", "patience_evals": 1}}, 9),
    ],
    ids=["released", "at the release", "gradual", "frozen again", "plateau"],
)
def test_a_cached_run_that_was_killed_ends_as_one_that_was_not(tmp_path: Path, freeze: dict[str, Any], death: int) -> None:
    ends = []
    freeze = {**freeze, "cached": True}
    saving = {"save_strategy": "steps", "save_steps": 1}
    for name in ("whole", "cut"):
        if name == "cut":
            with pytest.raises(KeyboardInterrupt), new_process():
                trainer(tmp_path / name, classifier(), freeze, Death(death), **saving).train()
        with new_process():
            model = classifier()
            running = trainer(tmp_path / name, model, freeze, **saving)
            running.train(resume_from_checkpoint=str(last_checkpoint(tmp_path / name)) if name == "cut" else None)
        ends.append({key: value.numpy() for key, value in model.state_dict().items()})
    for key, value in ends[0].items():
        np.testing.assert_array_equal(ends[1][key], value, err_msg=key)


@pytest.mark.parametrize("freeze", [None, {"groups": BELOW, "permanent": True, "cached": True}], ids=["speed", "cached"])
def test_a_training_that_breaks_off_leaves_the_model_as_it_was_built(tmp_path: Path, freeze: dict[str, Any] | None) -> None:
    model = classifier()
    with pytest.raises(KeyboardInterrupt):
        trainer(tmp_path, model, freeze, Death(2)).train()
    assert own_forwards(model) == []
    assert all(not parameter.stop_gradient for parameter in model.parameters())
    before = {name: value.numpy() for name, value in model.state_dict().items()}
    trainer(tmp_path, model, None).train()
    for name in ("embeddings.word_embeddings.weight", "encoder.layers.0.linear1.weight"):
        assert np.abs(model.state_dict()[f"network.{name}"].numpy() - before[f"network.{name}"]).max() > 1e-6, name


def test_nothing_is_cached_above_a_prompt() -> None:
    model = classifier()
    add_adapter(model, AdapterSpec(kind="prompt", tokens=3))
    assert cacheable_layers(model) == 0
    for parameter in model.network.parameters():
        parameter.stop_gradient = True
    assert cacheable_layers(model) == 0


def test_recomputed_activations_see_the_dropout_of_the_first_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = []
    for recompute in (True, False):
        if not recompute:
            monkeypatch.setattr(cpu_kernels, "speed_up_encoder", lambda _, **options: lambda: None)
        model = classifier()
        trainer(tmp_path, model, None, recompute=recompute, num_train_epochs=1).train()
        ends.append({key: value.numpy() for key, value in model.state_dict().items()})
    for key, value in ends[0].items():
        np.testing.assert_array_equal(ends[1][key], value, err_msg=key)


@pytest.mark.parametrize(
    "part", [{"embedding_dropout": 0.1}, {"adversarial": {"kind": "fgm"}}], ids=lambda part: next(iter(part))
)
def test_what_changes_lookups_does_not_go_with_cached_layers(part: dict[str, Any]) -> None:
    freeze = {"groups": BELOW, "permanent": True, "cached": True}
    with pytest.raises(RecipeError, match=r"left out beside freeze\.cached"):
        embtune.Recipe.from_dict({"freeze": freeze, "regularization": part})
    embtune.Recipe.from_dict({"freeze": freeze, "regularization": {"label_smoothing": 0.1, "r_drop": 1.0}})


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"adapter": {"kind": "lora"}}, "stated in the recipe's part adapter"),
        ({"settings": {"hidden_size": 8}}, "the encoder's own"),
        ({"architecture": "ErnieModel"}, "the encoder's own"),
    ],
)
def test_options_that_the_encoder_decides(option: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        embtune.Recipe.from_dict({"model": {"encoder": "tiny", "options": option}})


@pytest.mark.parametrize("kind", ["lora", "prompt"])
def test_parameters_of_an_encoder_with_an_adapter_are_listed(rows: Path, run: Run, kind: str) -> None:
    plain = {
        "data": {"train": "train.tsv"},
        "text": {"max_length": 32},
        "model": {"encoder": "tiny"},
        "adapter": {"kind": kind},
    }
    made = embtune.Recipe.from_dict({**plain, "train": {"epochs": 1}, "export": {"engines": []}})
    made.save(rows / "r.yaml")
    bundle = run_module.train(made, rows / "out").bundle
    for model in ("r.yaml", str(bundle)):
        code, out, err = run("params", model, "--json")
        assert code == 0, err
        assert any(json.loads(line)["group"] == "adapter" for line in out.splitlines())


def test_a_bundle_does_not_tell_the_folder_of_its_encoder(rows: Path) -> None:
    save_encoder(encoder_of_rows(), rows / "mine")
    plain = {"data": {"train": "train.tsv"}, "text": {"max_length": 32}, "model": {"encoder": str(rows / "mine")}}
    made = embtune.Recipe.from_dict({**plain, "train": {"epochs": 1}, "freeze": None, "export": {"engines": []}})
    bundle = Bundle.open(run_module.train(made, rows / "run").bundle)
    assert str(rows) not in (bundle.path / "bundle.json").read_text(encoding="utf-8")
    assert bundle.manifest.vectors["source"] == "mine"


@pytest.mark.parametrize("pooling", ["pooler", "first", "mean"])
def test_the_answer_to_a_text_without_tokens_does_not_depend_on_its_batch(pooling: str) -> None:
    model = classifier(pooling=pooling)
    model.eval()
    with paddle.no_grad():
        alone = model(paddle.zeros([1, 1], dtype="int64")).numpy()
        beside = model(paddle.to_tensor(pad([[], *ids_of(3)]))).numpy()
    np.testing.assert_allclose(beside[:1], alone, atol=1e-6)


def test_rows_that_processes_hold_back_are_refused() -> None:
    compat.refuse_accumulated_rows(SimpleNamespace(world_size=1, gradient_accumulation_steps=4))
    compat.refuse_accumulated_rows(SimpleNamespace(world_size=2, gradient_accumulation_steps=1))
    with pytest.raises(HostError, match="gradient_accumulation_steps is 4 in 2 processes"):
        compat.refuse_accumulated_rows(SimpleNamespace(world_size=2, gradient_accumulation_steps=4))


def test_a_prefix_goes_into_an_encoder_of_fewer_tokens_than_positions() -> None:
    found = tiny_encoder("ErnieMModel", positions=128)
    model = classifier_on(found, found.table, num_labels=2, options={})
    add_adapter(model.network, AdapterSpec(kind="prefix", tokens=64))
    model.eval()
    vocabulary = len(found.table)
    assert vocabulary < 64 + 64 < 64 + 128
    with paddle.no_grad():
        logits = model(paddle.arange(1, 64).reshape([1, -1]) % vocabulary).numpy()
    assert logits.shape == (1, 2)
    assert np.isfinite(logits).all()
