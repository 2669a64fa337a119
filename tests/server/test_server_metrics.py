"""Figures of several processes: what the dead leave behind, and where the caller's own are kept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from paddlenlp_embtune.server import _metrics, lifecycle as running
from tests.server.inprocess import settings


def test_two_may_forget_the_dead_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = tmp_path / f"gauge_livesum_{dead.pid}.db"
    left.touch()

    def beaten(pid: int, folder: str) -> None:
        assert (pid, folder) == (dead.pid, str(tmp_path))
        left.unlink()  # by the other one
        left.unlink()

    monkeypatch.setattr(_metrics, "mark_process_dead", beaten)
    _metrics._forget_dead(tmp_path)
    assert not left.exists()


@pytest.mark.parametrize("mine", [None, "/mine"])
def test_the_folder_of_the_callers_figures_is_named_again_afterwards(monkeypatch: pytest.MonkeyPatch, mine: str | None) -> None:
    name, seen = "PROMETHEUS_MULTIPROC_DIR", []

    class Supervisor:
        processes = ()

        def __init__(self, config: Any, listeners: Any) -> None:
            self.listeners = listeners

        def run(self) -> None:
            seen.append(os.environ[name])
            self.listeners[0].close()

    monkeypatch.delenv(name, raising=False)
    if mine is not None:
        monkeypatch.setenv(name, mine)
    monkeypatch.setattr(running, "_Supervisor", Supervisor)
    running._serve_with_workers(settings(workers=2, port=0), None, lambda line: None)
    assert os.environ.get(name) == mine
    assert "embtune-serve-" in seen[0]
