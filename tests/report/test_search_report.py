"""The page about a search: it shows every trial, also those without a value, and draws what can be drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from paddlenlp_embtune.report import write_search_report

SPACE = {"train.batch_size": "16, 64", "freeze": "null, {}", "model.options.dropout": "0 to 0.5"}


def trial(number: int, value: float | None, state: str = "complete", **more: Any) -> dict[str, Any]:
    values = {
        "train.batch_size": (16, 64)[number % 2],
        "freeze": (None, {"a": 1})[number % 2],
        "model.options.dropout": number / 20,
    }
    plain = {"number": number, "value": value, "state": state, "values": values, "default": number == 0, "reason": None}
    return {**plain, "error": None, "seconds": 1.5, "epochs": 2.0, "curve": [], **more}


def result(trials: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    plain = {"folder": "runs/<search>", "recipe": "best.yaml", "metric": "f1_macro", "mode": "max", "trials": trials}
    return {**plain, "best": trials[0], "values": {}, "importances": {}, "final": None, "notes": [], **more}


def test_all_trials_and_figures_are_there(tmp_path: Path) -> None:
    trials = [trial(number, 0.5 + number / 100) for number in range(9)]
    trials += [
        trial(9, 0.4, "pruned", reason="pruned"),
        trial(10, None, "failed", error="RecipeError: <no>"),
        trial(11, None, "running"),
    ]
    final = {"metric": "f1_macro", "difference": 0.02, "interval": (-0.01, 0.05), "seeds": 3, "rows": 90, "verdict": "better"}
    shares = {"model.options.dropout": 0.7, "train.batch_size": 0.2, "freeze": 0.1}
    page = write_search_report(
        tmp_path / "a.html", result(trials, final=final, importances=shares, values={"freeze": None}), space=SPACE
    ).read_text(encoding="utf-8")
    assert page.count("<svg") == 5  # trials, importances, three pairs
    assert "RecipeError: &lt;no&gt;" in page
    assert "+0.0200" in page
    assert "3 seeds" in page
    assert "runs/<search>" not in page


@pytest.mark.parametrize("trials", [[trial(0, 0.5)], [trial(0, 0.5, values={}), trial(1, 0.5)]])
def test_few_trials_make_a_page_too(trials: list[dict[str, Any]], tmp_path: Path) -> None:
    page = write_search_report(tmp_path / "a.html", result(trials, notes=["short"]), space=SPACE).read_text(encoding="utf-8")
    assert "was not compared" in page
    assert "<p>short.</p>" in page
