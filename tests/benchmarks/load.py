"""What ``embtune serve`` answers in a second: clients that each send one short text, wait for its answer, and send the next.

The clients are connections of one asyncio process, on sockets and with as little HTTP as it takes, so that the server is the
bottleneck; httpx would need more time for a request than the server. They share the machine's cores with it.
``python -m tests.benchmarks.load [seconds]``
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from paddlenlp_embtune.builtin import FINANCE
from paddlenlp_embtune.data import read_texts

FINFE = Path(__file__).resolve().parents[3] / "shared" / "data" / "finfe"
SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 30.0
HEAD = b"POST /v1/models/finance/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
CLIENTS = (1, 8, 32, 64)
VARIANTS = {"micro-batches": (), "one request a batch": ("--max-batch", "1")}


class Client(asyncio.Protocol):
    """One connection; sends the next request when an answer is complete."""

    def __init__(self, requests: list[bytes], until: float, seconds: list[float], errors: list[str]) -> None:
        self.requests, self.until, self.seconds, self.errors = requests, until, seconds, errors
        self.done = asyncio.get_running_loop().create_future()
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.send()

    def send(self) -> None:
        self.begun = time.perf_counter()
        if self.begun >= self.until:
            self.transport.close()
            return
        self.transport.write(random.choice(self.requests))

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found or len(body) < int(head[head.index(b"content-length: ") + 16 :].partition(b"\r")[0]):
            return
        self.buffer = b""
        if head.startswith(b"HTTP/1.1 200"):
            self.seconds.append(time.perf_counter() - self.begun)
        else:
            self.errors.append(body.decode())
        self.send()

    def connection_lost(self, exc: Exception | None) -> None:
        if time.perf_counter() < self.until:
            self.errors.append(f"the connection was lost: {exc}")
        self.done.set_result(None)


async def load(port: int, requests: list[bytes], clients: int, seconds: float) -> tuple[list[float], list[str]]:
    """Return the seconds of every answer, and the errors."""
    found: list[float] = []
    errors: list[str] = []
    until = time.perf_counter() + seconds
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(lambda: Client(requests, until, found, errors), "127.0.0.1", port) for _ in range(clients)
    ]
    await asyncio.gather(*(client.done for _, client in made))
    return found, errors


@contextlib.contextmanager
def server(*options: str) -> Iterator[int]:
    """Run the server in a process of its own; gives its port."""
    command = [sys.executable, "-m", "paddlenlp_embtune", "serve", str(FINANCE / "bundle"), "--port", "0", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            line = process.stderr.readline()
            address = re.search(r"listening on http://127.0.0.1:(\d+)", line)
            assert address, line
            yield int(address[1])
        finally:
            process.terminate()


def texts() -> tuple[str, list[str]]:
    """The stock forum's texts where they are, else those of the package."""
    for file in (FINFE / "test.tsv", FINFE / "dev.tsv", FINFE / "train.tsv"):
        if file.is_file():
            return f"finfe/{file.name}", read_texts(file, text_column="text")
    return "the package's finance texts", read_texts(FINANCE / "train.tsv", text_column="text")


def main() -> None:
    """Print requests in a second, the median and the slowest hundredth of the waits, and errors."""
    source, given = texts()
    requests = []
    for text in given:
        body = json.dumps({"text": text}).encode()
        requests.append(HEAD % len(body) + body)
    length = statistics.median(map(len, given))
    print(f"{len(given):,} texts of {source}, median length {length:g}; {SECONDS:g} s each; clients on the same cores")
    print(f"{'':20} {'clients':>8} {'requests/s':>11} {'p50 ms':>8} {'p99 ms':>8} {'errors':>7}")
    rates: dict[tuple[str, int], float] = {}
    for name, options in VARIANTS.items():
        with server(*options) as port:
            asyncio.run(load(port, requests, 8, 1.0))
            for clients in CLIENTS:
                waits, errors = asyncio.run(load(port, requests, clients, SECONDS))
                rates[name, clients] = len(waits) / SECONDS
                cuts = statistics.quantiles(waits, n=100)
                figures = f"{rates[name, clients]:11,.0f} {1e3 * cuts[49]:8.1f} {1e3 * cuts[98]:8.1f} {len(errors):7}"
                print(f"{name:20} {clients:8} {figures}  {' '.join(errors[:1])}", flush=True)
    first, second = VARIANTS
    ratios = ", ".join(f"{clients}: {rates[first, clients] / rates[second, clients]:.2f}" for clients in CLIENTS)
    print(f"{first} against {second}, by clients: {ratios}")


if __name__ == "__main__":
    main()
