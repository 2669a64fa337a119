"""Ways of damaging a file, each decided by a random generator alone."""

from __future__ import annotations

import io
import itertools
import json
import pickletools
import random
import re
import struct
import zipfile
from collections.abc import Callable

Mutation = Callable[[bytes, random.Random], bytes]

_NUMBERS = [0, 1, 2, 7, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1, 2**64 - 1]
_TEXTS = [
    b"-1", b"0", b"1", b"999999999999", b"1e400", b"-1e400", b"NaN", b"1.5", b"9" * 5000, b"true", b"null", b'"x"', b"[2]",
    b"{}", b"\x00", b"\xff", b'"\\ud800"', b"[" * 100_000, b'{"a":' * 20_000, b"(" * 3000, b"18446744073709551617",
]  # fmt: skip


def flip_bits(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 8))):
        at = _place(changed, chance)
        changed[at] ^= 1 << chance.randrange(8)
    return bytes(changed)


def set_bytes(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 3))):
        changed[_place(changed, chance)] = chance.choice((0, 1, 0x20, 0x7F, 0x80, 0xFE, 0xFF, chance.randrange(256)))
    return bytes(changed)


def cut(content: bytes, chance: random.Random) -> bytes:
    return content[: _place(content, chance)]


def cut_out(content: bytes, chance: random.Random) -> bytes:
    at = _place(content, chance)
    return content[:at] + content[at + chance.choice((1, 2, 4, 8, 64, len(content) // 3)) :]


def put_in(content: bytes, chance: random.Random) -> bytes:
    at = _place(content, chance)
    return content[:at] + chance.randbytes(chance.choice((1, 2, 4, 8, 100))) + content[at:]


def repeat(content: bytes, chance: random.Random) -> bytes:
    at, size = _place(content, chance), chance.choice((1, 8, 64, 512))
    return content[: at + size] + content[at : at + size] * chance.choice((1, 2, 50)) + content[at + size :]


def write_number(content: bytes, chance: random.Random) -> bytes:
    """Overwrite what may be a length, a count or an offset."""
    size, at = chance.choice((2, 4, 8)), _place(content, chance)
    number = chance.choice((*_NUMBERS, len(content), len(content) - 1, len(content) + 1)) % (1 << 8 * size)
    return content[:at] + number.to_bytes(size, chance.choice(("little", "big"))) + content[at + size :]


def write_digits(content: bytes, chance: random.Random) -> bytes:
    """Put something else where digits stand."""
    runs = [match.span() for match in re.finditer(rb"-?[0-9.]+", content[: 1 << 14])]
    if not runs:
        return set_bytes(content, chance)
    begin, end = chance.choice(runs)
    return content[:begin] + chance.choice(_TEXTS) + content[end:]


def splice(content: bytes, chance: random.Random) -> bytes:
    """Put one part of the file over another."""
    size, one, other = chance.choice((4, 16, 64, 256)), _place(content, chance), _place(content, chance)
    return content[:one] + content[other : other + size] + content[one + size :]


def noise(content: bytes, chance: random.Random) -> bytes:
    keep = chance.choice((0, 4, 8, 16, 64))
    return content[:keep] + chance.randbytes(chance.choice((0, 10, 1000)))


BYTES: tuple[Mutation, ...] = (
    flip_bits, flip_bits, set_bytes, cut, cut_out, put_in, repeat, write_number, write_number, write_digits, splice, noise,
)  # fmt: skip


def change_pickle(content: bytes, chance: random.Random) -> bytes:
    """Drop, repeat, swap or change whole opcodes of a pickle."""
    try:
        found = list(pickletools.genops(content))
    except Exception:  # it is damaged already
        return flip_bits(content, chance)
    places = [at for _, _, at in found if at is not None] + [len(content)]
    parts = [content[begin:end] for begin, end in itertools.pairwise(places)]
    for _ in range(chance.choice((1, 1, 2, 5))):
        at, other = chance.randrange(len(parts)), chance.randrange(len(parts))
        how = chance.randrange(6)
        if how == 0:
            parts[at] = b""
        elif how == 1:
            parts.insert(at, parts[other])
        elif how == 2:
            parts[at], parts[other] = parts[other], parts[at]
        elif how == 3:
            parts[at] = chance.choice(_OPCODES)
        elif how == 4:
            parts.insert(at, chance.choice(_OPCODES))
        else:
            parts[at] = set_bytes(parts[at], chance) if parts[at] else b"N"
    return b"".join(parts)


_OPCODES = [
    *(bytes([code]) for code in b"N)]}(012tabesuRQ.\x81\x85\x86\x87\x88\x89\x92\x93\x94"),
    b"K\x00", b"K\x07", b"M\xff\xff", b"J\xff\xff\xff\xff", b"J\x00\x00\x00\x80", b"G" + struct.pack(">d", 1.5),
    b"\x8a\x09" + b"\xff" * 8 + b"\x00", b"\x8a\x08" + b"\xff" * 7 + b"\x3f", b"h\x00", b"h\x01", b"h\x05", b"q\x00",
    b"j\xff\xff\xff\xff", b"r\xff\xff\xff\x7f", b"C\x04AAAA", b"X\x02\x00\x00\x00O8", b"X\x02\x00\x00\x00f8",
    b"cnumpy\nndarray\n", b"cnumpy\ndtype\n", b"ccollections\nOrderedDict\n", b"cnumpy.core.multiarray\n_reconstruct\n",
    b"c_codecs\nencode\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nFloatStorage\n", b"ctorch\nDoubleStorage\n",
    b"cos\nsystem\n", b"B\xff\xff\xff\xff", b"X\xff\xff\xff\x7f", b"\x8e" + b"\xff" * 8, b"\x95" + b"\xff" * 8,
]  # fmt: skip


def change_json(content: bytes, chance: random.Random) -> bytes:
    """Change one value of a JSON document, keep the rest as it is."""
    try:
        document = json.loads(content)
    except ValueError:
        return write_digits(content, chance)
    holders = [(None, document)]
    places: list[tuple[object, object]] = []
    while holders:
        _, holder = holders.pop()
        items = holder.items() if isinstance(holder, dict) else enumerate(holder) if isinstance(holder, list) else ()
        for key, value in items:
            places.append((holder, key))
            holders.append((key, value))
    if not places:
        return chance.choice(_TEXTS)
    holder, key = chance.choice(places)
    mark = "\u0001mark\u0001"
    if isinstance(key, str) and chance.random() < 0.2:
        value = holder.pop(key)  # type: ignore[attr-defined]
        if chance.random() < 0.5:
            holder[chance.choice(("", "\0", "__metadata__", "x" * 300, "../x", "/x"))] = value  # type: ignore[index]
        return json.dumps(document).encode()
    holder[key] = mark  # type: ignore[index]
    text = json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")
    return text.replace(json.dumps(mark).encode(), chance.choice(_TEXTS))


def change_safetensors(content: bytes, chance: random.Random) -> bytes:
    """Change the header, and let its length be right."""
    length = int.from_bytes(content[:8], "little")
    header = chance.choice((change_json, change_json, write_digits))(content[8 : 8 + length], chance)
    return len(header).to_bytes(8, "little") + header + content[8 + length :]


def inside_zip(inner: tuple[Mutation, ...]) -> Mutation:
    """Damage one member of a zip, and let the zip be whole."""

    def change(content: bytes, chance: random.Random) -> bytes:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [(info, archive.read(info)) for info in archive.infolist()]
        at = chance.randrange(len(members))
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for number, (info, data) in enumerate(members):
                if number == at and chance.random() < 0.05:
                    continue
                name = "../" + info.filename if number == at and chance.random() < 0.03 else info.filename
                method = chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
                archive.writestr(name, chance.choice(inner)(data, chance) if number == at else data, method)
        return buffer.getvalue()

    return change


def _place(content: bytes | bytearray, chance: random.Random) -> int:
    """Any place, and the first 200 bytes as often as all others."""
    size = max(1, len(content))
    return chance.randrange(min(200, size)) if chance.random() < 0.5 else chance.randrange(size)
