"""The stack that the opcodes of a pickle work on: it builds plain values, and can neither import nor call anything."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import IO, Any, ClassVar

from paddlenlp_embtune.utils.json_yaml import shorten
from paddlenlp_embtune.utils.pickles.values import Global, PickleError, Span, printable

__all__ = ["PickleStack"]

_LONG = 4096
"""Bytes from which on a string stays in the file."""

_MAX_LINE = 512
"""Bytes of a module's or a class's name."""

_MAX_BITS = 60
"""Bits of a number that is a key: beyond them numbers can be made that share one hash, and a dictionary slows down."""

_KEYS = (str, int, bytes, bool, type(None))


class PickleStack:
    """The stack, the marks and the memo of one pickle, and what each opcode does to them.

    Args:
        stream: at the beginning of the pickle; it must be able to seek.
        size: bytes that the stream has from there on.
    """

    GLOBALS: ClassVar[Mapping[tuple[str, str], str]] = {}
    """The role of each name that may be imported, by module and name, for :meth:`call`."""

    WANTED: ClassVar[str] = "plain values"
    """What is read, for messages."""

    def __init__(self, stream: IO[bytes], size: int) -> None:
        self._stream, self._size = stream, size
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._globals: dict[tuple[str, str], Global] = {}

    def call(self, role: str, args: tuple[Any, ...]) -> Any:
        """Return what a call of a name of this role gives.

        Raises:
            PickleError: the arguments are not those that this role takes.
        """
        raise PickleError(f"it calls {role}")

    def build(self, target: Any, state: Any) -> None:
        """Give something its state; that of dictionaries, such as ``_metadata``, is left out.

        Raises:
            PickleError: what has been made so takes no state.
        """
        if type(target) is not dict:
            raise PickleError(f"it gives a state to {shorten(target)}")

    def persistent(self, pid: Any) -> Any:
        """Return what stands outside the pickle.

        Raises:
            PickleError: there is no such thing.
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
            raise PickleError(f"it announces a string of {size:,} bytes, and {max(0, self._size - at):,} are left")
        if size >= _LONG:
            self._stack.append(Span(at, size, decode))
            self._stream.seek(size, 1)
        else:
            raw = self._read(size)
            self._stack.append(raw if decode is None else decode(raw))

    def _line(self) -> str:
        line = self._stream.readline(_MAX_LINE)
        if not line.endswith(b"\n"):
            raise PickleError("a name in it has no end")
        return line[:-1].decode("utf-8")

    def _since_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._marks.pop()
        return items

    def _proto(self) -> None:
        if (version := self._number(1)) > 5:
            raise PickleError(f"it is of protocol {version}, and 2 to 5 are known")

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
        """Return what may be the key of a dictionary: its hash is quick, and hard to choose.

        Raises:
            PickleError: it is something else.
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
            raise PickleError(f"it asks for {printable(asked)}, and only {self.WANTED} are read")
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
