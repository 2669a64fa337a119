"""Unlabelled texts in a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import paddlenlp_embtune as embtune
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.training import run as run_module
from tests.helpers import ROWS, tsv

TEXTS = [text.replace("公司", "控股公司") + "了" for text, _ in ROWS]


@pytest.fixture
def few(rows: Path) -> Path:
    """Nine rows a label, and texts like them."""
    lines = [row for number, row in enumerate(ROWS) if number % 20 < 9]
    (rows / "train.tsv").write_text(tsv(lines), encoding="utf-8")
    (rows / "dev.tsv").write_text(tsv(ROWS[18::20] + ROWS[19::20]), encoding="utf-8")
    (rows / "texts.txt").write_text("\n".join([*TEXTS, lines[0][0], "", TEXTS[0]]) + "\n", encoding="utf-8")
    return rows


def recipe(**parts: Any) -> embtune.Recipe:
    plain = {
        "data": {"train": "train.tsv", "dev": "dev.tsv"},
        "text": {"max_length": 32},
        "model": {"encoder": "tiny"},
        "self_training": {"unlabelled": ["texts.txt"]},
        "export": {"engines": []},
    }
    return embtune.Recipe.from_dict({**plain, **parts})


def test_texts_become_weighted_rows_behind_the_others(few: Path) -> None:
    prepared = run_module.prepare(recipe())
    found = prepared.self_training
    assert found is not None
    assert found.texts == len(set(TEXTS))
    assert 0 < found.added < found.texts
    assert (found.files["in_train"], found.files["blank"], found.files["duplicates"]) == (1, 1, 1)
    assert set(prepared.train.texts[27:]) <= set(TEXTS)
    weights = prepared.train.weights
    assert weights is not None
    assert weights[:27] == (1.0,) * 27
    assert sum(weights[27:]) == pytest.approx(3 * 27)
    assert prepared.stated.texts == prepared.train.texts[:27]


def test_a_run_learns_from_them(few: Path) -> None:
    run_module.train(recipe(train={"epochs": 1}), few / "run")
    events = [json.loads(line) for line in (few / "run" / "record.jsonl").read_text(encoding="utf-8").splitlines()]
    (found,) = [event for event in events if event["event"] == "self_training"]
    assert 0 < found["added"] == sum(found["by_label"].values())


def test_without_an_encoder_it_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"model\.encoder must be an encoder beside self_training"):
        recipe(model={})
