"""Middleware: metrics, the access log and a response to unexpected errors; then the token."""

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
    """Counts requests, logs them if the settings say so, and responds where an unexpected error ended one.

    A line of the log is JSON with the route, but without the texts and the path, which may hold anything.
    """

    def __init__(self, app: ASGIApp, *, service: Service) -> None:
        self.app = app
        self._service = service
        self._metrics = service.metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count and log a request around the application, and answer it if the application failed."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status, begun = 0, time.perf_counter()

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._metrics.in_flight.inc()
        try:
            await self.app(scope, receive, noting)
        except asyncio.CancelledError:
            # uvicorn cancels what is left when the time for an orderly shutdown is over.
            if status or self._service.state != "shutting down":
                raise
            response = error_response(
                503, "shutting_down", "the server was stopped before it could answer; send the request to another one"
            )
            await response(scope, receive, noting)
        except Exception as error:
            log_failure("a request failed", error)
            if status:
                raise
            response = error_response(500, "internal", "the server failed on this request; its log says where")
            await response(scope, receive, noting)
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
    """Requires the token where the server has one, except for /health and /ready."""

    def __init__(self, app: ASGIApp, *, token: str | None, service: Service) -> None:
        self.app = app
        self._token = token.encode() if token is not None else None
        self._metrics = service.metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 401."""
        protected = self._token is not None and scope["type"] == "http" and scope["path"] not in OPEN_PATHS
        if not protected or self._is_authorized(scope):
            await self.app(scope, receive, send)
            return
        self._metrics.refused.labels("unauthorized").inc()
        message = "the request has no token, or a wrong one; send the header Authorization: Bearer TOKEN"
        response = error_response(401, "unauthorized", message, headers={"WWW-Authenticate": "Bearer"})
        await response(scope, receive, send)

    def _is_authorized(self, scope: Scope) -> bool:
        assert self._token is not None
        scheme, _, found = Headers(scope=scope).get("authorization", "").partition(" ")
        # Compared in constant time, so that response times do not reveal the token.
        return hmac.compare_digest(found.strip().encode("latin-1"), self._token) and scheme.lower() == "bearer"


def record_refusal(service: Service, *, status: int, code: str, client: str, under_way: bool) -> None:
    """Count and log a request that was refused before it reached the application: not HTTP, or too slow.

    If the application is handling the request already, it logs it itself, as one whose client has gone (499); then only the
    refusal is counted here.
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
