"""``embtune compare`` as a user runs it: real cells in processes of their own, an interrupt, and misuse."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers import ROWS, Run, error_of, tsv


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with two data sets."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for part in ("train", "test"):
            (tmp_path / name / f"{part}.tsv").write_text(tsv(ROWS), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_baselines_on_two_sets_in_one_table(folder: Path, run: Run) -> None:
    arms = ("--arm", "tfidf", "--arm", "tfidf-svm")
    sets = ("--data", "a", "--data", "zwei=b/train.tsv", "--test", "zwei=b/test.tsv")
    call = ("compare", *sets, *arms, "--seeds", "1", "--jobs", "2", "--out", "out", "--html", "page.html")
    code, stdout, stderr = run(*call, "--json")
    found = json.loads(stdout)
    assert code == 0, stderr
    assert [table["data"] for table in found["tables"]] == ["a", "zwei"]
    for table in found["tables"]:
        for row in table["arms"]:
            assert row["f1_macro"]["mean"] == 1.0
            assert all(value > 0 for value in row["cost"].values())
            assert 20e6 < row["cost"]["peak_bytes"] < 1e9
    assert "1 seed: how far figures vary" in found["notes"][0]
    assert "(4 of 4, about 0 min left)" in stderr
    page = (folder / "page.html").read_text(encoding="utf-8")
    assert "Mean over 2 data sets" in page
    again = run(*call)
    assert "4 of 4 cells stand in out" in again[2]
    assert again[1].startswith("## a, 60 labelled rows, measured on 60")


def test_cells_that_fail_are_reported_with_what_they_said(folder: Path, run: Run) -> None:
    call = ("compare", "--data", "a", "--arm", "tfidf", "--arm", "tfidf-svm", "--seeds", "1", "--sizes", "1000", "--out", "out")
    code, stdout, stderr = run(*call, "--json")
    found = json.loads(stdout)
    assert code == 1
    assert [each["arm"] for each in found["failed"]] == ["tfidf", "tfidf-svm"]
    assert "DataError: 1000 rows of a/train.tsv are asked for, which has 60" in found["failed"][0]["message"]
    assert "tfidf on a has no figures for some seeds" in stderr.replace("\n", " ")


@pytest.mark.slow
def test_an_interrupt_ends_all_processes_and_keeps_what_is_finished(folder: Path) -> None:
    command = [sys.executable, "-m", "paddlenlp_embtune", "compare", "--data", "a", "--seeds", "40", "--out", "out"]
    process = subprocess.Popen(
        [*command, "--arm", "tfidf", "--arm", "tfidf-svm"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder
    )
    cells = folder / "out" / "cells"
    while not list(cells.rglob("*.json")) and process.poll() is None:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert b"interrupted" in stderr
    assert stdout == b""
    for path in cells.rglob("*.json"):
        assert json.loads(path.read_text(encoding="utf-8"))["failed"] is None


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--data", "a", "--arm", "tfidf"), "a comparison needs two arms or more, got tfidf"),
        (("--data", "a", "--arm", "tfidf", "--arm", "textcn"), "did you mean 'textcnn'"),
        (("--data", "a", "--data", "a"), "--data has two sets of the name 'a'"),
        (("--data", "a", "--test", "c=x.tsv"), "--test c=x.tsv is of the set 'c'; expected NAME=FILE, NAME one of a"),
        (("--data", "a", "--test", "x.tsv"), "the set 'a' has two files for --test: a/test.tsv and x.tsv"),
        (("--data", "."), ". has no train file"),
        (("--data", "a/train.tsv"), "the data set a has no test rows; pass --test FILE, or --folds 5"),
        (("--data", "a", "--sizes", "50,many"), "--sizes has 'many'; expected numbers"),
    ],
)
def test_misuse_is_refused_before_anything_runs(arguments: tuple[str, ...], told: str, folder: Path, run: Run) -> None:
    assert told in error_of(run("compare", *arguments, "--out", "out"), 2)
    assert not (folder / "out").exists()


def test_a_missing_file_is_named(folder: Path, run: Run) -> None:
    found = error_of(run("compare", "--data", "nowhere.tsv", "--test", "a/test.tsv", "--out", "out"), 1)
    assert "the train rows of the data set nowhere are nowhere.tsv, which is not a file" in found
