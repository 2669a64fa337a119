"""The stack machine of a pickle: it builds plain values, and can neither import nor call anything."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import IO, Any, ClassVar

from paddlenlp_embtune.utils.json_yaml import shorten
from paddlenlp_embtune.utils.pickles.values import Global, PickleError, Span, printable

__all__ = ["PickleStack"]

_LONG = 4096
"""Strings of this many bytes or more stay in the file."""

_MAX_LINE = 512
"""Maximum length of a module or class name in bytes."""

_MAX_BITS = 60
"""Maximum bits of an integer key: beyond them, integers can be chosen to share one hash, which slows a dictionary down."""

_KEYS = (str, int, bytes, bool, type(None))


class PickleStack:
    """The stack, the marks and the memo of one pickle, and what each opcode does to them.

    Args:
        stream: positioned at the beginning of the pickle; must be seekable.
        size: bytes from there to the end of the stream.
    """

    GLOBALS: ClassVar[Mapping[tuple[str, str], str]] = {}
    """The role of each name that may be imported, by module and name, for :meth:`call`."""

    WANTED: ClassVar[str] = "plain values"
    """Name of the supported content, for messages."""

    def __init__(self, stream: IO[bytes], size: int) -> None:
        self._stream, self._size = stream, size
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._globals: dict[tuple[str, str], Global] = {}

    def call(self, role: str, args: tuple[Any, ...]) -> Any:
        """Return the result of calling a name of this role.

        Raises:
            PickleError: the arguments do not fit the role.
        """
        raise PickleError(f"it calls {role}")

    def build(self, target: Any, state: Any) -> None:
        """Set the state of an object; that of dictionaries, such as ``_metadata``, is skipped.

        Raises:
            PickleError: the object takes no state.
        """
        if type(target) is not dict:
            raise PickleError(f"it sets the state of {shorten(target)}")

    def persistent(self, pid: Any) -> Any:
        """Return an object stored outside the pickle.

        Raises:
            PickleError: there is no such object.
        """
        raise PickleError("it refers to something outside the file")

    # What the opcodes do. Each method is named after its opcode in the standard library's pickletools.

    def _read(self, size: int) -> bytes:
        data = self._stream.read(size)
        if len(data) != size:
            raise PickleError("it is cut off")
        return data

    def _number(self, size: int) -> int:
        return int.from_bytes(self._read(size), "little")

    def _string(self, size: int, decode: Callable[[bytes], Any] | None = None) -> None:
        at = self._stream.tell()
        if size > self._size - at:
            raise PickleError(f"it announces a string of {size:,} bytes, but only {max(0, self._size - at):,} are left")
        if size >= _LONG:
            self._stack.append(Span(at, size, decode))
            self._stream.seek(size, 1)
        else:
            raw = self._read(size)
            self._stack.append(raw if decode is None else decode(raw))

    def _line(self) -> str:
        line = self._stream.readline(_MAX_LINE)
        if not line.endswith(b"\n"):
            raise PickleError("a name in it is not terminated")
        return line[:-1].decode("utf-8")

    def _since_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._marks.pop()
        return items

    def _proto(self) -> None:
        if (version := self._number(1)) > 5:
            raise PickleError(f"its protocol is {version}; only 2 to 5 are supported")

    def _frame(self) -> None:
        if self._number(8) > self._size - self._stream.tell():
            raise PickleError("it is cut off")

    def _mark(self) -> None:
        self._marks.append(self._stack)
        self._stack = []

    def _pop(self) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._since_mark()

    def _float(self) -> None:
        self._stack.append(struct.unpack(">d", self._read(8))[0])

    def _tuple_of(self, size: int) -> None:
        if len(self._stack) < size:
            raise IndexError
        self._stack[len(self._stack) - size :] = [tuple(self._stack[len(self._stack) - size :])]

    def _tuple(self) -> None:
        items = self._since_mark()
        self._stack.append(tuple(items))

    def _list(self) -> None:
        items = self._since_mark()
        self._stack.append(items)

    def _dict(self) -> None:
        items = self._since_mark()
        self._stack.append({})
        self._set(items)

    def _append(self) -> None:
        item = self._stack.pop()
        self._extend([item])

    def _appends(self) -> None:
        self._extend(self._since_mark())

    def _extend(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not list:
            raise PickleError(f"it appends to {shorten(target)}")
        target.extend(items)

    def _setitem(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set([key, value])

    def _setitems(self) -> None:
        self._set(self._since_mark())

    def _set(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise PickleError(f"it puts {len(items)} keys and values into {shorten(target)}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[self.key(key)] = value

    def key(self, value: Any) -> Any:
        """Return a value after checking that it may be a dictionary key: its hash is fast and hard to force.

        Raises:
            PickleError: it must not be a key.
        """
        if type(value) not in _KEYS or (type(value) is int and value.bit_length() > _MAX_BITS):
            raise PickleError(f"a key in it is {shorten(value)}")
        return value

    def _global(self) -> None:
        module = self._line()
        self._find(module, self._line())

    def _stack_global(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._find(module, name)

    def _find(self, module: Any, name: Any) -> None:
        role = self.GLOBALS.get((module, name)) if type(module) is str and type(name) is str else None
        if role is None:
            asked = f"{module}.{name}" if type(module) is str and type(name) is str else f"{shorten(module)}, {shorten(name)}"
            raise PickleError(f"it asks for {printable(asked)}, but only {self.WANTED} are read")
        self._stack.append(self._globals.setdefault((module, name), Global(role, f"{module}.{name}")))

    def _reduce(self) -> None:
        args, function = self._stack.pop(), self._stack.pop()
        if type(function) is not Global or type(args) is not tuple:
            raise PickleError(f"it calls {shorten(function)}")
        self._stack.append(self.call(function.role, args))

    def _build(self) -> None:
        state = self._stack.pop()
        self.build(self._stack[-1], state)

    def _persistent(self) -> None:
        self._stack.append(self.persistent(self._stack.pop()))

    def _put(self, at: int) -> None:
        self._memo[at] = self._stack[-1]
