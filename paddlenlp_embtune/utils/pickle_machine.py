"""A reader of pickles that can do nothing but build plain values: it imports nothing, calls nothing and sets no attribute.

Python's own unpickler calls what the file names. This one knows the opcodes that arrays are saved with, protocols 2 to 5, and
hands the few names that its subclass knows to methods of it, as words. Memory is bounded by the file: long strings stay in
the file until somebody asks for them, and the number of steps is limited, so that what is built of small values stays under
about 128 MB.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable, Mapping
from typing import IO, Any, ClassVar, cast

from paddlenlp_embtune.utils.json_yaml import shorten

__all__ = ["MOST_STEPS", "Global", "PickleError", "PickleReader", "Span"]

MOST_STEPS = 1_000_000
"""Opcodes that are followed in one file; an array takes about 40."""

_LONG = 4096
"""Bytes from which on a string stays in the file."""

_MOST_LINE = 512
"""Bytes of a module's or a class's name."""

_MOST_BITS = 60
"""Bits of a number that is a key: beyond them numbers can be made that share one hash, and a dictionary slows down."""

PickleError = pickle.UnpicklingError
"""What is raised where a pickle is damaged, or asks for more than plain values and the names that its reader knows."""

_KEYS = (str, int, bytes, bool, type(None))


class Global:
    """Stands for a name that the pickle imports; nothing can be done with it but hand it back."""

    __slots__ = ("name", "role")

    def __init__(self, role: str, name: str) -> None:
        self.role, self.name = role, name

    def __repr__(self) -> str:
        return _printable(self.name)


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


class PickleReader:
    """Follows the opcodes of one pickle.

    Subclasses say which names it may import, and what a call of one of them gives.

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
        self._steps = 0
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._globals: dict[tuple[str, str], Global] = {}

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
                _step(code)(self)
            return self._stack.pop()
        except IndexError:
            raise PickleError("it takes more values than it has put down") from None
        except KeyError as fault:
            raise PickleError(f"it takes value {fault}, which it has not put away") from None
        except UnicodeDecodeError as fault:
            raise PickleError(f"a text in it is not UTF-8: {fault.reason}") from None

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

    def charge(self, steps: int) -> None:
        """Count work that grows with the values and not with the file.

        Raises:
            PickleError: it was more than ``MOST_STEPS`` in all.
        """
        self._steps += steps
        if self._steps > MOST_STEPS:
            raise PickleError(f"it has more than {MOST_STEPS:,} steps; arrays take about 40 each")

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
        line = self._stream.readline(_MOST_LINE)
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
        if type(value) not in _KEYS or (type(value) is int and value.bit_length() > _MOST_BITS):
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
            raise PickleError(f"it asks for {_printable(asked)}, and only {self.WANTED} are read")
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


def _printable(name: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in name[:100])


def _utf8(raw: bytes) -> str:
    return raw.decode("utf-8")


def _latin1(raw: bytes) -> str:
    return raw.decode("latin-1")  # what Python 2 wrote, as Paddle reads it


def _integer(size: int) -> Callable[[PickleReader], None]:
    return lambda to: to._stack.append(int.from_bytes(to._read(size), "little", signed=size == 4))


def _constant(value: Any) -> Callable[[PickleReader], None]:
    return lambda to: to._stack.append(value)


def _length(size: int, decode: Callable[[bytes], Any] | None = None) -> Callable[[PickleReader], None]:
    return lambda to: to._string(to._number(size), decode)


_STEPS: dict[bytes, Callable[[PickleReader], None]] = {
    b"\x80": PickleReader._proto,
    b"\x95": PickleReader._frame,
    b"(": PickleReader._mark,
    b"0": PickleReader._pop,
    b"1": lambda to: cast(None, to._since_mark()),
    b"2": lambda to: to._stack.append(to._stack[-1]),
    b"N": _constant(None),
    b"\x88": _constant(True),
    b"\x89": _constant(False),
    b"K": _integer(1),
    b"M": _integer(2),
    b"J": _integer(4),
    b"\x8a": lambda to: to._stack.append(int.from_bytes(to._read(to._number(1)), "little", signed=True)),
    b"G": PickleReader._float,
    b"U": _length(1, _latin1),
    b"T": _length(4, _latin1),
    b"C": _length(1),
    b"B": _length(4),
    b"\x8e": _length(8),
    b"\x8c": _length(1, _utf8),
    b"X": _length(4, _utf8),
    b"\x8d": _length(8, _utf8),
    b")": _constant(()),
    b"\x85": lambda to: to._tuple_of(1),
    b"\x86": lambda to: to._tuple_of(2),
    b"\x87": lambda to: to._tuple_of(3),
    b"t": PickleReader._tuple,
    b"]": lambda to: to._stack.append([]),
    b"l": PickleReader._list,
    b"a": PickleReader._append,
    b"e": PickleReader._appends,
    b"}": lambda to: to._stack.append({}),
    b"d": PickleReader._dict,
    b"s": PickleReader._setitem,
    b"u": PickleReader._setitems,
    b"c": PickleReader._global,
    b"\x93": PickleReader._stack_global,
    b"R": PickleReader._reduce,
    b"b": PickleReader._build,
    b"Q": PickleReader._persistent,
    b"h": lambda to: to._stack.append(to._memo[to._number(1)]),
    b"j": lambda to: to._stack.append(to._memo[to._number(4)]),
    b"q": lambda to: to._put(to._number(1)),
    b"r": lambda to: to._put(to._number(4)),
    b"\x94": lambda to: to._put(len(to._memo)),
}


def _step(code: bytes) -> Callable[[PickleReader], None]:
    if step := _STEPS.get(code):
        return step
    if not code:
        raise PickleError("it is cut off")
    import pickletools

    names = [opcode.name for opcode in pickletools.opcodes if opcode.code.encode("latin-1") == code]
    if not names:
        raise PickleError(f"it is no pickle: the byte {code!r} in it says nothing")
    raise PickleError(f"it uses {names[0]}, which arrays are not saved with")
