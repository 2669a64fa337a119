"""``embtune auto`` as a user runs it: misuse, and a real choice that is interrupted and continued."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from paddlenlp_embtune.inference import Predictor
from tests.helpers import ROWS, Run, error_of, tsv


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a data set."""
    (tmp_path / "train.tsv").write_text(tsv(ROWS), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("--budget", "20"), 2, "--budget is '20' (is it 20 seconds, minutes or hours?); expected a time with its unit"),
        (("--budget", "-5m"), 2, "--budget is '-5m'; expected a time with its unit, such as 90s, 20m, 1h or 1h30m"),
        (("--budget", "1m", "--size-mb", "0"), 2, "size_mb must be above 0, got 0"),
        (("--budget", "1m", "--metric", "f2"), 2, "metric is 'f2'"),
        (("--budget", "1m", "--arm", "tfidf"), 2, "the arm 'tfidf' leaves no bundle, so it cannot be chosen"),
        (("--budget", "1m", "--out", "train.tsv"), 2, "train.tsv is there already and is no bundle"),
        (("--budget", "1m", "--label-column", "class"), 1, "has no column 'class'"),
    ],
)
def test_misuse_is_one_clear_line(folder: Path, run: Run, arguments: tuple[str, ...], code: int, told: str) -> None:
    assert told in error_of(run("auto", "--data", "train.tsv", *arguments), code)


@pytest.mark.slow
def test_an_interrupted_choice_keeps_a_bundle_and_continues(folder: Path) -> None:
    command = [sys.executable, "-m", "paddlenlp_embtune", "auto", "--data", "train.tsv", "--budget", "70s", "--out", "best"]
    process = subprocess.Popen([*command, "--jobs", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder)
    cells = folder / "best.auto" / "cells"
    while not list(cells.rglob("*.json")) and process.poll() is None:
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert stdout == b""
    assert b"a bundle of the linear arm is in best; the same command continues there" in stderr
    assert Predictor(folder / "best").predict(["公司业绩大幅增长"])[0]["label"] in {"利好", "利空", "中性"}
    kept = {path: path.read_bytes() for path in cells.rglob("*.json")}
    ended = subprocess.run(
        [*command, "--jobs", "1", "--json", "--explain-choice"], capture_output=True, cwd=folder, timeout=240, check=False
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert all(path.read_bytes() == content for path, content in kept.items())
    assert found["arm"] in {"linear", "textcnn", "textcnn-balanced", "textcnn-wide"}
    assert found["cost"]["latency_ms"] > 0
    assert 20 < found["cost"]["memory_mb"] < 1000
    assert (folder / "best.auto" / "report.html").is_file()
    assert f"{found['arm']} was chosen".encode() in ended.stderr
    assert Predictor(folder / "best").predict(["公司业绩大幅增长"])[0]["label"] == "利好"
