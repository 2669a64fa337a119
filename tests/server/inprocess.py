"""An application in the process of its tests, and a client of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI

from paddlenlp_embtune.builtin import FINANCE
from paddlenlp_embtune.server import ServerSettings
from tests.server.client import PREDICT


def settings(**values: Any) -> ServerSettings:
    """Settings that serve the finance bundle."""
    return ServerSettings(**{"models": {"finance": str(FINANCE / "bundle")}, "predictor": {"num_threads": 1}, **values})


@asynccontextmanager
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Start an application, and stop it in the end."""
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://test") as found:
        yield found


def run(app: FastAPI, test: Callable[[httpx.AsyncClient], Awaitable[Any]]) -> Any:
    """Run a test's coroutine with a client of a running application."""

    async def inside() -> Any:
        async with client(app) as found:
            return await asyncio.wait_for(test(found), 20)

    return asyncio.run(inside())


def ask(app: FastAPI, path: str = PREDICT, method: str | None = None, **options: Any) -> httpx.Response:
    """Send one request: POST if it has a body."""
    if "json" in options:
        options["content"] = json.dumps(options.pop("json"))  # httpx's own cannot write a lone surrogate
    method = method or ("POST" if "content" in options else "GET")
    found: httpx.Response = run(app, lambda http: http.request(method, path, **options))
    return found


def error(answer: httpx.Response) -> tuple[int, str, str]:
    """Take a failure apart, after checking its shape: status, code and message."""
    assert list(answer.json()) == ["error"]
    detail = answer.json()["error"]
    assert list(detail) == ["code", "message"]
    return answer.status_code, detail["code"], detail["message"]
