"""The process that translates to ONNX: started ahead it is used once, and it ends with the block or with its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from paddlenlp_embtune import compat
from paddlenlp_embtune.errors import HostError
from paddlenlp_embtune.export import _onnx_process, export_onnx, exporters_ahead
from paddlenlp_embtune.export._onnx_process import started_ahead, translate

paddle = compat.require_paddle()

ROOT = Path(__file__).parents[2]
WAITING = """
import time
from paddlenlp_embtune.export import _onnx_process
with _onnx_process.started_ahead():
    (process,) = _onnx_process._waiting.values()
    print(process.pid, flush=True)
    time.sleep(600)
"""


class Net(paddle.nn.Layer):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.embedding = paddle.nn.Embedding(9, 4)

    def forward(self, input_ids):  # type: ignore[no-untyped-def]
        return self.embedding(input_ids).sum(axis=1)


def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[str]]:
    """Collect the processes that are started."""
    found: list[subprocess.Popen[str]] = []
    start = _onnx_process._start

    def starting() -> subprocess.Popen[str]:
        found.append(start())
        return found[-1]

    monkeypatch.setattr(_onnx_process, "_start", starting)
    return found


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_process_that_was_started_ahead_translates_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    processes = started(monkeypatch)
    with exporters_ahead(["onnxruntime", "paddle_inference", "unknown"]):
        assert len(processes) == 1
        assert export_onnx(Net(), tmp_path) == ("onnx/model.onnx",)
    assert len(processes) == 1
    assert processes[0].returncode == 0
    assert (tmp_path / "onnx" / "model.onnx").is_file()


def test_a_process_that_is_not_needed_ends_with_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    processes = started(monkeypatch)
    with pytest.raises(KeyboardInterrupt), started_ahead(), started_ahead():
        raise KeyboardInterrupt
    (process,) = processes
    assert process.returncode is not None
    assert not _onnx_process._waiting


def test_one_that_has_died_is_replaced_and_its_replacement_says_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes = started(monkeypatch)
    with started_ahead():
        processes[0].kill()
        processes[0].wait()
        with pytest.raises(HostError, match=r"paddle2onnx failed with exit code 1: .*nowhere\.json"):
            translate(tmp_path / "nowhere.json", tmp_path / "nowhere.pdiparams", tmp_path / "model.onnx")
    assert len(processes) == 2


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_it_does_not_outlive_a_run_that_is_killed() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, "-c", WAITING], stdout=subprocess.PIPE, text=True, env=environment)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert is_alive(pid)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    until = time.monotonic() + 60
    while is_alive(pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert not is_alive(pid)
