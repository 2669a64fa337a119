"""Responses as JSON, and the one shape of every error."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from starlette.exceptions import HTTPException
from starlette.responses import Response

__all__ = ["embeddings_of", "error_response", "http_error", "json_response", "plain_vectors"]


def json_response(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a JSON response; Chinese stays readable, and a lone surrogate becomes an escape, which JSON allows."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Response(text.encode("utf-8", "backslashreplace"), status, headers, "application/json")


def plain_vectors(vectors: npt.NDArray[np.float32]) -> list[list[float]]:
    """Return (N, d) float32 vectors of length 1 as lists, to nine decimals, which is what float32 holds of most values."""
    found: list[list[float]] = np.round(vectors.astype(np.float64), 9).tolist()
    return found


def embeddings_of(vectors: npt.NDArray[np.float32], *, model: str, encoding: str, tokens: int) -> dict[str, Any]:
    """Return (N, d) float32 vectors in the form that OpenAI's clients read.

    Args:
        vectors: of the texts.
        model: its name.
        encoding: ``float``, or ``base64`` of little-endian float32.
        tokens: of all texts together.
    """
    shown: list[Any]
    if encoding == "base64":
        shown = [base64.b64encode(np.ascontiguousarray(row, dtype="<f4").tobytes()).decode() for row in vectors]
    else:
        shown = plain_vectors(vectors)
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": index, "embedding": each} for index, each in enumerate(shown)],
        "model": model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


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
