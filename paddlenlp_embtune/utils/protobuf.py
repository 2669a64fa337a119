"""A minimal protocol buffers codec for SentencePiece models and Paddle's tensors.

The package protobuf is a frequent cause of version conflicts, so it is not a dependency.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["read_fields", "read_varint", "write_field", "write_varint"]

_VARINT, _DELIMITED = 0, 2
_WIDTHS = {1: 8, 5: 4}


def read_fields(message: bytes) -> Iterator[tuple[int, Any, bytes]]:
    """Yield the fields of a message: the number, the value, and all bytes of the field.

    Values are numbers for varints, and bytes for all other wire types.

    Raises:
        ValueError, LookupError: the message is damaged.
    """
    at, end = 0, len(message)
    while at < end:
        start = at
        key, at = read_varint(message, at)
        wire = key & 7
        value: Any
        if wire == _VARINT:
            value, at = read_varint(message, at)
        else:
            width, at = read_varint(message, at) if wire == _DELIMITED else (_WIDTHS[wire], at)
            value, at = message[at : at + width], at + width
        if at > end or key >> 3 == 0:
            raise ValueError("a field extends beyond its message, or has no number")
        yield key >> 3, value, message[start:at]


def read_varint(message: bytes, at: int) -> tuple[int, int]:
    """Read a varint of up to 64 bits; return it and the offset after it.

    Raises:
        ValueError: it is longer.
        IndexError: the message ends inside it.
    """
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError("a varint is longer than 64 bits")


def write_varint(value: int) -> bytes:
    """Encode a non-negative integer as a varint."""
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def write_field(field: int, content: bytes) -> bytes:
    """Encode a length-delimited field: a string, bytes or another message."""
    return write_varint(field << 3 | _DELIMITED) + write_varint(len(content)) + content
