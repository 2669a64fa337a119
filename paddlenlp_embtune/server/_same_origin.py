"""Middleware for servers without a token: it accepts only requests that no page of another site can have sent.

A browser on the machine of a server reaches it, and so does every page that the browser shows. Such a page can send requests
without a preflight (forms, images, ``fetch`` with a plain body), and its owner can point a name of their own at 127.0.0.1, so
that the page counts as same-site (DNS rebinding). The first kind has an ``Origin`` of another site, or ``Sec-Fetch-Site``; the
second has the owner's name as ``Host``. A token stops both, because no page knows it, and then nothing is checked here.
"""

from __future__ import annotations

import ipaddress
import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from paddlenlp_embtune.server._responses import error_response
from paddlenlp_embtune.server._service import Service
from paddlenlp_embtune.server.settings import ServerSettings, host_name

__all__ = ["OPEN_PATHS", "SameOriginMiddleware"]

OPEN_PATHS = frozenset({"/health", "/ready"})
"""Open to everybody: orchestrators call them by the address of a container, and they reveal nothing."""

_AUTHORITY = re.compile(r"(\[[0-9a-fA-F:.]+\]|[0-9a-zA-Z._-]+)(?::([0-9]{0,5}))?")
_EVERY_ADDRESS = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - compared with, not bound to
_PORTS = {"http": 80, "https": 443}
_OWN_SITE = frozenset({"same-origin", "none"})
# A page may send these without a preflight. The third such type, that of forms, is what curl -d sends: it is accepted, because
# a form cannot write JSON in it, and anything else that can sends an Origin.
_PLAIN = ("text/plain", "multipart/form-data")

_Refusal = tuple[int, str, str]


class SameOriginMiddleware:
    """Accepts requests that name this server as their host and that no page of another site has sent.

    Args:
        app: the next application.
        settings: the server's address, and the names that are allowed beside it.
        service: counts the refusals.
    """

    def __init__(self, app: ASGIApp, *, settings: ServerSettings, service: Service) -> None:
        self.app = app
        self._names = {"localhost", *settings.allowed_hosts}
        self._any_address = settings.host in _EVERY_ADDRESS
        if not self._any_address and (own := host_name(settings.host)):
            self._names.add(own)
        self._metrics = service.metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 403, 415 or 421."""
        refused = self._refusal(scope) if scope["type"] == "http" and scope["path"] not in OPEN_PATHS else None
        if refused is None:
            await self.app(scope, receive, send)
            return
        status, code, message = refused
        self._metrics.refused.labels(code).inc()
        await error_response(status, code, message)(scope, receive, send)

    def _refusal(self, scope: Scope) -> _Refusal | None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) > 1 or (hosts and not self._is_own(hosts[0], scope)):  # no browser leaves it out
            return (
                421,
                "unknown_host",
                (
                    f"the request names the host {', '.join(hosts)[:100]!r}, which is not this server's, and it has no "
                    "token; use the address that it listens on, or start it with --allowed-host NAME, or with a token"
                ),
            )
        host = _authority(hosts[0]) if hosts else None
        if not _is_of_own_site(headers, host):
            return (
                403,
                "cross_origin",
                (
                    "the request comes from a page of another site, and this server has no token; send it from a program or "
                    "from your own server, or start this one with a token"
                ),
            )
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if scope["method"] == "POST" and kind in _PLAIN:
            return 415, "plain_body", f"the body is of the type {kind}; send it with the header Content-Type: application/json"
        return None

    def _is_own(self, value: str, scope: Scope) -> bool:
        """Return whether a Host header names this server: by its address, by an allowed name, or by any of its addresses.

        An address cannot be rebound, so where the server listens on every address, each of them is accepted.
        """
        if (authority := _authority(value)) is None:
            return False
        name, _ = authority
        connected = (scope.get("server") or ("",))[0]
        if name in self._names or name == host_name(str(connected)):
            return True
        address = _address(name)
        return address is not None and (address.is_loopback or self._any_address)


def _is_of_own_site(headers: Headers, host: tuple[str, int | None] | None) -> bool:
    """Return whether a request is from a page of this site, or from no page at all."""
    if any(site.strip().lower() not in _OWN_SITE for site in headers.getlist("sec-fetch-site")):
        return False
    origins = headers.getlist("origin")
    if not origins:
        return True
    scheme, separator, rest = origins[0].strip().partition("://")
    origin = _authority(rest)
    default = _PORTS.get(scheme.lower())
    if len(origins) > 1 or not separator or default is None or origin is None or host is None:
        return False
    return (origin[0], origin[1] or default) == (host[0], host[1] or default)


def _authority(value: str) -> tuple[str, int | None] | None:
    """Split a host and its port; None if the value is neither a name nor an address, with or without a port."""
    found = _AUTHORITY.fullmatch(value.strip(" \t"))
    if found is None or not (name := host_name(found[1])):
        return None
    port = int(found[2]) if found[2] else None
    return None if port is not None and port > 65_535 else (name, port)


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
