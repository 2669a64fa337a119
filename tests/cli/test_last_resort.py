"""What nobody foresaw: one line on stderr, an exit code, and where the details are. Texts of users cannot steer a terminal."""

from __future__ import annotations

import errno
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.table import Table

from paddlenlp_embtune.builtin import FINANCE
from paddlenlp_embtune.cli import _console, _failures, _run_display
from paddlenlp_embtune.cli._terminal import err, out, visible
from paddlenlp_embtune.cli.commands import evaluate
from tests.helpers import Run, embtune, error_of, python

UNSEEN: dict[str, tuple[Exception, list[str]]] = {
    "type": (TypeError("unsupported operand\n of 3"), ["unexpected TypeError: unsupported operand of 3", "please report it"]),
    "nothing": (KeyError(), ["unexpected KeyError;", "details in"]),
    "long": (ValueError("x" * 10_000), ["unexpected ValueError: xxx", "details in"]),
    "memory": (MemoryError("Unable to allocate 5 TiB"), ["not enough memory: Unable to allocate 5 TiB", "a smaller batch"]),
    "depth": (RecursionError("maximum recursion depth exceeded"), ["nested too deeply", "flatten it"]),
    "null": (ValueError("embedded null byte"), ["a path holds a null character"]),
    "full": (OSError(errno.ENOSPC, "No space left on device", "/x/y"), ["/x/y: No space left on device; free some disk space"]),
    "no name": (
        OSError(errno.ENOSPC, "No space left on device"),
        ["the output: No space left on device; free some disk space"],
    ),
    "odd name": (OSError(errno.EIO, "Input/output error", b"/\xff"), ["Input/output error; check the disk"]),
    "no number": (OSError("something"), ["unexpected OSError: something"]),
    "surrogate": (UnicodeEncodeError("utf-8", "a\ud800", 1, 2, "surrogates not allowed"), ["unexpected UnicodeEncodeError"]),
    "escape": (TypeError("a\x1b[31mred"), ["a\\x1b[31mred"]),
}


@pytest.mark.parametrize("name", UNSEEN)
def test_an_error_that_nobody_foresaw_is_one_line(name: str, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    error, parts = UNSEEN[name]

    def fail(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(evaluate, "Bundle", fail, raising=False)
    monkeypatch.setattr(evaluate, "load_examples", fail)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    result = run("evaluate", FINANCE / "bundle", "--data", FINANCE / "test.tsv")
    line = error_of(result, 1)
    assert len(result[2].splitlines()) == 1
    assert len(line) < 800
    assert all(part in line for part in parts), line
    if (named := re.search(r"details in (\S+)$", line)) is not None:
        file = Path(named[1])
        assert "Traceback" in file.read_text(encoding="utf-8")
        assert file.stat().st_mode & 0o077 == 0


def test_where_no_file_can_be_written_the_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    assert _failures.describe_error(TypeError("x")).endswith("set EMBTUNE_TRACEBACK=1 to see where it happened")


def test_the_variable_shows_the_traceback(tmp_path: Path) -> None:
    done = embtune("predict", "nothing", "--data", "a.txt", cwd=tmp_path, env={"EMBTUNE_TRACEBACK": "1"})
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_an_interrupt_says_so(tmp_path: Path) -> None:
    script = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # background jobs of a shell start without
        "from paddlenlp_embtune.cli import main\n"
        "main.compat.prepare_cpu = lambda **_: (print('ready', flush=True), time.sleep(60))\n"
        "sys.argv = ['embtune', 'plugins']\n"
        "main.main()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert (process.returncode, told.decode()) == (130, "interrupted\n")


def test_a_full_standard_output_is_one_line(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "paddlenlp_embtune", "plugins", "--json"],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "output: No space left on device; free some disk space" in done.stderr


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    done = python("-c", "print()", cwd=tmp_path)
    assert done.returncode == 0
    command = f"{sys.executable} -m paddlenlp_embtune plugins | true"
    ended = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.stderr == ""


ODD = [
    ":x:",
    "[bold]b[/]",
    "[/]",
    "[link=https://a.b]c",
    "a\\",
    "a\x1b[31mred",
    "a\x9b31m",
    "\u202eabc",
    "a\ud800",
    "\x07\x08\x7f",
]


@pytest.mark.parametrize("text", ODD)
def test_texts_of_users_are_printed_as_they_are(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    for printer in (err, out):
        printer.print(text, soft_wrap=True)
        table = Table(text)
        table.add_row(text)
        printer.print(table)
    _console.print_notes([text])
    _run_display.print_event({"event": "alarm", "message": text, "done": text})
    _run_display.print_event({"event": "vectors", "source": text, "found": 1.0, "origins": {text: 1}})
    _run_display.print_event(
        {"event": "metrics", "data": text, "engine": "x", "n": 1, "accuracy": 1, "f1_macro": 1, "per_class": {}}
    )
    found = capsys.readouterr()
    shown = visible(text)
    assert found.err.count(shown) >= 6 + found.out.count(shown) - 3
    assert found.out.count(shown) == 3
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\ud800]", found.err + found.out)


@pytest.mark.parametrize("path", ["/data:x:1/bundle", "/[bold]x[/]/bundle", "/\x1b[31mred/bundle", "x" * 5_000])
def test_paths_in_error_lines_are_what_was_written(path: str, run: Run) -> None:
    line = error_of(run("export", path, "--engine", "onnxruntime"), 1)
    assert visible(path)[:40] in line
    assert len(line) < 2_100


def test_health_of_rows_that_are_not_finite_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    _run_display.print_event(
        {"event": "health", "rows_watched": 9, "rows": 9, "rows_broken": 2, "cosine_drift_mean": float("nan")}
    )
    assert "2 of 9 rows are not finite" in capsys.readouterr().err
