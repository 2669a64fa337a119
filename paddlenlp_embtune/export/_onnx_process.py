"""The process that translates a program to ONNX; it can be started ahead, to import what it needs meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from paddlenlp_embtune.errors import HostError
from paddlenlp_embtune.export import _onnx_worker

__all__ = ["started_ahead", "translate"]

_TIMEOUT_SECONDS = 600

_Process = subprocess.Popen[str]
_waiting: dict[int, _Process] = {}
"""The process that this thread has started ahead, by the number of the thread."""


@contextlib.contextmanager
def started_ahead() -> Iterator[None]:
    """Start a process for the first :func:`translate` of this thread in the block; it ends with the block, used or not.

    It also ends when this process is killed, for its input is closed then.
    """
    thread = threading.get_ident()
    if thread in _waiting:
        yield
        return
    _waiting[thread] = _start()
    try:
        yield
    finally:
        if (process := _waiting.pop(thread, None)) is not None:
            _end(process)


def translate(program: Path, weights: Path, target: Path) -> None:
    """Translate a program of Paddle to ONNX in a process of its own.

    Raises:
        HostError: paddle2onnx fails, or takes too long.
    """
    process = _waiting.pop(threading.get_ident(), None)
    if process is not None and process.poll() is not None:
        _end(process)  # it died while it waited
        process = None
    process = process or _start()
    try:
        output, errors = process.communicate(json.dumps([str(program), str(weights), str(target)]), timeout=_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        raise HostError(f"paddle2onnx did not finish within {_TIMEOUT_SECONDS} seconds") from None
    finally:
        _end(process)
    if process.returncode != 0 or not target.is_file():
        lines = [line for line in (output + errors).splitlines() if line.strip()]
        named = [line for line in lines if "ERROR" in line or "Error" in line] or lines[-1:]
        raise HostError(f"paddle2onnx failed with exit code {process.returncode}: {' | '.join(named[:3])}")


def _start() -> _Process:
    return subprocess.Popen(
        [sys.executable, "-m", _onnx_worker.__name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "POLYGRAPHY_AUTOINSTALL_DEPS": "0"},
    )


def _end(process: _Process) -> None:
    """End a process that still runs, and let its pipes go."""
    if process.poll() is None:
        process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
