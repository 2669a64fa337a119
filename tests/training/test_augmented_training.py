"""Augmented rows in a run: beside the data, the teacher and the windows, and the same after a kill."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from paddlenlp_embtune import Recipe
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.training._prepare import data_summary, prepare
from paddlenlp_embtune.training.run import train
from tests.helpers import ROWS, TinyRun, tsv

AUGMENTATION = {"swap": 0.4, "deletion": 0.2}


def recipe(folder: Path, **changes: Any) -> Recipe:
    (folder / "train.tsv").write_text(tsv(ROWS), encoding="utf-8")
    (folder / "terms.txt").write_text("股东大会\n", encoding="utf-8")
    plain = {
        "data": {"train": str(folder / "train.tsv")},
        "augmentation": AUGMENTATION,
        "text": {"extra_rows": 0, "max_length": 32, "terms": str(folder / "terms.txt")},
        "model": {"options": {"filters": 8, "ngram_buckets": 64}},
        "train": {"epochs": 3, "batch_size": 16, "checkpoint_seconds": 0},
        "export": {"engines": []},
    }
    return Recipe.from_dict({**plain, **changes})


def events(run: Path, name: str) -> list[dict[str, Any]]:
    lines = (run / "record.jsonl").read_text(encoding="utf-8").splitlines()
    return [event for line in lines if (event := json.loads(line))["event"] == name]


def test_copies_are_training_rows_and_nothing_else(tmp_path: Path) -> None:
    prepared, plain = (prepare(recipe(tmp_path, augmentation=spec)) for spec in (AUGMENTATION, None))
    assert prepared.dev == plain.dev
    assert prepared.stated == plain.stated == plain.train
    assert prepared.augmentation is not None
    count = len(plain.train)
    assert prepared.train.texts[:count] == plain.train.texts
    assert len(prepared.train) == count + prepared.augmentation.added == len(prepared.train_ids.ids) > count
    assert data_summary(prepared)["train_rows"] == data_summary(plain)["train_rows"] == count
    assert not set(prepared.dev.texts) & set(prepared.train.texts)
    copies = prepared.train.texts[count:]
    assert all("股东大会" in text for text in copies if "大会" in text)
    assert prepared.train_dataset().labels == [prepared.labels.index(label) for label in prepared.train.labels]


def test_the_terms_of_the_domain_stay(tmp_path: Path) -> None:
    rows = [(text, "强烈利空" if label == "利空" else label) for text, label in ROWS]
    (tmp_path / "domain.tsv").write_text(tsv(rows), encoding="utf-8")
    data = {"train": str(tmp_path / "domain.tsv"), "labels": ["强烈利空", "中性", "利好"]}
    prepared = prepare(recipe(tmp_path, domain="finance", data=data, augmentation={"deletion": 1.0}))
    for text in prepared.train.texts[prepared.report.rows[0] :]:
        assert "回购" in text or "回" not in text


class KilledError(Exception):
    pass


def kill_at_second_epoch(event: Any) -> None:
    if event["event"] == "early_stopping" and event["epoch"] > 1.5:
        raise KilledError


@pytest.mark.slow
def test_a_run_that_was_cut_ends_with_the_same_copies_and_weights(tmp_path: Path) -> None:
    stated = recipe(tmp_path)
    whole = train(stated, tmp_path / "whole")
    with pytest.raises(KilledError):
        train(stated, tmp_path / "cut", listeners=[kill_at_second_epoch])
    other = dataclasses.replace(stated, augmentation=dataclasses.replace(stated.augmentation, swap=0.9))
    with pytest.raises(RecipeError, match=r"rows\.train: .* in the checkpoint"):
        train(other, tmp_path / "cut", resume=True)
    cut = train(stated, tmp_path / "cut", resume=True)
    weights = [(run.bundle / "weights.safetensors").read_bytes() for run in (whole, cut)]
    assert weights[0] == weights[1]
    recorded = [events(run.run_dir, "augmentation") for run in (whole, cut)]
    (event,) = recorded[0]
    assert set(event["rows"]) == set(AUGMENTATION)
    assert event["added"] == sum(event["rows"].values()) > 0
    assert [{**each, "time": None} for each in recorded[1]] == [{**event, "time": None}]


def test_a_teacher_answers_the_copies_too_and_long_texts_have_windows(tiny_run: TinyRun, tmp_path: Path) -> None:
    text = {"extra_rows": 0, "max_length": 6, "windows": {"overlap_tokens": 2}}
    result = train(recipe(tmp_path, text=text, distill={"teacher": str(tiny_run.folder)}), tmp_path / "run")
    (added,) = events(result.run_dir, "augmentation")
    (teacher,) = events(result.run_dir, "teacher")
    assert teacher["asked"]["texts"] == len(ROWS) + added["added"]
