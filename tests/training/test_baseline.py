"""The baseline beside a run: in its record and metrics, and never in its way."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from paddlenlp_embtune.config import Recipe
from paddlenlp_embtune.errors import HostError
from paddlenlp_embtune.training import _baseline, _baseline_process
from tests.helpers import ROWS, Run, TinyRun, tsv


def events(run: TinyRun, name: str) -> list[dict[str, Any]]:
    lines = (run.folder / "record.jsonl").read_text(encoding="utf-8").splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == name]


def test_every_run_is_compared_with_its_baseline(tiny_run: TinyRun) -> None:
    (event,) = events(tiny_run, "baseline")
    metrics = json.loads((tiny_run.folder / "metrics.json").read_text(encoding="utf-8"))
    assert event.items() >= metrics["baseline"].items()
    assert metrics["baseline"] == json.loads(tiny_run.stdout)["baseline"]
    assert set(event["candidates"]) == {"tfidf", "tfidf-svm"}
    assert f"baseline {event['name']}: macro F1" in tiny_run.stderr
    assert event["summary"] in tiny_run.stderr.replace("\n", " ").replace("  ", " ")


def prepared(baseline: str | None) -> Any:
    rows = SimpleNamespace(texts=[text for text, _ in ROWS], labels=[label for _, label in ROWS], label_sets=None)
    return SimpleNamespace(recipe=Recipe.from_dict({"evaluation": {"baseline": baseline}}), train=rows, stated=rows, dev=rows)


def outcome(baseline: str | None) -> dict[str, Any]:
    labels = sorted({label for _, label in ROWS})
    truth = [labels.index(label) for _, label in ROWS]
    with _baseline.fitting_baseline(prepared(baseline)) as fit:
        return fit.compare(truth, truth, labels, chosen_on_them=False)


def test_a_recipe_names_one_or_none() -> None:
    assert outcome(None) == {}
    assert outcome("tfidf-svm")["name"] == "tfidf-svm"


def test_what_stands_in_the_way_of_a_baseline_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(_baseline, "fit_baselines", broken)
    assert outcome("tfidf") == {"left_out": "it failed with MemoryError: no room"}
    assert "the baseline failed" in caplog.text
    monkeypatch.setattr(_baseline, "_MOST_CHARACTERS", 10)
    assert outcome("tfidf")["left_out"].endswith("characters, more than the 10 of a quick baseline")


def test_a_process_of_its_own_gives_the_same_and_says_what_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    alike = outcome("tfidf")
    monkeypatch.setattr(_baseline, "_WORTH_A_PROCESS", 0)
    found = outcome("tfidf")
    for result in (alike, found):
        result.pop("seconds")
        result.pop("summary")
    assert found == alike
    with pytest.raises(HostError, match="ValueError: Found input variables"):
        _baseline_process.fit_in_process("tfidf", ["好", "坏"], ["a"], ["好"])
    monkeypatch.setattr(_baseline_process.sys, "executable", "/bin/false")
    assert outcome("tfidf")["left_out"].startswith(
        "it failed with HostError: the process of the baseline ended with exit code 1"
    )


def test_the_command_line_leaves_it_out(run: Run, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from paddlenlp_embtune.cli.commands import train as command

    asked: list[Recipe] = []
    monkeypatch.setattr(command, "run", lambda recipe, *_, **__: asked.append(recipe))
    (tmp_path / "train.tsv").write_text(tsv(ROWS), encoding="utf-8")
    assert run("train", "--data", str(tmp_path / "train.tsv"), "--no-baseline")[0] == 0
    assert asked[0].evaluation.baseline is None
