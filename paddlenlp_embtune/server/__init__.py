"""The HTTP server behind ``embtune serve``: bundles over HTTP, without Paddle. Needs the extra ``serve``, when it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paddlenlp_embtune.errors import MissingDependencyError
from paddlenlp_embtune.utils.lazy import lazy_exports

_OPTIONAL = ("fastapi", "h11", "prometheus_client", "pydantic", "starlette", "uvicorn")


def _missing(error: ModuleNotFoundError) -> Exception | None:
    """Name the extra to install where a package of the server is missing; None for any other module."""
    package = (error.name or "").partition(".")[0]
    if package not in _OPTIONAL:
        return None
    return MissingDependencyError(
        f'the server needs {package}, which is not installed; install it with: pip install "paddlenlp-embtune[serve]"'
    )


if TYPE_CHECKING:
    from paddlenlp_embtune.server.app import create_app as create_app
    from paddlenlp_embtune.server.lifecycle import serve as serve
    from paddlenlp_embtune.server.settings import ServerSettings as ServerSettings, named_bundles as named_bundles
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "app": "create_app",
            "lifecycle": "serve",
            "settings": "ServerSettings named_bundles",
        },
        missing=_missing,
    )
