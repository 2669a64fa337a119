"""Long texts through a whole run: training reads them in windows and judges them as the bundle does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paddlenlp_embtune import compat
from paddlenlp_embtune.config.recipe import Recipe
from paddlenlp_embtune.inference import Predictor
from paddlenlp_embtune.inference.postprocessing import softmax
from paddlenlp_embtune.models.paddle_engine import load_layer
from paddlenlp_embtune.models.textcnn import TextCNN
from paddlenlp_embtune.training._build import build
from paddlenlp_embtune.training._criterion import class_weights
from paddlenlp_embtune.training._prepare import prepare
from paddlenlp_embtune.training._trainer import build_trainer, predict_logits
from paddlenlp_embtune.training.run import train
from tests.helpers import ROWS, tsv

FILLER = ("会议于上午举行。", "以上内容仅供参考，不构成建议。", "相关文件见附件。", "记者从有关方面获悉。")
LENGTH = 16


def long_rows() -> list[tuple[str, str]]:
    """The invented rows with what they say at the begin, in the middle or at the end of a text; every fifth
    stays short, and one label has more rows."""
    generator = np.random.default_rng(0)
    rows = []
    for number, (text, label) in enumerate(ROWS * 2 + ROWS[:20]):
        before, after = generator.integers(0, 5, 2) * (number % 5 > 0)
        filler = [FILLER[index] for index in generator.integers(0, len(FILLER), before + after)]
        rows.append(("".join([*filler[:before], text, "。", *filler[before:]]), label))
    return rows


def recipe(folder: Path, *, windows: dict[str, Any] | None, **options: Any) -> Recipe:
    (folder / "train.tsv").write_text(tsv(long_rows()), encoding="utf-8")
    (folder / "dev.tsv").write_text(tsv(long_rows()[::3]), encoding="utf-8")
    return Recipe.from_dict(
        {
            "data": {"train": str(folder / "train.tsv"), "dev": str(folder / "dev.tsv")},
            "text": {"extra_rows": 0, "max_length": LENGTH, "windows": windows},
            "model": {"options": {"filters": 16, "ngram_buckets": 0, **options}},
            "train": {"epochs": 3, "class_balance": 0.5, "batch_size": 16, "eval_batch_size": 8},
            "export": {"engines": [], "calibrate": False},
        }
    )


@pytest.mark.parametrize("aggregate", ["mean", "max", "length"])
def test_the_figures_of_training_are_those_of_the_bundle(aggregate: str, tmp_path: Path) -> None:
    chosen = recipe(tmp_path, windows={"overlap_tokens": 4, "aggregate": aggregate})
    events: list[dict[str, Any]] = []
    result = train(chosen, tmp_path / "run", listeners=[lambda event: events.append(dict(event))])
    prepared = prepare(chosen)
    with Predictor(result.bundle, engine="paddle") as predictor:
        assert predictor.windows == chosen.text.windows
        served = predictor.probabilities(prepared.dev.texts)
        cut = Predictor(predictor.bundle, engine="paddle", windows=False).probabilities(prepared.dev.texts)
    assert np.abs(served - cut).max() > 0.01  # or the comparison would show nothing
    model = load_layer(result.bundle)
    rows = prepared.dev_dataset()
    live = softmax(predict_logits(model, rows, batch_size=8))
    np.testing.assert_allclose(live, served, atol=1e-6)

    trainer = build_trainer(
        chosen,
        model,
        rows=(prepared.train_dataset(), prepared.dev_dataset()),
        labels=prepared.labels,
        tokenizer=prepared.tokenizer,
        out=str(tmp_path / "again"),
    )
    metrics = compat.evaluate_without_callbacks(trainer)
    for name in ("accuracy", "f1_macro"):
        assert metrics[f"eval_{name}"] == pytest.approx(result.metrics[name], abs=1e-12)
    assert result.metrics["n"] == len(prepared.dev)
    assert predictor.bundle.manifest.metrics["dev"]["f1_macro"] == result.metrics["f1_macro"]
    (restored,) = [event for event in events if event["event"] == "restored"]
    assert restored["value"] == pytest.approx(result.metrics["f1_macro"], abs=1e-12)


def test_an_epoch_has_as_many_steps_as_without_windows(tmp_path: Path) -> None:
    steps = {}
    for name, windows in (("cut", None), ("windows", {"overlap_tokens": 4})):
        chosen = recipe(tmp_path, windows=windows)
        prepared = prepare(chosen)
        trainer = build(prepared, out=tmp_path / name)
        steps[name] = len(trainer.get_train_dataloader())
        assert len(trainer.train_dataset.truth) == len(prepared.train)
    assert steps["cut"] == steps["windows"] == -(-len(long_rows()) // 16)
    assert len(trainer.train_dataset) > 1.5 * len(prepared.train)


def test_classes_are_weighed_by_texts_and_not_by_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    def remember(self: Any, ids: Any, labels: Any, *, class_weights: Any) -> None:
        given.update(ids=len(ids), labels=len(labels), weights=class_weights)

    monkeypatch.setattr(TextCNN, "fit_before_training", remember)
    chosen = recipe(tmp_path, windows={"overlap_tokens": 4})
    trainer = build(prepare(chosen), out=tmp_path / "checkpoints")
    assert given["ids"] == given["labels"] == len(trainer.train_dataset)
    by_windows = given["weights"]
    assert len(set(by_windows.tolist())) > 1
    numbers = trainer.train_dataset.labels
    assert not np.allclose(by_windows, class_weights(numbers, len(by_windows), balance=chosen.train.class_balance))
    chosen = recipe(tmp_path, windows=None)
    build(prepare(chosen), out=tmp_path / "cut")
    np.testing.assert_array_equal(by_windows, given["weights"])


def test_an_evaluation_of_one_batch_has_metrics(tmp_path: Path) -> None:
    chosen = recipe(tmp_path, windows={"overlap_tokens": 4})
    trainer = build(prepare(chosen), out=tmp_path / "checkpoints")
    metrics = compat.evaluate_without_callbacks(trainer, batches=1)
    assert 0 <= metrics["eval_accuracy"] <= 1
    assert set(metrics) == set(compat.evaluate_without_callbacks(trainer))


def test_the_share_of_the_ngrams_is_fitted_and_all_is_calibrated_on_whole_texts(tmp_path: Path) -> None:
    plain = recipe(tmp_path, windows={"overlap_tokens": 4, "aggregate": "length"}, ngram_buckets=256).to_dict()
    chosen = Recipe.from_dict({**plain, "export": {"engines": [], "calibrate": True}})
    result = train(chosen, tmp_path / "run")
    prepared = prepare(chosen)
    with Predictor(result.bundle, engine="paddle") as predictor:
        manifest = predictor.bundle.manifest
        assert manifest.calibration is not None
        assert manifest.calibration.rows == len(prepared.dev)
        served = predictor.scaled_probabilities(prepared.dev.texts)(1.0)
    rows = prepared.dev_dataset()
    np.testing.assert_allclose(softmax(predict_logits(load_layer(result.bundle), rows, batch_size=8)), served, atol=1e-6)
    truth = np.array(rows.truth)
    assert manifest.metrics["dev"]["accuracy"] == pytest.approx(float((served.argmax(axis=1) == truth).mean()))
