"""A pickle reader that can only build plain values: it imports nothing, calls nothing and sets no attribute.

Python's own unpickler calls whatever the file names. This one supports only the opcodes that saved arrays use, and passes the
few names that its subclass declares to methods of that subclass, as strings. Memory is bounded by the file size: long strings
stay in the file until they are requested, and the number of steps is limited, so that small values take at most about 128 MB.
"""

from __future__ import annotations

from typing import IO, Any

from paddlenlp_embtune.utils.pickles.opcodes import find_step
from paddlenlp_embtune.utils.pickles.stack import PickleStack
from paddlenlp_embtune.utils.pickles.values import PickleError, Span

__all__ = ["MAX_STEPS", "PickleReader"]

MAX_STEPS = 1_000_000
"""Maximum number of opcodes executed for one file; an array takes about 40."""


class PickleReader(PickleStack):
    """Executes the opcodes of one pickle.

    Subclasses declare which names it may import (``GLOBALS``), and what calling one of them returns (``call``).

    Args:
        stream: positioned at the beginning of the pickle; must be seekable.
        size: bytes from there to the end of the stream.
    """

    def __init__(self, stream: IO[bytes], size: int) -> None:
        super().__init__(stream, size)
        self._steps = 0

    def load(self) -> Any:
        """Execute the pickle to its end.

        Returns:
            Plain values, results of :meth:`call`, and :class:`Span` for long strings. Lists and dictionaries may contain each
            other or themselves, and may nest as deep as the file is long.
        Raises:
            PickleError: the pickle is damaged, or uses something that is not supported.
        """
        try:
            while (code := self._stream.read(1)) != b".":
                self.charge(1)
                find_step(code)(self)
            return self._stack.pop()
        except IndexError:
            raise PickleError("it pops more values than it has pushed") from None
        except KeyError as fault:
            raise PickleError(f"it gets the value {fault} from the memo, which it has not put there") from None
        except UnicodeDecodeError as fault:
            raise PickleError(f"a string in it is not UTF-8: {fault.reason}") from None

    def charge(self, steps: int) -> None:
        """Count work that grows with the values rather than with the file.

        Raises:
            PickleError: the total exceeds ``MAX_STEPS``.
        """
        self._steps += steps
        if self._steps > MAX_STEPS:
            raise PickleError(f"it has more than {MAX_STEPS:,} steps; arrays take about 40 each")

    def content(self, value: Any) -> Any:
        """Return a string, reading it if it is still in the file.

        Raises:
            PickleError: the file has changed, or the string cannot be decoded.
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
