"""Responses as JSON, and the one shape of every error."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

__all__ = ["error_response", "http_error", "json_response"]


def json_response(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a JSON response; Chinese stays readable, and a lone surrogate becomes an escape, which JSON allows."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Response(text.encode("utf-8", "backslashreplace"), status, headers, "application/json")


def error_response(status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None) -> Response:
    """Return an error response.

    Args:
        status: of HTTP.
        code: one word for programs.
        message: for people: what is wrong, with the value, what is expected, and the next step.
        headers: further headers.
    """
    return json_response({"error": {"code": code, "message": message}}, status=status, headers=headers)


def http_error(status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None) -> HTTPException:
    """Return an exception that the application answers with :func:`error_response`."""
    return HTTPException(status, {"code": code, "message": message}, dict(headers or {}))  # type: ignore[arg-type]
