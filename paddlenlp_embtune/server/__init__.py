"""The HTTP server behind ``embtune serve``: bundles over HTTP, without Paddle. Needs the extra ``serve``, when it is used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from paddlenlp_embtune.errors import MissingDependencyError

if TYPE_CHECKING:
    from paddlenlp_embtune.server.app import create_app
    from paddlenlp_embtune.server.run import serve
    from paddlenlp_embtune.server.settings import ServerSettings

__all__ = ["ServerSettings", "create_app", "serve"]

_LAZY = {"ServerSettings": "settings", "create_app": "app", "serve": "run"}
_OPTIONAL = ("fastapi", "h11", "prometheus_client", "pydantic", "starlette", "uvicorn")


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = importlib.import_module(f"{__name__}.{_LAZY[name]}")
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _OPTIONAL:
            raise
        raise MissingDependencyError(
            f'the server needs {missing}, which is not installed; install it with: pip install "paddlenlp-embtune[serve]"'
        ) from None
    return getattr(module, name)
