"""What a run says at its end: the figures of what ships, and that its training went astray."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paddlenlp_embtune.models.textcnn import TextCNN
from paddlenlp_embtune.training.divergence import LossMonitor
from tests.helpers import RECIPE, ROWS, Run, error_of, hidden, tsv

CLAUSES = "今日，公司公告。后市如何？仍需观察；市场平静，成交清淡。"


def prepare(work: Path, *lines: str) -> None:
    """Rows of which some dev texts are long, and have noisy labels, so that no share and no average is perfect."""
    labels = sorted({label for _, label in ROWS})
    generator = np.random.default_rng(5)
    dev = [(CLAUSES * int(generator.integers(0, 4)) + text, label) for text, label in ROWS * 2]
    dev = [(text, str(generator.choice(labels)) if generator.random() < 0.3 else label) for text, label in dev]
    (work / "train.tsv").write_text(tsv(ROWS), encoding="utf-8")
    (work / "dev.tsv").write_text(tsv(dev), encoding="utf-8")
    base = RECIPE.replace("data: {train: train.tsv}", "data: {train: train.tsv, dev: dev.tsv}")
    base = base.replace("max_length: 32}", "max_length: 32, windows: {overlap_tokens: 4}}")
    (work / "own.yaml").write_text(base + "\n".join(lines) + "\n", encoding="utf-8")


def events_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "record.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(
    ("stop", "average"),
    [
        ("{metric: f1_macro}", "{every_steps: 1}"),
        ("{metric: accuracy, patience_evals: 9}", "{every_steps: 1, decay: 0.5}"),
        ("null", "null"),
        ("{metric: loss, mode: min}", "null"),
    ],
)
def test_the_record_the_metrics_and_an_evaluation_of_the_bundle_agree(work: Path, run: Run, stop: str, average: str) -> None:
    prepare(work, f"early_stopping: {stop}", f"average: {average}", "export: {engines: [onnxruntime]}")
    code, _, err = run("train", "own.yaml", "--out", "run")
    assert code == 0, err
    metrics = json.loads((work / "run" / "metrics.json").read_text(encoding="utf-8"))
    code, out, err_of_evaluation = run("evaluate", "run/bundle", "--data", "dev.tsv", "--json")
    assert code == 0, err_of_evaluation
    evaluated = json.loads(out)
    assert (evaluated["accuracy"], evaluated["f1_macro"]) == (metrics["accuracy"], metrics["f1_macro"])
    events = events_of(work / "run")
    (shipped,) = [event for event in events if event["event"] == "shipped"]
    assert shipped["value"] == metrics[shipped["metric"]]
    assert f"{shipped['metric']} {shipped['value']:.4f} on the development rows" in err
    for event in events:
        if event["event"] == "restored" and event["metric"] == f"eval_{shipped['metric']}":
            assert shipped["value"] >= event["value"] - 1e-9
        if event["event"] == "averaged":
            kept = event["average"] if event["kept"] == "average" else event["last"]
            assert event["metric"] == f"eval_{shipped['metric']}"
            assert shipped["value"] >= kept - 1e-9


def test_the_share_of_the_ngrams_follows_the_metric_that_is_watched() -> None:
    net = TextCNN(vocabulary_size=10, dimension=4, num_labels=2, filters=8, ngram_buckets=16)
    logits, truth = np.tile(np.array([[4.0, 0.0], [0.0, 4.0]], dtype=np.float32), (25, 1)), [0, 1] * 25

    def logits_of() -> np.ndarray:
        return logits * np.float32(net.ngram_share.item())

    net.fit_after_training(logits_of, truth, score=lambda found: -abs(float(found.max()) / 4 - 0.3))
    assert net.ngram_share.item() == pytest.approx(0.3)
    net.fit_after_training(logits_of, truth, score=lambda _: 1.0)  # all alike: half and half
    assert net.ngram_share.item() == pytest.approx(0.5)


def test_a_run_that_diverges_at_once_fails_and_leaves_nothing(work: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(work)
    monkeypatch.setattr(LossMonitor, "update", lambda self, loss, *, step: self._last.append(loss) or step >= 1)
    text = error_of(run("train", "own.yaml", "--out", "run"), 1)
    assert "the loss diverged" in text
    assert "before the first evaluation, so nothing is kept" in text
    assert "embtune lr-find" in text
    assert not (work / "run").exists()
    assert not (work / "run.checkpoints").exists()
    assert hidden(work) == []


def test_a_run_that_diverges_later_ships_its_best_weights_and_says_so_last(
    work: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(work)
    seen: list[int] = []

    def update(self: LossMonitor, loss: float, *, step: int) -> bool:
        seen.append(step)
        self._last.append(loss)
        return len(seen) > 5

    monkeypatch.setattr(LossMonitor, "update", update)
    code, out, err = run("train", "own.yaml", "--out", "run", "--json")
    assert code == 0, err
    *_, note, record = err.strip().splitlines()
    assert note.startswith("note: training did not run to its end: the loss diverged")
    assert "the bundle has the best weights before it" in note
    assert record.startswith("record: ")
    assert json.loads(out)["notes"] == [note.removeprefix("note: ")]


@pytest.mark.parametrize("stop", ["{}", "null"])
def test_rates_that_break_everything_are_named_as_the_cause(work: Path, run: Run, stop: str) -> None:
    prepare(work, "groups: [{name: all, rate: 1.0e+20}]", "freeze: null", f"early_stopping: {stop}")
    text = error_of(run("train", "own.yaml", "--out", "run"), 1)
    assert "the loss was nan" in text or "the loss was not finite" in text
    assert "nothing is kept; lower the learning rates" in text
    assert not (work / "run").exists()
    assert not (work / "run.checkpoints").exists()
