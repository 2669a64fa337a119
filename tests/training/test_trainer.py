"""The Trainer of ``embtune train``: weights of classes, length of a run, repeatability."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from paddlenlp_embtune import hookimpl
from paddlenlp_embtune.config.recipe import ExportSpec, Recipe
from paddlenlp_embtune.errors import HostError, MissingDependencyError
from paddlenlp_embtune.inference import Predictor
from paddlenlp_embtune.plugin import registry
from paddlenlp_embtune.training._criterion import class_weights
from paddlenlp_embtune.training.run import train
from tests.helpers import ROWS, tsv


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_class_weights_keep_the_mean_and_follow_the_inverse_frequency(balance: float) -> None:
    labels = [0] * 60 + [1] * 30 + [2] * 10
    weights = class_weights(labels, 3, balance=balance)
    assert weights[labels].mean() == pytest.approx(1.0)
    assert weights[2] / weights[0] == pytest.approx(6.0**balance)


def test_a_class_without_rows_gets_a_finite_weight() -> None:
    assert np.isfinite(class_weights([0, 0, 1], 3, balance=1.0)).all()


def recipe(folder: Path, **train_options: int) -> Recipe:
    (folder / "train.tsv").write_text(tsv(ROWS), encoding="utf-8")
    return Recipe.from_dict(
        {
            "data": {"train": str(folder / "train.tsv")},
            "text": {"extra_rows": 0},
            "model": {"options": {"filters": 8, "ngram_buckets": 64}},
            "train": train_options,
            "freeze": None if train_options.get("epochs") == 1 else {},
            "export": {"engines": []},
        }
    )


def test_the_same_seed_gives_the_same_weights_to_the_bit(tmp_path: Path) -> None:
    chosen = recipe(tmp_path, epochs=3)
    first, second = (load_file(train(chosen, tmp_path / name).bundle / "weights.safetensors") for name in ("a", "b"))
    for name, value in first.items():
        np.testing.assert_array_equal(second[name], value, err_msg=name)


def test_the_epochs_that_follow_from_the_rows_are_written_down(tmp_path: Path) -> None:
    result = train(recipe(tmp_path, batch_size=2), tmp_path / "run")
    assert Recipe.load(result.run_dir / "recipe.yaml").train.epochs == 40


def test_a_package_that_export_will_miss_is_missed_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "paddle2onnx" else find(name, *rest))
    chosen = dataclasses.replace(recipe(tmp_path, epochs=1), export=ExportSpec(engines=("onnxruntime",)), freeze=None)
    events: list[Any] = []
    with pytest.raises(MissingDependencyError, match="pip install paddle2onnx"):
        train(chosen, tmp_path / "run", listeners=[events.append])
    assert not events
    assert not (tmp_path / "run").exists()


def test_an_export_that_fails_keeps_the_trained_weights(tmp_path: Path) -> None:
    def broken(model: Any, folder: Path) -> tuple[str, ...]:
        raise HostError("no such operator")

    class Plugin:
        @hookimpl
        def embtune_register_exporters(self) -> dict[str, Any]:
            return {"broken": broken}

    former = registry.use(registry.load(plugins=[Plugin()]))
    try:
        chosen = dataclasses.replace(recipe(tmp_path, epochs=1), export=ExportSpec(engines=("broken",)), freeze=None)
        with pytest.raises(HostError, match=r"no such operator; the trained weights are kept in .*run/bundle"):
            train(chosen, tmp_path / "run")
    finally:
        registry.use(former)
    assert Predictor(tmp_path / "run" / "bundle", engine="paddle").predict(["公司"])[0]["label"]
    assert not [path.name for path in (tmp_path / "run").iterdir() if path.name.startswith(".")]
