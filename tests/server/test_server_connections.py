"""Connections to a real server: many clients at once, large requests, slow, idle and rude clients."""

from __future__ import annotations

import contextlib
import json
import re
import resource
import signal
import socket
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import pytest

from paddlenlp_embtune.builtin import FINANCE
from paddlenlp_embtune.data import read_texts
from paddlenlp_embtune.inference import Predictor
from tests.server.client import BAD, GOOD, PREDICT, Server, ask_on, figure, label, raw, wait_for

HEAD = f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\n".encode()


def test_answers_over_http_are_those_of_the_predictor_for_many_clients_at_once(server: Server, predictor: Predictor) -> None:
    texts = read_texts(FINANCE / "test.tsv", text_column="text")[:160]
    expected = predictor.predict(texts, scores=True)

    def client(number: int) -> None:
        connection = HTTPConnection("127.0.0.1", server.port, timeout=20)
        with contextlib.closing(connection):
            for size in (1, 3, 6):
                start = number * 10 + size - 1
                chosen = expected[start : start + size]
                status, answer = ask_on(connection, value={"texts": texts[start : start + size], "scores": True})
                assert status == 200
                assert [result["label"] for result in answer["results"]] == [result["label"] for result in chosen]
                for found, wanted in zip(answer["results"], chosen, strict=True):
                    assert found["scores"] == pytest.approx(wanted["scores"], abs=1e-6)

    with ThreadPoolExecutor(16) as pool:
        for done in [pool.submit(client, number) for number in range(16) for _ in range(3)]:
            done.result()


def test_a_request_of_ten_megabytes_is_refused_and_the_connection_goes_on(server: Server) -> None:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=20)
    with contextlib.closing(connection):
        for headers in ({}, {"Transfer-Encoding": "chunked"}):
            body = iter([b"x" * 100_000] * 100) if headers else b"x" * 10_000_000
            connection.request("POST", PREDICT, body=body, headers=headers, encode_chunked=bool(headers))
            answer = connection.getresponse()
            assert (answer.status, json.loads(answer.read())["error"]["code"]) == (413, "body_too_large")
        assert ask_on(connection, value={"text": GOOD})[0] == 200


def test_a_client_that_asks_first_need_not_send_a_body_that_is_too_large(server: Server) -> None:
    with raw(server.port, HEAD, b"Content-Length: 10000000\r\nExpect: 100-continue\r\n\r\n") as found:
        assert found.recv(1000).startswith(b"HTTP/1.1 413 ")
    with raw(server.port, HEAD, b"Content-Length: 13\r\nExpect: 100-continue\r\n\r\n") as found:
        assert found.recv(1000).startswith(b"HTTP/1.1 100 ")
        found.sendall(b'{"text": "x"}')
        assert found.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_what_is_no_http_is_refused_as_json(server: Server) -> None:
    with raw(server.port, b"\x16\x03\x01\x02\x00 hello\r\n\r\n") as found:
        answer = _read(found)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "bad_request"


