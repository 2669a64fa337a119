"""Vectorized parsing of decimal numbers in bytes to float32.

Numbers of the common form, one digit, a dot and up to fourteen digits, are parsed eight digits at a time in 64-bit words; their
digits form an integer below 2**53, and one division by a power of ten then rounds correctly. All others go through Python's
float.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["PADDING", "padded", "parse"]

Offsets = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]

PADDING = 24
"""Padding bytes required after the last number."""

_WORD = np.dtype("<u8")
_MINUS, _DOT, _ZERO = 45, 46, 48
_MAX_DIGITS = 14
_ZEROS = np.uint64(0x3030303030303030)
_ABOVE_NINE = np.uint64(0x7676767676767676)
_HIGH_BITS = np.uint64(0x8080808080808080)
_PAIRS = np.uint64(0x000000FF000000FF)
_TENS = np.array([10**power for power in range(16)], dtype=np.uint64)
_POWERS = np.array([10.0**power for power in range(16)])
_LEGAL = frozenset(b"0123456789+-.eEnNaAiIfFtTyY")


def padded(data: bytes) -> bytes:
    """Pad data to a multiple of the word size, plus readable bytes after it."""
    return data + b"\n" * (PADDING - len(data) % 8)


def parse(data: bytes, starts: Offsets, ends: Offsets) -> tuple[npt.NDArray[np.float32], Offsets]:
    """Parse numbers.

    Args:
        data: as :func:`padded` returns it.
        starts: byte of the first character of each number.
        ends: byte after the last character of each.
    Shapes:
        starts, ends: (N,) int64; returns: (N,) float32, and the indices of invalid numbers
    Source:
        eight digits in a word: ours, after the well-known pairwise sums; exactness of the division: Clinger (1990), How to Read
        Floating Point Numbers Accurately
    """
    letters = np.frombuffer(data, dtype=np.uint8)
    words = np.frombuffer(data, dtype=_WORD)
    negative = letters[starts] == _MINUS
    firsts = starts + negative
    lead = letters[firsts] - np.uint8(_ZERO)
    digits = ends - firsts - 2
    fine = (lead < 10) & (letters[firsts + 1] == _DOT) & (digits > 0) & (digits <= _MAX_DIGITS)
    np.clip(digits, 1, _MAX_DIGITS, out=digits)
    short = np.minimum(digits, 8)
    whole, good = _eight(_words_at(words, firsts + 2), short)
    fine &= good
    whole += lead.astype(np.uint64) * _TENS[short]
    long = np.flatnonzero(fine & (digits > 8))
    if long.size:
        rest, good = _eight(_words_at(words, firsts[long] + 10), digits[long] - 8)
        whole[long] = whole[long] * _TENS[digits[long] - 8] + rest
        fine[long[~good]] = False
    values = whole.astype(np.float64)
    values /= _POWERS[digits]
    np.negative(values, where=negative, out=values)
    broken = _parse_others(data, starts, ends, np.flatnonzero(~fine), values)
    with np.errstate(over="ignore"):
        return values.astype(np.float32), broken


def _words_at(words: Words, at: Offsets) -> Words:
    """Return the eight bytes from any offset on, assembled from two aligned words."""
    index = at >> 3
    shift = ((at & 7) << 3).astype(np.uint64)
    low: Words = words[index]
    high: Words = words[index + 1]
    low >>= shift
    high <<= np.uint64(1)
    high <<= np.uint64(63) - shift
    low |= high
    return low


def _eight(word: Words, digits: Offsets) -> tuple[Words, Flags]:
    """Return the value of the first 1 to 8 bytes of words, and whether all of them are digits."""
    word ^= _ZEROS
    word <<= ((8 - digits) << 3).astype(np.uint64)
    good = (((word + _ABOVE_NINE) | word) & _HIGH_BITS) == 0
    pairs = word * np.uint64(10) + (word >> np.uint64(8))
    outer = (pairs & _PAIRS) * np.uint64(0x000F424000000064)
    inner = ((pairs >> np.uint64(16)) & _PAIRS) * np.uint64(0x0000271000000001)
    return (outer + inner) >> np.uint64(32), good


def _parse_others(data: bytes, starts: Offsets, ends: Offsets, others: Offsets, values: npt.NDArray[np.float64]) -> Offsets:
    """Parse the uncommon forms into ``values``; return the invalid ones."""
    broken = []
    for at in others.tolist():
        text = data[starts[at] : ends[at]]
        try:
            values[at] = float(text) if _LEGAL.issuperset(text) else float("")
        except ValueError:
            values[at] = 0.0
            broken.append(at)
    return np.array(broken, dtype=np.int64)
