"""A server without a token under attack from pages of other sites, and clients that close their side early."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from paddlenlp_embtune.builtin import FINANCE
from tests.server.client import GOOD, PREDICT, SLOW, Server, figure, label, raw, serving, wait_for

BUNDLE = FINANCE / "bundle"
BODY = json.dumps({"text": GOOD}).encode()
RELOAD = "/v1/models/finance/reload"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(BUNDLE, "--allowed-host", "Models.Example.com", "--read-timeout", "3", "--keep-alive", "3") as found:
        yield found


@pytest.fixture(scope="module")
def everywhere() -> Iterator[Server]:
    with serving(BUNDLE, "--host", "0.0.0.0") as found:
        yield found


@pytest.fixture(scope="module")
def guarded() -> Iterator[Server]:
    with serving(BUNDLE, env={"EMBTUNE_TOKEN": "secret"}) as found:
        yield found


def read(connection: socket.socket) -> bytes:
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            found += part
    return found


def send(server: Server, method: str, path: str, *headers: str, body: bytes = b"", version: str = "1.1") -> tuple[int, bytes]:
    """Send a request as it is written; gives the status and what came after the head."""
    lines = [f"{method} {path} HTTP/{version}", *headers, "Connection: close"]
    if body or method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    with raw(server.port, "\r\n".join([*lines, "", ""]).encode("latin-1") + body) as connection:
        head, _, rest = read(connection).partition(b"\r\n\r\n")
    return int(head.split()[1]), rest


# Each has {port} for that of the server.
OWN_HOSTS = (
    "localhost",
    "localhost:{port}",
    "LOCALHOST:{port}",
    "LocalHost.:{port}",
    "localhost:",
    "127.0.0.1",
    "127.0.0.1:{port}",
    "127.0.0.1:1",
    "127.8.8.8:{port}",
    "[::1]",
    "[::1]:{port}",
    "[0:0:0:0:0:0:0:1]:{port}",
    "[::ffff:127.0.0.1]:{port}",
    "models.example.com",
    "MODELS.example.com.:80",
)
OTHER_HOSTS = (
    "",
    "evil.example",
    "evil.example:{port}",
    "localhost.evil.example",
    "evil.example.localhost",
    "127.0.0.1.evil.example",
    "evilmodels.example.com",
    "models.example.com.evil.example",
    "example.com",
    "localhost@evil.example",
    "evil.example@localhost",
    "localhost:{port}@evil.example",
    "http://localhost",
    "localhost/",
    "localhost/evil.example",
    "localhost,evil.example",
    "localhost evil.example",
    "localhost#",
    "localhost:99999",
    "localhost:x",
    "localhost:80:80",
    "localhost..",
    ".localhost",
    "[::1",
    "::1",
    "[::1]evil.example",
    "[::2]:{port}",
    "[fe80::1%25lo]:{port}",
    "0.0.0.0:{port}",
    "10.0.0.1:{port}",
    "192.168.1.1",
    "127.1",
    "0x7f.0.0.1",
    "2130706433",
    "127.000.000.001",
    "l\xf6calhost",
    "x",
    "*",
    "null",
)


@pytest.mark.parametrize("path", [PREDICT, RELOAD, "/v1/models", "/v1/models/finance", "/metrics", "/openapi.json", "/nothing"])
def test_names_that_are_not_the_servers_are_refused_on_every_route(server: Server, path: str) -> None:
    method, body = ("POST", BODY) if path in (PREDICT, RELOAD) else ("GET", b"")
    for host in OWN_HOSTS if path != RELOAD else OWN_HOSTS[:2]:
        status, rest = send(server, method, path, "Host: " + host.format(port=server.port), body=body)
        assert status == (404 if path == "/nothing" else 200), (host, rest)
    before = figure(server, 'embtune_refused_total{reason="unknown_host"}')
    for host in OTHER_HOSTS:
        status, rest = send(server, method, path, "Host: " + host.format(port=server.port), body=body)
        assert (status, json.loads(rest)["error"]["code"]) == (421, "unknown_host"), host
        assert "--allowed-host" in json.loads(rest)["error"]["message"]
    assert figure(server, 'embtune_refused_total{reason="unknown_host"}') == before + len(OTHER_HOSTS)


def test_requests_with_two_hosts_or_none(server: Server) -> None:
    assert send(server, "GET", "/v1/models", "Host: localhost", "Host: evil.example")[0] in (400, 421)
    assert send(server, "GET", "/v1/models", "Host: localhost", "Host: localhost")[0] in (400, 421)
    assert send(server, "GET", "/v1/models")[0] == 400
    assert send(server, "GET", "/v1/models", version="1.0")[0] == 200  # no browser leaves it out
    assert send(server, "POST", PREDICT, "Origin: http://evil.example", version="1.0", body=BODY)[0] == 403


def test_health_is_asked_by_any_name(server: Server) -> None:
    for host in (*OWN_HOSTS, *OTHER_HOSTS):
        for path in ("/health", "/ready"):
            assert send(server, "GET", path, "Host: " + host.format(port=server.port), "Origin: null")[0] == 200, host


OTHER_SITES = (
    ["Origin: null"],
    ["Origin: http://evil.example"],
    ["Origin: https://localhost.evil.example"],
    ["Origin: http://localhost:1"],
    ["Origin: https://localhost:{port}:80"],
    ["Origin: http://127.0.0.1:{port}"],
    ["Origin: http://[::1]:{port}"],
    ["Origin: http://localhost"],
    ["Origin: localhost:{port}"],
    ["Origin: file://"],
    ["Origin: chrome-extension://abcdefgh"],
    ["Origin: ftp://localhost:{port}"],
    ["Origin: "],
    ["Origin: http://user@localhost:{port}"],
    ["Origin: http://localhost:{port}/"],
    ["Origin: http://localhost:{port} http://evil.example"],
    ["Origin: http://localhost:{port}", "Origin: http://evil.example"],
    ["Sec-Fetch-Site: cross-site"],
    ["Sec-Fetch-Site: same-site"],
    ["SEC-FETCH-SITE: Cross-Site"],
    ["Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site"],
    ["Sec-Fetch-Site: something new"],
    ["Origin: http://localhost:{port}", "Sec-Fetch-Site: cross-site"],
)
OWN_SITE = (
    [],
    ["Origin: http://localhost:{port}"],
    ["Origin: HTTP://LOCALHOST:{port}"],
    ["Sec-Fetch-Site: same-origin"],
    ["Sec-Fetch-Site: none"],
    ["Origin: http://localhost:{port}", "Sec-Fetch-Site: same-origin"],
)


@pytest.mark.parametrize("path", [PREDICT, RELOAD, "/v1/models", "/metrics"])
def test_pages_of_other_sites_are_refused(server: Server, path: str) -> None:
    method, body = ("POST", BODY) if path == PREDICT else ("POST", b"") if path == RELOAD else ("GET", b"")
    reloads = figure(server, 'embtune_reloads_total{model="finance",outcome="done"}')
    before = figure(server, 'embtune_refused_total{reason="cross_origin"}')
    for extra in OTHER_SITES:
        headers = [header.format(port=server.port) for header in extra]
        status, rest = send(server, method, path, f"Host: localhost:{server.port}", *headers, body=body)
        assert (status, json.loads(rest)["error"]["code"]) == (403, "cross_origin"), extra
    assert figure(server, 'embtune_refused_total{reason="cross_origin"}') == before + len(OTHER_SITES)
    assert figure(server, 'embtune_reloads_total{model="finance",outcome="done"}') == reloads
    for extra in OWN_SITE:
        headers = [header.format(port=server.port) for header in extra]
        assert send(server, method, path, f"Host: localhost:{server.port}", *headers, body=body)[0] == 200, extra


def test_a_name_that_is_allowed_is_its_own_site_behind_a_proxy_with_tls(server: Server) -> None:
    host = "Host: models.example.com"
    assert send(server, "POST", PREDICT, host, "Origin: https://models.example.com", body=BODY)[0] == 200
    assert send(server, "POST", PREDICT, host, "Origin: https://models.example.com:444", body=BODY)[0] == 403


def test_bodies_that_a_page_may_send_without_asking(server: Server) -> None:
    host = "Host: localhost"
    for kind in ("text/plain", "TEXT/Plain; charset=utf-8", "multipart/form-data; boundary=x", "text/plain;application/json"):
        for path in (PREDICT, RELOAD):
            status, rest = send(server, "POST", path, host, f"Content-Type: {kind}", body=BODY)
            assert (status, json.loads(rest)["error"]["code"]) == (415, "plain_body")
    for kind in ("application/json", "application/json; charset=utf-8", "application/x-www-form-urlencoded"):
        assert send(server, "POST", PREDICT, host, f"Content-Type: {kind}", body=BODY)[0] == 200
    assert send(server, "POST", PREDICT, host, body=BODY)[0] == 200


def test_a_page_that_asks_first_is_not_let_in(server: Server) -> None:
    headers = ("Host: localhost", "Origin: http://evil.example", "Access-Control-Request-Method: POST")
    with raw(
        server.port, "\r\n".join([f"OPTIONS {PREDICT} HTTP/1.1", *headers, "Connection: close", "", ""]).encode()
    ) as found:
        answer = read(found)
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"access-control" not in answer.lower()


def test_a_server_on_every_address_takes_addresses_but_no_names(everywhere: Server) -> None:
    for host in ("127.0.0.1", "localhost", "10.0.0.1:80", "192.168.1.7", "[fe80::1]:8000", "0.0.0.0"):
        assert send(everywhere, "GET", "/v1/models", f"Host: {host}")[0] == 200, host
    for host in ("evil.example", "models.example.com", "127.0.0.1.evil.example", "0"):
        assert send(everywhere, "GET", "/v1/models", f"Host: {host}")[0] == 421, host


def test_with_a_token_names_and_sites_do_not_matter(guarded: Server) -> None:
    token = "Authorization: Bearer secret"
    for headers in (["Host: evil.example"], ["Host: x", "Origin: null"], ["Host: x", "Content-Type: text/plain"]):
        assert send(guarded, "POST", PREDICT, token, *headers, body=BODY)[0] == 200
        assert send(guarded, "POST", PREDICT, *headers, body=BODY)[0] == 401


def test_head(server: Server) -> None:
    for path in ("/health", "/ready"):
        assert send(server, "HEAD", path, "Host: x") == (200, b"")
    for path in (PREDICT, RELOAD, "/v1/models", "/metrics"):
        with raw(server.port, f"HEAD {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()) as found:
            head, _, rest = read(found).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 405 ")
        assert (b"\r\nallow: POST" if path in (PREDICT, RELOAD) else b"\r\nallow: GET") in head
        assert rest == b""
    status, rest = send(server, "DELETE", "/health", "Host: x")
    assert (status, json.loads(rest)["error"]["message"].rpartition("expected ")[2]) == (405, "GET, HEAD")


HALF = f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(BODY)}\r\n\r\n".encode() + BODY
GET = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n"


def half_closed(server: Server, *parts: bytes, pause: float = 0.0) -> bytes:
    """Send, close our side, and read to the end."""
    with raw(server.port, *parts, pause=pause) as connection:
        connection.shutdown(socket.SHUT_WR)
        begun = time.monotonic()
        found = read(connection)
        assert time.monotonic() - begun < 2  # closed at once, not by a deadline
    return found


def test_a_client_that_closes_its_side_gets_its_answer(server: Server) -> None:
    for _ in range(20):
        answer = half_closed(server, HALF)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert "强烈利好".encode() in answer
    assert half_closed(server, HALF.replace(b"HTTP/1.1", b"HTTP/1.0")).startswith(b"HTTP/1.1 200 ")
    assert (
        half_closed(server, HALF.replace(b"Host: localhost", b"Host: localhost\r\nConnection: close")).count(b"HTTP/1.1 200 ")
        == 1
    )
    assert half_closed(server, HALF[:40], HALF[40:150], HALF[150:], pause=0.05).startswith(b"HTTP/1.1 200 ")


def test_requests_in_a_row_are_all_answered_before_the_end(server: Server) -> None:
    answer = half_closed(server, HALF + GET + HALF + b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.count(b"HTTP/1.1 200 OK") == 4
    assert answer.endswith(b'{"status":"ok"}')
    answer = half_closed(server, HALF * 30)
    assert answer.count("强烈利好".encode()) == 30


def test_half_a_request_is_refused_and_the_connection_closed(server: Server) -> None:
    in_flight = figure(server, "embtune_requests_in_flight")
    for cut in (1, 3, 30, len(HALF) - len(BODY) - 1, len(HALF) - len(BODY), len(HALF) - 1):
        answer = half_closed(server, HALF[:cut])
        assert answer.startswith(b"HTTP/1.1 400 "), cut
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "bad_request"
    answer = half_closed(server, HALF + HALF[:100])
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.count(b"HTTP/1.1 400 ") == 1
    assert half_closed(server) == b""
    with raw(server.port, GET) as connection:
        found = b""
        while not found.endswith(b"}]}"):
            found += connection.recv(65536)
        connection.shutdown(socket.SHUT_WR)
        assert read(connection) == b""
    wait_for(lambda: figure(server, "embtune_requests_in_flight") == in_flight)


def test_who_waits_long_on_a_half_closed_connection_is_answered_and_who_has_gone_is_not() -> None:
    texts = json.dumps({"texts": [GOOD] * 5}).encode()
    request = f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(texts)}\r\n\r\n".encode() + texts
    with serving(BUNDLE, first=SLOW.format(seconds=1)) as server, ThreadPoolExecutor(2) as pool:
        asked = pool.submit(label, server.port)
        wait_for(lambda: figure(server, "embtune_requests_in_flight") == 2)
        waiting = pool.submit(half_closed_slowly, server, HALF)
        for _ in range(3):
            with raw(server.port, request):
                wait_for(lambda: figure(server, "embtune_queued_texts") >= 5)
            wait_for(lambda: figure(server, "embtune_queued_texts") <= 1, 0.6)
        assert asked.result() == "强烈利好"
        answer = waiting.result()
        assert answer.rpartition(b"HTTP/1.1 ")[2].startswith(b"200 OK")
        assert "强烈利好".encode() in answer
        assert figure(server, 'embtune_texts_total{model="finance"}') == 2


def half_closed_slowly(server: Server, request: bytes) -> bytes:
    with raw(server.port, request) as connection:
        connection.shutdown(socket.SHUT_WR)
        return read(connection)
