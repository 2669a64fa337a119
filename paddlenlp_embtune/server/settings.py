"""The settings of a server: validated once, and passed to worker processes as JSON."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.utils.json_yaml import parse_json, shorten
from paddlenlp_embtune.utils.run_layout import BUNDLE
from paddlenlp_embtune.utils.schema import MAX_COUNT, build, check_types, require_at_most, to_plain

__all__ = ["TOKEN_VARIABLE", "ServerSettings", "host_name", "named_bundles", "read_token"]

TOKEN_VARIABLE = "EMBTUNE_TOKEN"  # noqa: S105 - the name of a variable

_HOST = re.compile(r"[0-9a-zA-Z._-]+|\[?[0-9a-fA-F:.]+\]?")
_NAME = re.compile(r"\w[\w.-]{0,63}")
_MOST = {"workers": 1_024, "batch_threads": 1_024, "max_body_bytes": 2**40}
_LEAST = {
    "port": 0,
    "workers": 1,
    "batch_threads": 1,
    "max_batch_texts": 1,
    "max_wait_ms": 0,
    "max_queued_texts": 1,
    "max_body_bytes": 1,
    "max_texts": 1,
    "max_characters": 1,
    "max_concurrency": 1,
    "request_timeout_seconds": 0.001,
    "read_timeout_seconds": 0.001,
    "keep_alive_seconds": 0.001,
    "shutdown_timeout_seconds": 0,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """The settings of a server, except for the token itself.

    Args:
        models: folders of bundles by the names that they are served under; one or more.
        predictor: options for :class:`~paddlenlp_embtune.inference.Predictor`, the same for every model; its ``num_threads``
            are for each of the ``batch_threads``.
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        workers: processes.
        allowed_hosts: names, beside its address and ``localhost``, that requests may give as their host where the server
            has no token; without a port. With a token, every name is accepted.
        token_file: file with the token that clients must send; None takes the variable ``EMBTUNE_TOKEN``, if it is set.
        access_log: log one line for every request; never its texts.
        batch_threads: batches that run at the same time in one process.
        max_batch_texts: texts that are collected into one batch; a larger request is a batch of its own.
        max_wait_ms: with two ``batch_threads`` or more, how long a batch waits for more texts while another one runs; an idle
            server never waits.
        max_queued_texts: texts that may wait for a batch in one process; beyond, requests are refused with 503.
        max_body_bytes: size of a request's body.
        max_texts: texts of one request, at most ``max_queued_texts``.
        max_characters: characters of one text.
        max_concurrency: requests for predictions under way in one process; beyond, they are refused with 503.
        request_timeout_seconds: a request that is not answered by then is refused with 504.
        read_timeout_seconds: within which the head and the body of a request must be complete.
        keep_alive_seconds: how long a connection may stay open between requests, or with a response that is not read.
        shutdown_timeout_seconds: how long requests may take to finish when the server stops.
    Raises:
        RecipeError: a value is not valid.
    """

    models: Mapping[str, str]
    predictor: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    allowed_hosts: tuple[str, ...] = ()
    token_file: str | None = None
    access_log: bool = False
    batch_threads: int = 1
    max_batch_texts: int = 64
    max_wait_ms: float = 2.0
    max_queued_texts: int = 10_000
    max_body_bytes: int = 1 << 20
    max_texts: int = 1_000
    max_characters: int = 100_000
    max_concurrency: int = 1_024
    request_timeout_seconds: float = 30.0
    read_timeout_seconds: float = 10.0
    keep_alive_seconds: float = 10.0
    shutdown_timeout_seconds: int = 30

    def __post_init__(self) -> None:
        check_types(self, where="server", error=RecipeError)
        for name, least in _LEAST.items():
            if not (value := getattr(self, name)) >= least:
                raise RecipeError(f"{name} is {value}; expected {least} or more")
            require_at_most(name, value, _MOST.get(name, MAX_COUNT))
        if self.port > 65_535:
            raise RecipeError(f"port is {self.port}; expected 0 to 65535")
        if self.max_texts > self.max_queued_texts:
            raise RecipeError(
                f"max_texts is {self.max_texts}, more than max_queued_texts, {self.max_queued_texts}: a request of that size "
                "could never be queued; lower the one or raise the other"
            )
        for host in self.allowed_hosts:
            if not _HOST.fullmatch(host) or not host_name(host):
                raise RecipeError(
                    f"allowed_hosts holds {host[:100]!r}; expected a name or an address without scheme, port or path, such as "
                    "models.example.com; write other letters as xn--..."
                )
        object.__setattr__(self, "allowed_hosts", tuple(map(host_name, self.allowed_hosts)))
        if not self.models:
            raise RecipeError("models is empty; name one bundle or more")
        for name in self.models:
            if not _NAME.fullmatch(name):
                raise RecipeError(
                    f"a model cannot be named {shorten(name)}; expected letters, digits and '_', then also '.' and '-', at "
                    "most 64; name it with NAME=PATH"
                )

    def to_json(self) -> str:
        """Write the settings as JSON."""
        return json.dumps(to_plain(self))

    @classmethod
    def from_json(cls, text: str) -> ServerSettings:
        """Read what :meth:`to_json` wrote.

        Raises:
            RecipeError: it is something else.
        """
        return build(cls, parse_json(text, "the server's settings", error=RecipeError), where="server", error=RecipeError)


def host_name(text: str) -> str:
    """Normalize a host's name or address: lower case, no dot at the end, no brackets, addresses in their short form."""
    name = text.lower().removeprefix("[").removesuffix("]").removesuffix(".")
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name


def named_bundles(arguments: Iterable[str]) -> dict[str, str]:
    """Read ``NAME=PATH`` or ``PATH``, which is named by its folder: ``runs/x`` and ``runs/x/bundle`` are both ``x``.

    Raises:
        RecipeError: two bundles have one name.
    """
    bundles: dict[str, str] = {}
    for argument in arguments:
        name, equals, path = argument.partition("=")
        if not equals or Path(argument).exists():
            name, path = "", argument
        folder = Path(path).absolute()  # not resolved: a link may point to another bundle by the next reload
        if not name:
            parts = Path(os.path.normpath(folder))
            name = parts.parent.name if parts.name == BUNDLE else parts.name
        if name in bundles:
            raise RecipeError(f"two bundles are named {name!r}, {bundles[name]} and {folder}; name them with NAME=PATH")
        bundles[name] = str(folder)
    return bundles


def read_token(settings: ServerSettings) -> str | None:
    """Read the token that clients must send, from the file of the settings or the variable ``EMBTUNE_TOKEN``.

    Raises:
        RecipeError: there is one, but it cannot be used.
        OSError: the file cannot be read.
    """
    if settings.token_file is not None:
        where = f"the token in {settings.token_file}"
        token = Path(settings.token_file).read_text(encoding="utf-8", errors="replace").strip()
    elif TOKEN_VARIABLE in os.environ:
        where, token = f"the token in {TOKEN_VARIABLE}", os.environ[TOKEN_VARIABLE].strip()
    else:
        return None
    if not re.fullmatch(r"[!-~]+", token):
        raise RecipeError(f"{where} is empty or holds blanks or characters beyond ASCII; expected one word of visible ASCII")
    return token
