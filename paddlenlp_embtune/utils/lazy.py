"""Lazy exports: a package imports its modules when one of their names is first used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

__all__ = ["lazy_exports"]


def lazy_exports(
    package: str,
    names: Mapping[str, str],
    *,
    modules: Iterable[str] = (),
    missing: Callable[[ModuleNotFoundError], Exception | None] | None = None,
) -> tuple[list[str], Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__all__``, ``__getattr__`` and ``__dir__`` for a package that imports its modules on first use (PEP 562).

    Type checkers need the same names in imports under ``TYPE_CHECKING``; a test compares the two.

    Args:
        package: the package's ``__name__``.
        names: for each of its modules, relative to it, the names that the package exports, separated by spaces.
        modules: its modules that are public as a whole.
        missing: makes the exception to raise if an import fails because a package is not installed; None re-raises.
    Returns:
        ``__all__``, ``__getattr__`` and ``__dir__``, to be assigned in the package's ``__init__``.
    """
    homes = {name: module for module, public in names.items() for name in public.split()}
    whole = frozenset(modules)
    public = sorted({*homes, *whole})

    def __getattr__(name: str) -> Any:  # noqa: N807 - it becomes the package's
        if name in whole:
            return importlib.import_module(f"{package}.{name}")
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            value = getattr(importlib.import_module(f"{package}.{homes[name]}"), name)
        except ModuleNotFoundError as error:
            if missing is not None and (instead := missing(error)) is not None:
                raise instead from None
            raise
        setattr(sys.modules[package], name, value)
        return value

    def __dir__() -> list[str]:  # noqa: N807
        return sorted({*vars(sys.modules[package]), *public})

    return public, __getattr__, __dir__
