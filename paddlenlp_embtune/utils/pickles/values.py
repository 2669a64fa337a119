"""What a pickle is made of here, beside plain values: names that it imports, and long strings that stay in the file."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

__all__ = ["Global", "PickleError", "Span", "printable"]

PickleError = pickle.UnpicklingError
"""Raised where a pickle is damaged, or asks for more than plain values and the names that its reader knows."""


class Global:
    """Stands for a name that the pickle imports; nothing can be done with it but hand it back."""

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
        decode: turns the bytes of the file into the value; None where they are the value.
    """

    __slots__ = ("decode", "size", "start")

    def __init__(self, start: int, size: int, decode: Callable[[bytes], Any] | None = None) -> None:
        self.start, self.size, self.decode = start, size, decode

    def __repr__(self) -> str:
        return f"a string of {self.size:,} bytes"


def printable(name: str) -> str:
    """Return a name for a message: 100 characters at most, ``?`` for those that cannot be printed."""
    return "".join(letter if letter.isprintable() else "?" for letter in name[:100])
