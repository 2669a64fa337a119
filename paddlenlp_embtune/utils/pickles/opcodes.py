"""The opcodes that pickled arrays use, protocols 2 to 5; all others are rejected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from paddlenlp_embtune.utils.pickles.stack import PickleStack
from paddlenlp_embtune.utils.pickles.values import PickleError

__all__ = ["find_step"]

Step = Callable[[PickleStack], None]


def _utf8(raw: bytes) -> str:
    return raw.decode("utf-8")


def _latin1(raw: bytes) -> str:
    return raw.decode("latin-1")  # written by Python 2; Paddle reads it this way


def _integer(size: int) -> Step:
    return lambda to: to._stack.append(int.from_bytes(to._read(size), "little", signed=size == 4))


def _constant(value: Any) -> Step:
    return lambda to: to._stack.append(value)


def _length(size: int, decode: Callable[[bytes], Any] | None = None) -> Step:
    return lambda to: to._string(to._number(size), decode)


_STEPS: dict[bytes, Step] = {
    b"\x80": PickleStack._proto,
    b"\x95": PickleStack._frame,
    b"(": PickleStack._mark,
    b"0": PickleStack._pop,
    b"1": lambda to: cast(None, to._since_mark()),
    b"2": lambda to: to._stack.append(to._stack[-1]),
    b"N": _constant(None),
    b"\x88": _constant(True),
    b"\x89": _constant(False),
    b"K": _integer(1),
    b"M": _integer(2),
    b"J": _integer(4),
    b"\x8a": lambda to: to._stack.append(int.from_bytes(to._read(to._number(1)), "little", signed=True)),
    b"G": PickleStack._float,
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
    b"t": PickleStack._tuple,
    b"]": lambda to: to._stack.append([]),
    b"l": PickleStack._list,
    b"a": PickleStack._append,
    b"e": PickleStack._appends,
    b"}": lambda to: to._stack.append({}),
    b"d": PickleStack._dict,
    b"s": PickleStack._setitem,
    b"u": PickleStack._setitems,
    b"c": PickleStack._global,
    b"\x93": PickleStack._stack_global,
    b"R": PickleStack._reduce,
    b"b": PickleStack._build,
    b"Q": PickleStack._persistent,
    b"h": lambda to: to._stack.append(to._memo[to._number(1)]),
    b"j": lambda to: to._stack.append(to._memo[to._number(4)]),
    b"q": lambda to: to._put(to._number(1)),
    b"r": lambda to: to._put(to._number(4)),
    b"\x94": lambda to: to._put(len(to._memo)),
}


def find_step(code: bytes) -> Step:
    """Return the step that an opcode performs.

    Raises:
        PickleError: the opcode is not supported, or the pickle ends here.
    """
    if step := _STEPS.get(code):
        return step
    if not code:
        raise PickleError("it is cut off")
    import pickletools

    names = [opcode.name for opcode in pickletools.opcodes if opcode.code.encode("latin-1") == code]
    if not names:
        raise PickleError(f"it is not a pickle: the byte {code!r} is not an opcode")
    raise PickleError(f"it uses the opcode {names[0]}, which saved arrays do not need")
