"""The protocol in this process: what a connection leaves behind."""

from __future__ import annotations

import asyncio
import gc
import socket
import struct
import weakref
from typing import Any

from uvicorn.server import ServerState

from paddlenlp_embtune.server._protocol import DeadlineConfig, DeadlineProtocol
from tests.server.client import raw


async def answer(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def ask_and_reset(port: int) -> None:
    with raw(port, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n") as found:
        assert found.recv(1_000).startswith(b"HTTP/1.1 200 ")
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_a_connection_that_was_reset_leaves_nothing() -> None:
    config = DeadlineConfig(answer, read_seconds=60, idle_seconds=60, log_config=None, log_level="error")
    config.load()
    count = [0]
    made: weakref.WeakSet[DeadlineProtocol] = weakref.WeakSet()

    def connection() -> DeadlineProtocol:
        count[0] += 1
        made.add(found := DeadlineProtocol(config, ServerState(), {}))
        return found

    async def test() -> None:
        async with await asyncio.get_running_loop().create_server(connection, "127.0.0.1", 0) as server:
            for _ in range(5):
                await asyncio.to_thread(ask_and_reset, server.sockets[0].getsockname()[1])
            for _ in range(100):
                gc.collect()
                if not made:
                    break
                await asyncio.sleep(0.02)
        assert count == [5]
        assert not list(made)

    asyncio.run(test())
