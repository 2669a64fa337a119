"""What every request passes: counting, the access log and a last answer to errors; then the token."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import time
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from paddlenlp_embtune.server._responses import error_response
from paddlenlp_embtune.server._same_origin import OPEN_PATHS
from paddlenlp_embtune.server._service import Service, log_failure

__all__ = ["MetricsMiddleware", "TokenMiddleware", "record_refusal"]

_access = logging.getLogger("paddlenlp_embtune.server.access")


class MetricsMiddleware:
    """Counts requests, logs them if the settings say so, and answers those that something unforeseen has ended.

    A line of the log is JSON: the route, but neither the texts nor the path, which may hold anything.
    """

    def __init__(self, app: ASGIApp, *, service: Service) -> None:
        self.app = app
        self._service = service
        self._metrics = service.metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status, begun = 0, time.perf_counter()

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._metrics.in_flight.inc()
        try:
            await self.app(scope, receive, watched)
        except asyncio.CancelledError:
            # uvicorn cancels what is left when the time for an orderly shutdown is over.
            if status or self._service.state != "shutting down":
                raise
            response = error_response(503, "shutting_down", "the server was stopped before it could answer; ask another one")
            await response(scope, receive, watched)
        except Exception as error:
            log_failure("a request failed", error)
            if status:
                raise
            response = error_response(500, "internal", "the server failed on this request; its log says where")
            await response(scope, receive, watched)
        finally:
            self._metrics.in_flight.dec()
            self._note(scope, status, time.perf_counter() - begun)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        self._metrics.requests.labels(route, str(status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        if self._service.settings.access_log:
            _log_access(
                client=(scope.get("client") or ("",))[0],
                method=scope["method"],
                route=route,
                model=scope.get("path_params", {}).get("name") if status != 404 else None,
                status=status,
                seconds=round(seconds, 6),
            )


class TokenMiddleware:
    """Lets requests in that bring the token; without one everybody is let in, and always to /health and /ready."""

    def __init__(self, app: ASGIApp, *, token: str | None, service: Service) -> None:
        self.app = app
        self._token = token.encode() if token is not None else None
        self._metrics = service.metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        guarded = self._token is not None and scope["type"] == "http" and scope["path"] not in OPEN_PATHS
        if not guarded or self._is_let_in(scope):
            await self.app(scope, receive, send)
            return
        self._metrics.refused.labels("unauthorized").inc()
        message = "the request brings no token, or a wrong one; send the header Authorization: Bearer TOKEN"
        response = error_response(401, "unauthorized", message, headers={"WWW-Authenticate": "Bearer"})
        await response(scope, receive, send)

    def _is_let_in(self, scope: Scope) -> bool:
        assert self._token is not None
        scheme, _, found = Headers(scope=scope).get("authorization", "").partition(" ")
        # Compared in constant time, so that nobody can find the token byte by byte with a clock.
        return hmac.compare_digest(found.strip().encode("latin-1"), self._token) and scheme.lower() == "bearer"


def record_refusal(service: Service, *, status: int, code: str, client: str, under_way: bool) -> None:
    """Count and log what was refused before it reached the application: no HTTP, or too slow.

    If the application has the request in hand already, it notes the request itself, as one whose client has gone (499); here
    only the refusal is counted.
    """
    service.metrics.refused.labels(code).inc()
    if under_way:
        return
    service.metrics.requests.labels("unmatched", str(status)).inc()
    if service.settings.access_log:
        _log_access(client=client, method=None, route="unmatched", model=None, status=status, seconds=None)


def _log_access(**event: Any) -> None:
    event = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **event}
    _access.info("%s", json.dumps(event, ensure_ascii=True))
