"""Contrastive tuning of an encoder, as ``embtune train`` does it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import paddlenlp_embtune as embtune
from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.errors import DataError, RecipeError
from paddlenlp_embtune.inference import Predictor
from paddlenlp_embtune.models.paddle_engine import load_layer
from paddlenlp_embtune.training import run as run_module
from tests.encoders import encoder_of_rows
from tests.helpers import ROWS, tsv
from tests.toy import Interrupt


def recipe(contrastive: dict[str, Any] | None = None, **parts: Any) -> embtune.Recipe:
    plain = {
        "data": {"train": "train.tsv"},
        "text": {"max_length": 32},
        "model": {"encoder": "tiny"},
        "contrastive": {"layers": 2, "rate": 1e-3, "steps": 12, **(contrastive or {})},
        "export": {"engines": []},
    }
    return embtune.Recipe.from_dict({**plain, **parts})


def events(run: Path, kind: str) -> list[dict[str, Any]]:
    lines = (run / "record.jsonl").read_text(encoding="utf-8").splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == kind]


def test_the_highest_layers_are_tuned_and_a_head_is_fitted(rows: Path) -> None:
    result = run_module.train(recipe(export={"engines": ["onnxruntime"]}), rows / "run")
    trained, start = load_layer(result.bundle).state_dict(), encoder_of_rows().weights
    moved = {name for name, value in start.items() if not np.array_equal(trained[f"network.{name}"].numpy(), value)}
    tuned = {name for name in start if name.startswith(("encoder.layers.1.", "encoder.layers.2."))}
    assert moved <= tuned
    assert len(moved) > 0.8 * len(tuned)
    (cached,) = events(rows / "run", "cached")
    (head,) = events(rows / "run", "head")
    assert cached["layers"] == 1
    assert head["rows"] == 54
    texts, labels = zip(*ROWS, strict=True)
    predictor = Predictor(result.bundle, engine="onnxruntime")
    found = [predictor.bundle.manifest.labels[row] for row in predictor.probabilities(texts).argmax(axis=1)]
    assert np.mean([one == other for one, other in zip(found, labels, strict=True)]) > 0.9
    saved = embtune.Recipe.load(rows / "run" / "recipe.yaml")
    assert run_module.prepare(saved).recipe == saved


def test_the_loss_falls(rows: Path) -> None:
    run_module.train(recipe({"steps": 40}), rows / "run")
    logged = [event["loss"] for event in events(rows / "run", "rates")]
    assert logged[-1] < 0.7 * logged[0]


def test_the_same_seed_gives_the_same_bits(rows: Path) -> None:
    weights = [
        (run_module.train(recipe(seed=seed), rows / name).bundle / "weights.safetensors").read_bytes()
        for name, seed in (("one", 3), ("two", 3), ("other", 4))
    ]
    assert weights[0] == weights[1] != weights[2]


@pytest.mark.slow
def test_a_run_that_was_cut_ends_with_the_same_bits(rows: Path) -> None:
    stated = recipe(train={"checkpoint_seconds": 0})
    whole = run_module.train(stated, rows / "whole")
    with pytest.raises(KeyboardInterrupt):
        run_module.train(stated, rows / "cut", callbacks=[Interrupt(7)])
    with pytest.raises(RecipeError, match=r"contrastive\.temperature"):
        run_module.train(recipe({"temperature": 0.2}, train={"checkpoint_seconds": 0}), rows / "cut", resume=True)
    cut = run_module.train(stated, rows / "cut", resume=True)
    weights = [(run.bundle / "weights.safetensors").read_bytes() for run in (whole, cut)]
    assert weights[0] == weights[1]


def test_label_names_are_compared_with(rows: Path) -> None:
    lines = [*ROWS, ("公司预盈", "稀有")]
    (rows / "one.tsv").write_text(tsv(lines), encoding="utf-8")
    (rows / "dev.tsv").write_text(tsv(ROWS[::7]), encoding="utf-8")
    data = {"train": "one.tsv", "dev": "dev.tsv"}
    with pytest.raises(DataError, match="1 of the labels have one training row, '稀有' first; expected 2 or more of each"):
        run_module.train(recipe(data=data), rows / "run")
    named = {"label_names": True, "descriptions": {"利好": "好消息"}}
    result = run_module.train(recipe(named, data=data), rows / "run")
    assert "稀有" in Bundle.open(result.bundle).manifest.labels
    with pytest.raises(RecipeError, match=r"contrastive.descriptions has '坏', which is no label"):
        run_module.train(recipe({"label_names": True, "descriptions": {"坏": "坏消息"}}), rows / "other")


def test_more_layers_than_there_are(rows: Path) -> None:
    with pytest.raises(RecipeError, match=r"contrastive.layers must be at most the 3 layers of the encoder, or null, got 4"):
        run_module.train(recipe({"layers": 4}), rows / "run")
    frozen = [run_module.prepare(recipe({"layers": layers})).recipe.freeze for layers in (3, None)]
    assert frozen[0] is not None
    assert (frozen[0].groups, frozen[0].cached) == (("embedding",), False)
    assert frozen[1] is not None
    assert (frozen[1].groups, frozen[1].cached) == (("embedding", "layer.0"), True)
