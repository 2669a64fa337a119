"""Reading a request: its body up to a limit, as strict JSON, and its fields."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NoReturn

from starlette.types import Receive

from paddlenlp_embtune.errors import DataError, expected_names
from paddlenlp_embtune.server._responses import http_error
from paddlenlp_embtune.server.settings import ServerSettings
from paddlenlp_embtune.utils.json_yaml import parse_json

__all__ = ["EmbedRequest", "ParsedRequest", "parse_embed", "parse_embeddings", "parse_request", "read_body"]

_KINDS = {str: "a string", bool: "a boolean", int: "a number", float: "a number", list: "a list", dict: "an object"}
_KEYS = ("text", "texts", "scores")
_EMBED_KEYS = ("text", "texts", "dimensions")
_OPENAI_KEYS = ("input", "model", "dimensions", "encoding_format", "user")
_ENCODINGS = ("float", "base64")


@dataclasses.dataclass(frozen=True)
class ParsedRequest:
    """The fields of a request: texts, and whether the response has the scores of all labels."""

    texts: list[str]
    scores: bool


@dataclasses.dataclass(frozen=True)
class EmbedRequest:
    """The fields of a request for sentence vectors.

    Args:
        texts: to embed.
        dimensions: how many values are kept; None for all.
        model: its name; of a request to ``/v1/embeddings``.
        encoding: ``float``, or ``base64`` of little-endian float32.
    """

    texts: list[str]
    dimensions: int | None
    model: str = ""
    encoding: str = "float"


async def read_body(headers: Mapping[str, str], receive: Receive, *, limit: int) -> bytes:
    """Read a body, and stop at the limit.

    Raises:
        HTTPException: 413 it is too large, 415 it is compressed, 499 the client went away.
    """
    encoding = headers.get("content-encoding", "identity")
    if encoding.strip().lower() != "identity":
        raise http_error(
            415, "compressed_body", f"the body is encoded with {encoding!r}; send it uncompressed, without Content-Encoding"
        )
    stated = headers.get("content-length", "")
    if stated.isdecimal() and int(stated) > limit:
        raise _too_large(f"{int(stated):,}", limit)
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise http_error(499, "client_gone", "the client closed the connection before the request was complete")
        part, more = message.get("body", b""), message.get("more_body", False)
        if (size := size + len(part)) > limit:
            raise _too_large(f"more than {limit:,}", limit)
        parts.append(part)
    return b"".join(parts)


def parse_request(body: bytes, settings: ServerSettings) -> ParsedRequest:
    """Parse and check a body.

    Raises:
        HTTPException: 400 it is not JSON, 422 a field is not valid.
    """
    value = _parse_object(body, _KEYS, example='{"texts": ["..."]}')
    scores = value.get("scores", False)
    texts = _texts_of(value, settings)
    if not isinstance(scores, bool):
        _refuse(f"scores is {_kind(scores)}; expected true or false")
    return ParsedRequest(texts, scores)


def parse_embed(body: bytes, settings: ServerSettings) -> EmbedRequest:
    """Parse and check the body of a request for sentence vectors.

    Raises:
        HTTPException: 400 it is not JSON, 422 a field is not valid.
    """
    value = _parse_object(body, _EMBED_KEYS, example='{"texts": ["..."]}')
    return EmbedRequest(_texts_of(value, settings), _dimensions_of(value))


def parse_embeddings(body: bytes, settings: ServerSettings) -> EmbedRequest:
    """Parse and check the body of a request in the form of OpenAI's clients: ``input`` is a text or a list of texts.

    Raises:
        HTTPException: 400 it is not JSON, 422 a field is not valid.
    """
    value = _parse_object(body, _OPENAI_KEYS, example='{"model": "NAME", "input": ["..."]}')
    model, encoding = value.get("model"), value.get("encoding_format") or "float"
    given: Any = value.get("input")
    single = isinstance(given, str)
    texts = [given] if single else given
    if isinstance(texts, list) and any(isinstance(item, (int, list)) and not isinstance(item, bool) for item in texts):
        _refuse("input holds token ids; expected texts: this server's tokens are not those of the client")
    _check_texts(texts, settings, name="input", single=single)
    if not isinstance(model, str):
        _refuse(f"model is {_kind(model)}; expected the name of a model, as GET /v1/models lists them")
    if encoding not in _ENCODINGS:
        _refuse(f"encoding_format is {_kind(encoding)}; expected float or base64")
    return EmbedRequest(texts, _dimensions_of(value), model, encoding)


def _parse_object(body: bytes, keys: tuple[str, ...], *, example: str) -> dict[str, Any]:
    try:
        value = parse_json(body.decode("utf-8-sig"), "the body", error=DataError)
    except UnicodeDecodeError as error:
        raise http_error(
            400, "malformed_json", f"the body is not UTF-8: byte {error.start} is {body[error.start]:#04x}"
        ) from None
    except DataError as error:
        message = str(error).removesuffix("; correct it, or write it again").replace("is not valid JSON", "is not JSON")
        if "nests deeper" in message:
            message = "the body is not usable JSON: it is nested too deeply"
        raise http_error(400, "malformed_json", f"{message}; send {example}") from None
    if not isinstance(value, dict):
        _refuse(f"the body is {_kind(value)}; expected an object, {example}")
    for key in value:
        if key not in keys:
            _refuse(f"the body has no key {key[:100]!r}; {expected_names(key[:100], keys)}")
    return value


def _texts_of(value: Mapping[str, Any], settings: ServerSettings) -> list[str]:
    single = value.get("text") is not None
    if single == (value.get("texts") is not None):
        _refuse("the body must hold either texts, a list of strings, or text, one string")
    texts = [value["text"]] if single else value["texts"]
    _check_texts(texts, settings, name="text" if single else "texts", single=single)
    return list(texts)


def _dimensions_of(value: Mapping[str, Any]) -> int | None:
    dimensions = value.get("dimensions")
    if dimensions is not None and (isinstance(dimensions, bool) or not isinstance(dimensions, int) or dimensions < 1):
        shown = dimensions if isinstance(dimensions, int) and not isinstance(dimensions, bool) else _kind(dimensions)
        _refuse(f"dimensions is {shown}; expected a whole number of 1 or more, or null")
    return dimensions


def _check_texts(texts: Any, settings: ServerSettings, *, name: str, single: bool) -> None:
    if not isinstance(texts, list):
        _refuse(f"{name} is {_kind(texts)}; expected a list of strings")
    if len(texts) > settings.max_texts:
        _refuse(f"{name} holds {len(texts):,} texts; expected at most {settings.max_texts:,}; send them in several requests")
    for index, text in enumerate(texts):
        where = name if single else f"{name}[{index}]"
        if not isinstance(text, str):
            _refuse(f"{where} is {_kind(text)}; expected a string")
        if len(text) > settings.max_characters:
            _refuse(f"{where} has {len(text):,} characters; expected at most {settings.max_characters:,}; send a part of it")


def _refuse(message: str) -> NoReturn:
    raise http_error(422, "invalid_request", message)


def _too_large(size: str, limit: int) -> Exception:
    message = f"the body has {size} bytes; expected at most {limit:,}; send its texts in several requests"
    return http_error(413, "body_too_large", message)


def _kind(value: Any) -> str:
    """Name the type of a value as JSON does; the value itself is private, and may be long."""
    return "null" if value is None else _KINDS[type(value)]
