"""Servers in processes of their own, and the small clients that tests of them share."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.export.bundle_writer import reseal

GOOD, BAD = "公司拟以十亿元回购股份并全部注销", "公司因财务造假被立案调查，股票可能退市"
PREDICT = "/v1/models/finance/predict"
SLOW = (
    "import time; from paddlenlp_embtune.inference import Predictor; p = Predictor.predict; "
    "Predictor.predict = lambda *a, **k: (time.sleep({seconds}), p(*a, **k))[1]"
)


class Server:
    """A running ``embtune serve`` and what it wrote to stderr."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        wait_for(lambda: self._address() is not None or process.poll() is not None)
        address = self._address()
        assert address, self.lines
        self.port = int(address[1])

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines.extend(iter(self.process.stderr.readline, ""))

    def _address(self) -> re.Match[str] | None:
        return re.search(r"listening on http://[\d.]+:(\d+) ", "".join(self.lines))

    def stop(self, number: int = signal.SIGTERM, timeout: float = 10) -> int:
        """Send a signal; return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout)

    def children(self) -> set[int]:
        """The workers, without multiprocessing's own helper."""
        found = set()
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                parent = int(stat.read_text().rpartition(")")[2].split()[1])
                if parent == self.process.pid and b"spawn_main" in (stat.parent / "cmdline").read_bytes():
                    found.add(int(stat.parent.name))
        return found


@contextlib.contextmanager
def serving(*arguments: str | Path, env: Mapping[str, str] | None = None, first: str = "") -> Iterator[Server]:
    """Run ``embtune serve`` on a free port; ``first`` is Python to run before it."""
    start = ["-c", f"{first}; from paddlenlp_embtune.cli.main import main; main()"] if first else ["-m", "paddlenlp_embtune"]
    command = [sys.executable, *start, "serve", *map(str, arguments), "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, encoding="utf-8", env={**os.environ, **(env or {})})
    try:
        yield Server(process)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        assert process.stderr is not None
        process.stderr.close()


def ask(
    port: int, path: str = PREDICT, value: Any = None, *, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, Any]:
    """Send one request: POST if there is something to send, GET otherwise; gives status and JSON."""
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    with contextlib.closing(connection):
        return ask_on(connection, path, value, body=body, headers=headers)


def ask_on(
    connection: HTTPConnection,
    path: str = PREDICT,
    value: Any = None,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, Any]:
    """Send one request on an open connection."""
    if value is not None:
        body = json.dumps(value).encode()
    connection.request("GET" if body is None else "POST", path, body=body, headers=dict(headers or {}))
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def label(port: int) -> Any:
    """Ask for the label of ``GOOD``; gives the status if that is refused."""
    status, answer = ask(port, value={"text": GOOD})
    return answer["results"][0]["label"] if status == 200 else status


def metrics(server: Server) -> str:
    """Read what a server has counted."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=20)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()


def figure(server: Server, name: str) -> float:
    """Read one of the figures; 0 if it is not there yet."""
    return next((float(line.split()[-1]) for line in metrics(server).splitlines() if line.startswith(f"{name} ")), 0.0)


def raw(port: int, *parts: bytes, pause: float = 0.0) -> socket.socket:
    """Open a connection and send parts of a request, with pauses between."""
    found = socket.create_connection(("127.0.0.1", port), timeout=20)
    for part in parts:
        found.sendall(part)
        time.sleep(pause)
    return found


def wait_for(found: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait until something is the case."""
    until = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)


def turned(bundle: Path, folder: Path) -> Path:
    """Copy a bundle and turn its labels round, so that its answers can be told from the first one's."""
    opened = Bundle.open(bundle)
    return reseal(opened, folder, labels=opened.manifest.labels[::-1]).path
