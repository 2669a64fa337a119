"""A reader of pickles that can do nothing but build plain values: it imports nothing, calls nothing and sets no attribute.

Python's own unpickler calls what the file names. This one knows the opcodes that arrays are saved with, and hands the few
names that its subclass declares to methods of that subclass, as strings. Memory is bounded by the file: long strings stay in
the file until somebody asks for them, and the number of steps is limited, so that what is built of small values stays under
about 128 MB.
"""

from __future__ import annotations

from typing import IO, Any

from paddlenlp_embtune.utils.pickles.opcodes import find_step
from paddlenlp_embtune.utils.pickles.stack import PickleStack
from paddlenlp_embtune.utils.pickles.values import PickleError, Span

__all__ = ["MAX_STEPS", "PickleReader"]

MAX_STEPS = 1_000_000
"""Opcodes that are followed in one file; an array takes about 40."""


class PickleReader(PickleStack):
    """Follows the opcodes of one pickle.

    Subclasses say which names it may import (``GLOBALS``), and what a call of one of them gives (``call``).

    Args:
        stream: at the beginning of the pickle; it must be able to seek.
        size: bytes that the stream has from there on.
    """

    def __init__(self, stream: IO[bytes], size: int) -> None:
        super().__init__(stream, size)
        self._steps = 0

    def load(self) -> Any:
        """Follow the pickle to its end.

        Returns:
            Plain values, what :meth:`call` gave, and :class:`Span` for long strings. Lists and dictionaries may hold each other
            or themselves, and may nest as deep as the file is long.
        Raises:
            PickleError: see there.
        """
        try:
            while (code := self._stream.read(1)) != b".":
                self.charge(1)
                find_step(code)(self)
            return self._stack.pop()
        except IndexError:
            raise PickleError("it takes more values than it has put down") from None
        except KeyError as fault:
            raise PickleError(f"it takes value {fault}, which it has not put away") from None
        except UnicodeDecodeError as fault:
            raise PickleError(f"a text in it is not UTF-8: {fault.reason}") from None

    def charge(self, steps: int) -> None:
        """Count work that grows with the values and not with the file.

        Raises:
            PickleError: it was more than ``MOST_STEPS`` in all.
        """
        self._steps += steps
        if self._steps > MAX_STEPS:
            raise PickleError(f"it has more than {MAX_STEPS:,} steps; arrays take about 40 each")

    def content(self, value: Any) -> Any:
        """Return a string that may have stayed in the file.

        Raises:
            PickleError: the file has changed, or the string is not what it says.
        """
        if type(value) is not Span:
            return value
        back = self._stream.tell()
        self._stream.seek(value.start)
        raw = self._stream.read(value.size)
        self._stream.seek(back)
        if len(raw) != value.size:
            raise PickleError("it ends within a string")
        return raw if value.decode is None else value.decode(raw)
