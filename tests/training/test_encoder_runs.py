"""A run from a pretrained encoder: recipe in, bundle out, every engine alike."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import paddlenlp_embtune as embtune
from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.config.training import TrainSpec
from paddlenlp_embtune.encoders.saving import save_encoder
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.inference import Predictor
from paddlenlp_embtune.models.paddle_engine import load_layer
from paddlenlp_embtune.training import run as run_module
from tests.encoders import encoder_of_rows
from tests.helpers import ROWS, Run


def recipe(**parts: Any) -> embtune.Recipe:
    plain = {
        "data": {"train": "train.tsv"},
        "text": {"max_length": 32},
        "model": {"encoder": "tiny"},
        "train": {"epochs": 2, "batch_size": 16},
        "export": {"engines": []},
    }
    return embtune.Recipe.from_dict({**plain, **parts})


def test_all_engines_answer_alike(rows: Path) -> None:
    made = recipe(export={"engines": ["onnxruntime", "paddle_inference"]})
    result = run_module.train(made, rows / "run")
    bundle = Bundle.open(result.bundle)
    texts = [text for text, _ in ROWS[:20]]
    answers = [Predictor(bundle, engine=name).probabilities(texts) for name in ("onnxruntime", "paddle_inference", "paddle")]
    np.testing.assert_allclose(answers[0], answers[2], atol=1e-5)
    np.testing.assert_allclose(answers[1], answers[2], atol=1e-5)
    assert bundle.manifest.tokenizer["name"] == "wordpiece"
    assert embtune.Recipe.load(rows / "run" / "recipe.yaml").model.encoder == "tiny"


def test_the_encoder_starts_with_its_weights(rows: Path) -> None:
    frozen = {"groups": ["embedding", "layer.*"], "permanent": True}
    result = run_module.train(recipe(freeze=frozen), rows / "run")
    trained, start = load_layer(result.bundle).state_dict(), encoder_of_rows().weights
    for name, value in start.items():
        if not name.startswith("pooler."):
            np.testing.assert_array_equal(trained[f"network.{name}"].numpy(), value, err_msg=name)


def test_terms_extend_the_encoder(rows: Path) -> None:
    (rows / "terms.txt").write_text("回购股份\n", encoding="utf-8")
    result = run_module.train(recipe(text={"max_length": 32, "terms": "terms.txt"}), rows / "run")
    bundle = Bundle.open(result.bundle)
    assert "回购股份" in bundle.tokenizer.vocabulary
    table = load_layer(result.bundle).get_input_embeddings().weight
    assert table.shape[0] == len(encoder_of_rows().table) + 1


def test_a_bundle_of_it_is_trained_on(rows: Path) -> None:
    first = run_module.train(recipe(), rows / "one")
    again = run_module.train(recipe(model={"start": str(first.bundle)}), rows / "two")
    assert Bundle.open(again.bundle).manifest.recipe["model"]["name"] == "pretrained"


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            {"text": {"tokenizer": "sentencepiece"}},
            "text.tokenizer is 'sentencepiece', that of a tiny BertModel is 'wordpiece'",
        ),
        ({"vectors": {"source": "random"}}, "vectors.source is 'random'; expected left out beside model.encoder"),
        ({"text": {"max_length": 65}}, "text.max_length is 65; expected for this PretrainedClassifier: at most 64"),
        ({"model": {"encoder": "tiny", "options": {"layers": 3}}}, "model.options of pretrained has no 'layers'"),
    ],
)
def test_what_does_not_go_with_an_encoder(rows: Path, parts: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        run_module.train(recipe(**parts), rows / "run")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"encoder": "tiny", "start": "bundle"}, "model.encoder must be null beside model.start"),
        ({"encoder": "tiny", "name": "encoder"}, "model.name must be left out beside model.encoder"),
        ({"name": "pretrained"}, "model.encoder must be a name or a folder"),
        ({"encoder": ""}, "model.encoder must be a name.*got ''"),
    ],
)
def test_illegal_models(model: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        embtune.Recipe.from_dict({"model": model})


def test_folders_are_relative_to_the_recipe_and_names_are_not(tmp_path: Path) -> None:
    for stated, meant in (("./ernie", str(tmp_path / "ernie")), ("ernie-3.0-medium-zh", "ernie-3.0-medium-zh"), ("a/b", "a/b")):
        (tmp_path / "r.yaml").write_text(f"model: {{encoder: {stated}}}\n", encoding="utf-8")
        assert embtune.Recipe.load(tmp_path / "r.yaml").model.encoder == meant


@pytest.mark.parametrize("stated", ["./tiny", "tiny-folder"])
def test_a_folder_in_the_working_folder_is_trained_again_from_elsewhere(
    rows: Path, monkeypatch: pytest.MonkeyPatch, stated: str
) -> None:
    """``tiny`` is the name of a registered encoder, too."""
    save_encoder(encoder_of_rows(), rows / Path(stated).name)
    (rows / "r.yaml").write_text(
        f"data: {{train: train.tsv}}\nmodel: {{encoder: {stated}}}\ntext: {{max_length: 32}}\ntrain: {{epochs: 1}}\n"
        "export: {engines: []}\n",
        encoding="utf-8",
    )
    first = run_module.train(embtune.Recipe.load("r.yaml"), "one")
    (rows / "below").mkdir()
    monkeypatch.chdir(rows / "below")
    again = run_module.train(embtune.Recipe.load(rows / "one" / "recipe.yaml"), "two")
    assert embtune.Recipe.load("two/recipe.yaml").model.encoder == str(rows / Path(stated).name)
    weights = [(folder / "weights.safetensors").read_bytes() for folder in (rows / first.bundle, again.bundle)]
    assert weights[0] == weights[1]
    assert "/" in Bundle.open(again.bundle).manifest.recipe["model"]["encoder"]


def test_length_and_size_of_a_run_suit_an_encoder(rows: Path) -> None:
    made = recipe(train={}, export={"engines": []})
    settled = run_module.prepare(made).recipe.train
    assert (settled.epochs, settled.batch_size, settled.eval_batch_size) == (20, 32, 32)
    result = run_module.train(recipe(train={"epochs": 1}, export={"engines": []}), rows / "run")
    on = embtune.Recipe.from_dict({"data": {"train": "train.tsv"}, "model": {"start": str(result.bundle)}})
    assert run_module.prepare(on).recipe.train.epochs == 20


@pytest.mark.parametrize(
    ("stated", "rows", "encoder", "meant"),
    [
        ({}, 500, True, (15, 32, 32)),
        ({}, 5153, True, (3, 32, 32)),
        ({}, 20, True, (20, 32, 32)),
        ({"batch_size": 16, "accumulation_steps": 2}, 1500, True, (5, 16, 32)),
        ({"epochs": 4, "eval_batch_size": 8}, 20, True, (4, 32, 8)),
        ({}, 20, False, (100, 64, 256)),
        ({}, 300, False, (60, 64, 256)),
        ({}, 674, False, (40, 64, 256)),
        ({}, 3999, False, (19, 64, 256)),
        ({}, 4000, False, (12, 128, 256)),
        ({}, 10**6, False, (6, 128, 256)),
        ({"batch_size": 64}, 8000, False, (6, 64, 256)),
    ],
)
def test_what_is_not_stated_follows_from_the_rows(
    stated: dict[str, int], rows: int, encoder: bool, meant: tuple[int, int, int]
) -> None:
    settled = TrainSpec(**stated).resolved(rows, encoder=encoder)  # type: ignore[arg-type]
    assert (settled.epochs, settled.batch_size, settled.eval_batch_size) == meant
    assert settled.resolved(7, encoder=not encoder) == settled


@pytest.mark.parametrize(("labels", "epochs"), [(2, 12), (5, 12), (6, 19)])
def test_a_small_model_reads_many_rows_more_often_where_there_are_many_labels(labels: int, epochs: int) -> None:
    assert TrainSpec().resolved(4000, encoder=False, labels=labels).epochs == epochs


def test_parameters_of_an_encoder_are_listed(rows: Path, run: Run) -> None:
    recipe().save(rows / "r.yaml")
    code, out, _ = run("params", "r.yaml", "--json")
    assert code == 0
    assert "network.encoder.layers.2.linear1.weight" in out


@pytest.mark.parametrize("kind", ["lora", "prefix", "prompt", "houlsby"])
def test_an_adapter_tunes_and_is_delivered(rows: Path, kind: str) -> None:
    events: list[Mapping[str, Any]] = []
    options = {"bottleneck": 4} if kind == "houlsby" else {}
    made = recipe(adapter={"kind": kind, **options}, text={"max_length": 32}, export={"engines": ["onnxruntime"]})
    result = run_module.train(made, rows / "run", listeners=[events.append])
    bundle = Bundle.open(result.bundle)
    texts = [text for text, _ in ROWS[:20]]
    np.testing.assert_allclose(
        Predictor(bundle).probabilities(texts), Predictor(bundle, engine="paddle").probabilities(texts), atol=1e-5
    )
    trained = load_layer(result.bundle)
    table = trained.get_input_embeddings().weight.numpy()
    np.testing.assert_array_equal(table, encoder_of_rows().table)
    folded = [name for name in trained.state_dict() if "lora" in name]
    assert not folded
    groups = next(event["table"] for event in events if event["event"] == "groups")
    assert {row["name"]: row["trainable"] for row in groups}["rest"] is False


def test_attach_puts_the_adapter_into_anybodys_model(rows: Path) -> None:
    with pytest.raises(RecipeError, match="adapter and layerwise"):
        recipe(adapter={"kind": "lora"}, layerwise={})


@pytest.mark.parametrize(
    "part",
    [
        {"embedding_dropout": 0.2},
        {"label_smoothing": 0.1},
        {"r_drop": 1.0},
        {"adversarial": {"kind": "fgm"}},
        {"adversarial": {"kind": "freelb"}},
    ],
    ids=lambda part: next(iter(part)),
)
def test_regularization_of_a_run(rows: Path, part: dict[str, Any]) -> None:
    plain = run_module.train(recipe(), rows / "plain")
    regularized = run_module.train(recipe(regularization=part), rows / "other")
    name = "network.encoder.layers.2.linear1.weight"
    one, other = (load_layer(result.bundle).state_dict()[name].numpy() for result in (plain, regularized))
    assert np.abs(one - other).max() > 1e-6


def test_accumulation_and_recompute(rows: Path) -> None:
    plain = {"epochs": 2, "batch_size": 16, "eval_batch_size": 64}
    sparse = {"options": {"dropout": 0.0, "encoder_dropout": 0.0}, "encoder": "tiny"}
    whole = run_module.train(recipe(train=plain, model=sparse), rows / "whole")
    again = run_module.train(recipe(train={**plain, "recompute": True}, model=sparse), rows / "again")
    parts = run_module.train(recipe(train={**plain, "batch_size": 8, "accumulation_steps": 2}, model=sparse), rows / "parts")
    one, other, third = (load_layer(result.bundle).state_dict() for result in (whole, again, parts))
    for name, value in one.items():
        np.testing.assert_allclose(other[name].numpy(), value.numpy(), atol=1e-5, err_msg=name)
        assert third[name].shape == value.shape


def test_dropout_is_the_same_in_both_passes_of_recompute(rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dropping = {"options": {"encoder_dropout": 0.5}, "encoder": "tiny"}
    again = run_module.train(recipe(train={"epochs": 2, "batch_size": 16, "recompute": True}, model=dropping), rows / "again")
    monkeypatch.setattr(
        "paddlenlp_embtune.training.callbacks.cpu_kernels.speed_up_encoder", lambda _, **__: lambda: None
    )  # which draws other values
    plain = run_module.train(recipe(train={"epochs": 2, "batch_size": 16}, model=dropping), rows / "plain")
    one, other = (load_layer(result.bundle).state_dict() for result in (plain, again))
    for name, value in one.items():
        np.testing.assert_allclose(other[name].numpy(), value.numpy(), atol=1e-5, err_msg=name)


def test_recompute_needs_an_encoder(rows: Path) -> None:
    with pytest.raises(RecipeError, match=r"train\.recompute is true, but TextCNN has no layers"):
        run_module.train(recipe(train={"epochs": 2, "recompute": True}, model={}), rows / "run")
