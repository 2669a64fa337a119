"""As much of protocol buffers as a SentencePiece model needs."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["message", "messages", "number"]

_VARINT, _DELIMITED = 0, 2


def message(field: int, content: bytes) -> bytes:
    """A field that holds text, bytes or another message."""
    return _varint(field << 3 | _DELIMITED) + _varint(len(content)) + content


def number(field: int, value: int) -> bytes:
    """A field that holds a whole number."""
    return _varint(field << 3 | _VARINT) + _varint(value)


def messages(content: bytes, field: int) -> Iterator[bytes]:
    """What the fields of one number hold, in a message of texts, messages and whole numbers alone."""
    at = 0
    while at < len(content):
        key, at = _read_varint(content, at)
        size, at = _read_varint(content, at)
        if key & 7 == _DELIMITED:
            if key >> 3 == field:
                yield content[at : at + size]
            at += size


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def _read_varint(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while content[at] > 0x7F:
        value |= (content[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return value | content[at] << shift, at + 1
