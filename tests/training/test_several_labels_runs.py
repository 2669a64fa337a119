"""Runs on rows with several labels: from lists in a file to lists in answers, and what does not know them says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_embtune.config import Recipe
from paddlenlp_embtune.errors import DataError, RecipeError
from paddlenlp_embtune.export import calibrate, quantize
from paddlenlp_embtune.inference import Predictor
from paddlenlp_embtune.models import Asymmetric, BinaryCrossEntropy
from paddlenlp_embtune.report import write_report
from paddlenlp_embtune.training import train
from tests.helpers import WHO

SAID = {"回购": "拟回购股份", "减持": "控股股东减持", "订单": "获得大额订单"}
SETS: list[tuple[str, ...]] = [
    (),
    ("回购",),
    ("减持",),
    ("订单",),
    ("回购", "减持"),
    ("回购", "订单"),
    ("回购", "减持", "订单"),
]


def rows() -> list[tuple[str, tuple[str, ...]]]:
    return [(f"{who}{'，'.join(SAID[each] for each in own) or '召开会议'}", own) for own in SETS for who in WHO]


def recipe(folder: Path, **parts: Any) -> Recipe:
    path = folder / "rows.jsonl"
    lines = (json.dumps({"text": text, "label": list(own)}, ensure_ascii=False) for text, own in rows())
    path.write_text("\n".join(lines), encoding="utf-8")
    return Recipe.from_dict(
        {
            "data": {"train": str(path), "dev": str(path)},
            "text": {"extra_rows": 0, "max_length": 32},
            "model": {"options": {"filters": 16, "ngram_buckets": 512}},
            "train": {"epochs": 6, "batch_size": 8, "checkpoint_seconds": None},
            "export": {"engines": ["onnxruntime"]},
            **parts,
        }
    )


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("several")
    return train(recipe(folder), folder / "run").run_dir


def test_a_run_finds_out_that_labels_are_several_and_answers_with_lists(run_dir: Path) -> None:
    predictor = Predictor(run_dir / "bundle")
    answers = predictor.predict([text for text, _ in rows()])
    right = [{each["label"] for each in answer["labels"]} == set(own) for answer, (_, own) in zip(answers, rows(), strict=True)]
    assert np.mean(right) > 0.9
    manifest = predictor.bundle.manifest
    assert (manifest.kind, set(manifest.thresholds)) == ("multi", set(SAID))
    assert manifest.parity["onnxruntime"].max_probability_difference < 1e-5
    metrics = json.loads((run_dir / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["f1_micro"] > 0.9
    assert {"f1_samples", "ranking", "accuracy"} <= set(metrics)
    assert metrics["baseline"]["name"] == "tfidf"
    assert Recipe.load(run_dir / "recipe.yaml").train.loss == "binary_cross_entropy"


def test_ports_can_compute_the_answers(run_dir: Path) -> None:
    told = json.loads((run_dir / "bundle" / "interface.json").read_text(encoding="utf-8"))["answer"]
    example = json.loads((run_dir / "bundle" / "fixtures.jsonl").read_text(encoding="utf-8").split("\n")[0])
    (window,) = example["windows"]
    for label, logit, score in zip(told["labels"], window["logits"], example["scores"], strict=True):
        own = told["scaling"].get(label, {"scale": 1.0, "offset": 0.0})
        assert score == pytest.approx(1 / (1 + np.exp(-(own["scale"] * logit + own["offset"]))), abs=1e-5)


def test_one_label_of_several_is_explained(run_dir: Path) -> None:
    predictor = Predictor(run_dir / "bundle")
    (found,) = predictor.explain(["银行拟回购股份，控股股东减持"], label="减持")
    assert found.label == "减持"
    places = {found.text[start:end]: value for start, end, value in found.places()}
    assert places["减"] + places["持"] > places["回"] + places["购"]
    assert predictor.explain(["召开会议"], label=None)[0].text == "召开会议"


def test_thresholds_of_the_user_decide(run_dir: Path) -> None:
    text = "银行拟回购股份"
    assert Predictor(run_dir / "bundle", abstain_below=1.0).predict([text])[0]["labels"] == []
    assert len(Predictor(run_dir / "bundle", abstain_below=0.0).predict([text])[0]["labels"]) == len(SAID)


def test_a_bundle_is_calibrated_again_and_reported(run_dir: Path, tmp_path: Path) -> None:
    predictor = Predictor(run_dir / "bundle")
    texts, sets = zip(*rows(), strict=True)
    again = calibrate(predictor.bundle, texts, sets, target=tmp_path / "again")
    assert again.manifest.thresholds == pytest.approx(predictor.bundle.manifest.thresholds)
    page = write_report(run_dir, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "micro F1" in page
    assert "subset accuracy" in page


def test_what_knows_one_label_a_text_says_so(run_dir: Path, tmp_path: Path) -> None:
    bundle = Predictor(run_dir / "bundle").bundle
    texts, sets = zip(*rows() * 2, strict=True)
    with pytest.raises(DataError, match="quantization knows one label a text"):
        quantize(bundle, texts, sets, target=tmp_path / "q")
    for parts, name in (
        ({"augmentation": {"copies": 1}}, "augmentation"),
        ({"regularization": {"mixup": {}}}, "regularization.mixup"),
        ({"export": {"int8": "static"}}, "export.int8"),
        ({"export": {"target_precision": 0.9}}, "export.target_precision"),
        ({"model": {"options": {"head": "cumulative_link"}}}, "model.options.head"),
    ):
        with pytest.raises(RecipeError, match=rf"{name} knows one label a text"):
            Recipe.from_dict({"labels": {"kind": "multi"}, **parts})
    with pytest.raises(RecipeError, match=r"train.loss is 'focal', which is for one label a text"):
        train(recipe(tmp_path, train={"loss": "focal", "epochs": 1}), tmp_path / "run")


def test_labels_stated_twice_must_agree() -> None:
    same = Recipe.from_dict({"labels": {"names": ["a", "b"]}, "data": {"labels": ["a", "b"], "ordered": True}})
    assert (same.label_names, same.label_kind) == (("a", "b"), "ordered")
    for wrong in (
        {"labels": {"names": ["a", "b"]}, "data": {"labels": ["b", "a"]}},
        {"labels": {"kind": "multi"}, "data": {"ordered": True}},
        {"labels": {"kind": "single"}, "data": {"label_separator": ","}},
        {"labels": {"names": ["a,b", "c"]}, "data": {"label_separator": "comma"}},
    ):
        with pytest.raises(RecipeError, match=r"labels\.(names|kind)"):
            Recipe.from_dict(wrong)


def test_the_losses_by_hand() -> None:
    logits, labels = paddle.to_tensor([[2.0, -1.0], [0.5, 0.0]]), paddle.to_tensor([[1, 0], [0, 1]])
    weights = np.array([1.0, 3.0], dtype=np.float32)
    p, y = 1 / (1 + np.exp(-logits.numpy().astype(np.float64))), labels.numpy()
    cross = -(y * np.log(p) + (1 - y) * np.log(1 - p)) * weights / weights.mean()
    assert float(BinaryCrossEntropy(class_weights=weights)(logits, labels)) == pytest.approx(cross.mean(), rel=1e-5)
    shifted = np.maximum(p - 0.1, 0)
    cells = -(y * (1 - p) * np.log(p) + (1 - y) * shifted**2 * np.log(1 - shifted))
    options = {"gamma_positive": 1.0, "gamma_negative": 2.0, "margin": 0.1}
    loss = Asymmetric(class_weights=np.ones(2, np.float32), **options)
    assert float(loss(logits, labels)) == pytest.approx(cells.mean(), rel=1e-5)
    rows_weighed = paddle.to_tensor([3.0, 1.0])
    expected = (cells.mean(axis=1) * [3, 1]).sum() / 4
    assert float(loss(logits, labels, rows_weighed)) == pytest.approx(expected, rel=1e-5)
