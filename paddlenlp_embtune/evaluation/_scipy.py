"""scipy, imported where it is used: serving and reading reports do without it."""

from __future__ import annotations

import importlib
from typing import Any

from paddlenlp_embtune.errors import MissingDependencyError

__all__ = ["import_scipy"]


def import_scipy(part: str, *, what: str) -> Any:
    """Import a part of scipy, such as ``optimize``.

    Args:
        part: name of the module in scipy.
        what: what it is needed for, for the message.
    Raises:
        MissingDependencyError: scipy is not installed.
    """
    try:
        return importlib.import_module(f"scipy.{part}")
    except ModuleNotFoundError:
        raise MissingDependencyError(
            f'{what} needs scipy; install it with: pip install "paddlenlp-embtune[cpu]", or: pip install scipy'
        ) from None