def test_requests_that_come_in_one_piece_are_answered_in_order(server: Server) -> None:
    bodies = [json.dumps({"text": text}).encode() for text in (GOOD, BAD, GOOD)]
    pieces = [HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body for body in bodies]
    with raw(server.port, b"".join(pieces) + b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") as found:
        answer = _read(found).decode()
    assert [answer.count(text) for text in ("强烈利好", "强烈利空", '{"status":"ok"}')] == [2, 1, 1]
    assert answer.index("强烈利好") < answer.index("强烈利空") < answer.rindex("强烈利好")


@pytest.mark.parametrize(
    "parts",
    [(b"POST",), (HEAD, *[b"X-%d: y\r\n" % n for n in range(100)]), (HEAD + b"Content-Length: 100\r\n\r\n", *[b"x"] * 99)],
    ids=["begun", "head", "body"],
)
def test_a_request_that_comes_too_slowly_is_ended(server: Server, parts: tuple[bytes, ...]) -> None:
    begun = time.monotonic()
    with raw(server.port, parts[0]) as found, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        for part in parts[1:]:
            found.sendall(part)
            time.sleep(0.05)
            if time.monotonic() - begun > 1.7:
                break
        answer = _read(found)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"too_slow"' in answer
    assert 1.4 < time.monotonic() - begun < 5


def test_a_slow_request_on_a_connection_that_was_used_is_ended_too(server: Server) -> None:
    request = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    with raw(server.port, request) as found:
        assert _read(found, b"}").endswith(b'{"status":"ok"}')
        found.sendall(HEAD + b"Content-Length: 9\r\n\r\n")
        assert _read(found).startswith(b"HTTP/1.1 408 ")


def test_a_connection_may_idle_between_requests_but_not_for_ever(server: Server) -> None:
    with raw(server.port) as found:
        for _ in range(2):
            found.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert _read(found, b"}").endswith(b'{"status":"ok"}')
            time.sleep(1)
        begun = time.monotonic()
        assert found.recv(1000) == b""
        assert time.monotonic() - begun < 3


def test_clients_that_close_at_once_end_nothing(server: Server) -> None:
    for number in range(200):
        with raw(server.port, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" if number % 2 else b"\x00 garbage\r\n\r\n") as found:
            if number % 4 < 2:
                found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # resets the connection
    assert label(server.port) == "强烈利好"
    ignored = int(re.findall(r"SigIgn:\s*(\w+)", Path(f"/proc/{server.process.pid}/status").read_text())[0], 16)
    assert ignored >> (signal.SIGPIPE - 1) & 1


def test_a_client_that_never_reads_is_let_go(server: Server) -> None:
    request, count = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n", 2_000
    with socket.socket() as found:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        found.connect(("127.0.0.1", server.port))
        found.settimeout(20)
        found.sendall(request * count)
        wait_for(lambda: figure(server, "embtune_requests_in_flight") == 2)
        time.sleep(3)
        wait_for(lambda: figure(server, "embtune_requests_in_flight") == 1, 10)
        assert _read(found).count(b"HTTP/1.1 200 OK") < count


def test_refusals_of_connections_are_counted(server: Server) -> None:
    names = [f'embtune_refused_total{{reason="{reason}"}}' for reason in ("bad_request", "too_slow", "client_gone")]
    before = [figure(server, name) for name in names]
    for parts in ((b"\x00 garbage\r\n\r\n",), (b"POST",), (HEAD + b"Content-Length: 9\r\n\r\n",)):
        with raw(server.port, *parts) as found:
            assert _read(found)
    assert [figure(server, name) - count for name, count in zip(names, before, strict=True)] == [1, 2, 1]


@pytest.fixture
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2_500:
        pytest.skip(f"this process may open {hard} files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2_500), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
def test_a_thousand_idle_connections_disturb_nobody_and_are_closed(server: Server) -> None:
    with contextlib.ExitStack() as stack:
        # Half of them have begun a request.
        idle = [stack.enter_context(raw(server.port, *[b"GET /he"] * (number % 2))) for number in range(1_000)]
        assert [label(server.port) for _ in range(20)] == ["强烈利好"] * 20
        for number, found in enumerate(idle):
            answer = _read(found)
            assert answer.startswith(b"HTTP/1.1 408 ") if number % 2 else answer == b""
    assert label(server.port) == "强烈利好"


def test_the_file_limit_is_raised_to_what_is_allowed(server: Server) -> None:
    limits = Path(f"/proc/{server.process.pid}/limits").read_text()
    soft, hard = next(line for line in limits.splitlines() if line.startswith("Max open files")).split()[3:5]
    assert soft == hard


def _read(connection: socket.socket, end: bytes = b"\0") -> bytes:
    """Read until something comes, or the server closes the connection."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while not found.endswith(end) and (part := connection.recv(65_536)):
            found += part
    return found
