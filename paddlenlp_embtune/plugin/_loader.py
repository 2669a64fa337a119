"""What loads the plugins: given by the package's ``__init__``, so that no room needs to know who puts them together."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from paddlenlp_embtune.errors import EmbtuneError

if TYPE_CHECKING:
    from paddlenlp_embtune.plugin.registry import Registry

__all__ = ["load", "provide"]

_loader: Callable[..., Registry] | None = None


def provide(loader: Callable[..., Registry]) -> None:
    """Set what makes a registry; the package's ``__init__`` does it once.

    Args:
        loader: takes the keyword arguments of :func:`paddlenlp_embtune.plugin.manager.load`.
    """
    global _loader
    _loader = loader


def load(**options: Any) -> Registry:
    """Make a registry with the loader that was provided: the built-in features, and the plugins that the options name.

    Args:
        options: see :func:`paddlenlp_embtune.plugin.manager.load`.
    """
    if _loader is None:
        raise EmbtuneError("no plugins can be loaded before the package paddlenlp_embtune is imported; import it first")
    return _loader(**options)
