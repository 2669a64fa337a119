"""Runs whose bundle has several experts on an encoder: fitted at once, or beside a tuned network; and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import paddlenlp_embtune as embtune
from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.errors import BundleError, HostError, RecipeError
from paddlenlp_embtune.export.resize_vocabulary import cut_bundle
from paddlenlp_embtune.inference import Predictor
from paddlenlp_embtune.models.paddle_engine import load_layer
from paddlenlp_embtune.report.run_reader import read_run
from paddlenlp_embtune.training import run as run_module
from tests.helpers import ROWS, tsv

FROZEN = ["vectors", "ngrams"]


def recipe(experts: list[str], **parts: Any) -> embtune.Recipe:
    plain = {
        "data": {"train": "train.tsv"},
        "text": {"max_length": 32},
        "model": {"encoder": "tiny", "experts": experts},
        "train": {"epochs": 2, "batch_size": 16},
        "export": {"engines": []},
    }
    return embtune.Recipe.from_dict({**plain, **parts})


def event_of(run: Path) -> dict[str, Any]:
    (found,) = [event for event in read_run(run).events if event["event"] == "experts"]
    return dict(found)


@pytest.mark.parametrize("experts", [FROZEN, pytest.param(["network", "vectors", "ngrams"], marks=pytest.mark.slow)])
def test_all_engines_answer_alike(experts: list[str], rows: Path) -> None:
    made = recipe(experts, export={"engines": ["onnxruntime", "paddle_inference"]})
    result = run_module.train(made, rows / "run")
    texts = [text for text, _ in ROWS[:20]]
    engines = ("onnxruntime", "paddle_inference", "paddle")
    answers = [Predictor(result.bundle, engine=name).probabilities(texts) for name in engines]
    np.testing.assert_allclose(answers[0], answers[2], atol=1e-5)
    np.testing.assert_allclose(answers[1], answers[2], atol=1e-5)
    event = event_of(rows / "run")
    assert list(event["shares"]) == [name for name in ("network", "vectors", "ngrams") if name in experts]
    assert sum(event["shares"].values()) == pytest.approx(1, abs=1e-3)
    assert set(event["out_of_fold"]) == {"vectors", "ngrams", "together"}
    assert ("dev" in event) == ("network" in experts)
    assert result.metrics["accuracy"] > 0.8
    assert embtune.Recipe.load(rows / "run" / "recipe.yaml").model.experts == tuple(experts)


@pytest.mark.slow
def test_the_bundle_explains_by_occlusion_and_cannot_be_trained_on_or_cut(rows: Path) -> None:
    result = run_module.train(recipe(FROZEN, export={"engines": ["onnxruntime"]}), rows / "run")
    (explained,) = Predictor(result.bundle).explain([ROWS[0][0]])
    assert explained.attribution.method == "occlusion"
    with pytest.raises(HostError, match="explain by occlusion"):
        Predictor(result.bundle, engine="paddle").explain([ROWS[0][0]])
    with pytest.raises(RecipeError, match="a bundle of several experts, which cannot be trained on"):
        run_module.train(recipe(FROZEN, model={"start": str(result.bundle)}), rows / "two")
    with pytest.raises(BundleError, match=r"model.experts \[vectors\]"):
        cut_bundle(Bundle.open(result.bundle), rows / "cut", [text for text, _ in ROWS])


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bits_and_an_interrupt_leaves_nothing(rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (load_layer(run_module.train(recipe(FROZEN), rows / name).bundle).state_dict() for name in ("one", "two"))
    for name, value in first.items():
        np.testing.assert_array_equal(value.numpy(), second[name].numpy(), err_msg=name)

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("paddlenlp_embtune.training._experts.layer_vectors", stopped)
    with pytest.raises(KeyboardInterrupt):
        run_module.train(recipe(FROZEN), rows / "three")
    assert {path.name for path in rows.iterdir()} == {"train.tsv", "one", "two"}


@pytest.mark.parametrize(
    "stated",
    [
        [("公司业绩大增", "a"), ("公司回购", "a"), ("股价跌停", "b"), ("退市风险", "b")],
        [("公司业绩大增", "a"), ("公司回购", "a"), ("股价跌停", "b"), ("☃☃", "b"), ("☂", "b"), ("☂☂", "a")],
        [("公司业绩大增", "a"), ("公司回购", "a"), ("大增", "a"), ("股价跌停", "b"), ("减持", "c"), ("减持", "c")],
    ],
    ids=["two rows for a label", "texts without known tokens", "a label with one row"],
)
def test_few_and_odd_rows_make_a_bundle_too(stated: list[tuple[str, str]], rows: Path) -> None:
    (rows / "few.tsv").write_text(tsv(stated), encoding="utf-8")
    (rows / "dev.tsv").write_text(tsv([("公司亏损", "a"), ("股价涨停", "b")]), encoding="utf-8")
    data = {"train": "few.tsv", "dev": "dev.tsv"}
    result = run_module.train(recipe(FROZEN, data=data, evaluation={"baseline": None}), rows / "run")
    assert np.isfinite(Predictor(result.bundle, engine="paddle").probabilities(["公司亏损", "☃"])).all()


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"model": {"experts": FROZEN}}, "model.experts must be null without model.encoder"),
        ({"model": {"encoder": "tiny", "experts": ["network"]}}, "vectors, or network and another one"),
        ({"model": {"encoder": "tiny", "experts": ["ngrams"]}}, "vectors, or network and another one"),
        ({"model": {"encoder": "tiny", "experts": ["vectors", "words"]}}, "some of network, vectors, ngrams, each once"),
        ({"model": {"encoder": "tiny", "experts": []}}, "some of network, vectors, ngrams, each once"),
        ({"model": {"encoder": "tiny", "experts": FROZEN, "options": {"dropout": 0.2}}}, "empty where model.experts has no"),
        ({"model": {"name": "experts"}}, "model.name must be left out"),
        ({"adapter": {"kind": "lora"}}, "cannot have model.experts without network and adapter"),
        ({"freeze": {"groups": ["layer.*"], "permanent": True}}, "cannot have model.experts without network and freeze"),
        ({"report_to": ["visualdl"]}, "cannot have model.experts without network and report_to"),
    ],
)
def test_what_does_not_go_together_is_refused(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe(FROZEN, **parts)


def test_a_text_longer_than_the_positions_and_an_unknown_encoder_are_refused(rows: Path) -> None:
    with pytest.raises(RecipeError, match=r"text\.max_length is 65; expected for"):
        run_module.train(recipe(FROZEN, text={"max_length": 65}), rows / "run")
    with pytest.raises(BundleError, match="is not a folder on this machine"):
        run_module.train(recipe(FROZEN, model={"encoder": "./absent", "experts": FROZEN}), rows / "run")


def test_long_texts_are_read_in_windows(rows: Path) -> None:
    made = recipe(FROZEN, text={"max_length": 6, "windows": {"overlap_tokens": 1}})
    assert run_module.train(made, rows / "run").metrics["n"] > 0
