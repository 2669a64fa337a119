"""Stack values of a pickle other than plain values: imported names, and long strings that stay in the file."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

__all__ = ["Global", "PickleError", "Span", "printable"]

PickleError = pickle.UnpicklingError
"""Raised if a pickle is damaged, or contains more than plain values and the names that its reader supports."""


class Global:
    """A placeholder for a name that the pickle imports; it can only be passed back."""

    __slots__ = ("name", "role")

    def __init__(self, role: str, name: str) -> None:
        self.role, self.name = role, name

    def __repr__(self) -> str:
        return printable(self.name)


class Span:
    """A long string that stays in the file.

    Args:
        start: its first byte.
        size: in bytes.
        decode: converts the bytes of the file to the value; None if they are the value.
    """

    __slots__ = ("decode", "size", "start")

    def __init__(self, start: int, size: int, decode: Callable[[bytes], Any] | None = None) -> None:
        self.start, self.size, self.decode = start, size, decode

    def __repr__(self) -> str:
        return f"a string of {self.size:,} bytes"


def printable(name: str) -> str:
    """Return a name for a message: at most 100 characters, with ``?`` for unprintable ones."""
    return "".join(letter if letter.isprintable() else "?" for letter in name[:100])
