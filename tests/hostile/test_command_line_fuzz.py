"""Whole commands with absurd numbers, and with paths that are none: one line each, in bounded time."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from paddlenlp_embtune.builtin import FINANCE
from tests.helpers import Run

BUNDLE = str(FINANCE / "bundle")
LARGE, LONG = "1000000000000", "9" * 400
PATHS = ("/dev/null", "/dev/zero", ".", "/", "x" * 5_000, ":x:", "[bold]x[/]", "\x1b[31m", "none")
TAKING_A_PATH: tuple[tuple[str, ...], ...] = (
    ("train", "PATH"),
    ("params", "PATH"),
    ("report", "PATH"),
    ("predict", "PATH", "--data", "a.txt"),
    ("export", "PATH", "--engine", "onnxruntime"),
    ("adopt", "PATH", "--out", "zz"),
    ("vectors", "list", "--store", "PATH"),
    ("vectors", "inspect", "PATH"),
    ("distill", "PATH", "--data", "train.tsv", "--out", "zz"),
    ("pretrain", "./PATH", "--texts", "a.txt", "--out", "zz"),
    ("lr-find", "PATH"),
)
TAKING_A_NUMBER: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("train", "quick.yaml", "--out", "zz"), ("--epochs", "--seed", "--max-length")),
    (("vectors", "train", "--texts", "a.txt", "--out", "o.npz"), ("--width", "--window", "--negatives", "--seed")),
    (
        ("pretrain", "./none", "--texts", "a.txt", "--out", "zz"),
        ("--epochs", "--batch-size", "--max-length", "--learning-rate", "--seed"),
    ),
    (("distill", BUNDLE, "--data", "train.tsv", "--out", "zz"), ("--temperature", "--alpha", "--hidden")),
    (("lr-find", "quick.yaml"), ("--lowest", "--highest", "--steps")),
    (("vocabulary", "compare", "--texts", "a.txt"), ("--pieces",)),
)
COMMANDS = [tuple(part.replace("PATH", path) for part in command) for command in TAKING_A_PATH for path in PATHS]
COMMANDS += [
    (*command, option, value)
    for command, options in TAKING_A_NUMBER
    for option in options
    for value in (LARGE, LONG, "-1", "nan", "inf", "1e300", "x")
]


@pytest.mark.slow
def test_absurd_arguments_end_in_one_line(work: Path, run: Run) -> None:
    (work / "a.txt").write_text("公司\n集团\n" * 30, encoding="utf-8")
    for command in COMMANDS:
        started = time.perf_counter()
        code, _, err = run(*command)
        what = f"{[part[:40] for part in command]}: {code}, {err[-600:]}"
        assert code in (0, 1, 2), what
        assert code == 0 or "rror" in err, what
        assert not any(sign in err for sign in ("Traceback", "unexpected", "\x1b[31m")), what
        assert time.perf_counter() - started < 30, what
