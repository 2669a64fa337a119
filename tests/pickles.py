"""A pickle that must not be read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


class Bomb:
    """Makes a file when it is unpickled, or without one fails the test."""

    def __init__(self, target: Path | None = None) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return (pytest.fail, ("something was unpickled",)) if self.target is None else (Path.touch, (self.target,))
