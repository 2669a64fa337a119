"""Files that ask for far more memory or time than they have bytes: ``python -m tests.hostile.bombs FOLDER`` reads each of them.

For each it prints the bytes of the file, what came of it, the seconds, and by how much the process has grown.
"""

from __future__ import annotations

import gzip
import io
import json
import resource
import struct
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from paddlenlp_embtune.embeddings.io import ReadOptions, read_vectors
from paddlenlp_embtune.embeddings.io.lac import read_paddle_tensor
from paddlenlp_embtune.encoders.checkpoint import read_tokens, read_weights
from paddlenlp_embtune.errors import BundleError
from paddlenlp_embtune.text.sentencepiece_model import PieceModel
from paddlenlp_embtune.utils.pickles.numpy_arrays import read_arrays, read_values
from tests.embeddings.io.fasttext_files import pack
from tests.hostile.crafted_pickles import (
    ENCODE,
    GOOD,
    ORDERED,
    PROTO,
    WHOLE,
    array,
    group,
    name,
    named,
    number,
    text,
    torch_file,
)
from tests.hostile.fuzz import MEMORY_MOST, attempt, limit_time
from tests.hostile.reader_cases import TABLE, TOKENS, Case

MILLION = 1_000_000
SIX = group(number(6))


def _npy(shape: str, *, fortran: bool = False, dtype: str = "<f4") -> bytes:
    header = f"{{'descr': '{dtype}', 'fortran_order': {fortran}, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header


def _zip(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return buffer.getvalue()


def _many_names() -> bytes:
    """A zip whose directory is larger than its members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for at in range(60_000):
            archive.writestr(f"{at}" + "x" * 200, b"")
    return buffer.getvalue()


def _header(content: bytes) -> bytes:
    return len(content).to_bytes(8, "little") + content


Reader = Callable[[Path], Any]


def _arrays(folder: Path) -> None:
    read_arrays(folder / "file", error=BundleError)


def _values(folder: Path) -> None:
    read_values(folder / "file", error=BundleError)


def _weights(ending: str) -> Reader:
    def read(folder: Path) -> None:
        read_weights((folder / "file").rename(folder / f"file{ending}"))

    return read


def _vectors(folder: Path) -> None:
    (folder / "vocab.txt").write_text("\n".join(TOKENS) + "\n", encoding="utf-8")
    read_vectors(folder / "file", ReadOptions(vocabulary=folder / "vocab.txt"))


def _declared(kind: str) -> Reader:
    return lambda folder: read_vectors(folder / "file", ReadOptions(format=kind))


def _inside(folder: Path) -> None:
    read_vectors(folder / "file")


BOMBS: dict[str, tuple[Callable[[], bytes], Reader]] = {
    **{
        f"a million of {code!r}": (lambda code=code: PROTO + code * MILLION + b".", _arrays)  # type: ignore[misc]
        for code in (b"]", b"}", b"(", b"N", b")\x85", b"}NNs", b"K\x01", b"]\x94", b"}NNs\x94")
    },
    "a million lists in each other": (lambda: PROTO + b"]" * 499_000 + b"a" * 498_999 + b".", _values),
    "tuples of two of the one before": (lambda: PROTO + text("!") + b"q\x00h\x00\x86" * 200_000 + b".", _values),
    "lists of a hundred of the one before": (
        lambda: PROTO + b"]" + b"q\x000" + b"".join(b"](" + b"h\x00" * 100 + b"eq\x000" for _ in range(60)) + b"h\x00.",
        _values,
    ),
    "texts of four bytes a letter": (lambda: PROTO + b"(" + text("a" * 4000 + "😀") * 5000 + b"t.", _arrays),
    "one text encoded to many arrays": (
        lambda: PROTO + b"}(" + text("x") + text("A" * 40_000) + b"q\x00" + b"".join(
            text(f"a{at}") + array(group(number(10_000)), ENCODE + b"h\x00" + text("latin1") + b"\x86R") for at in range(2000)
        ) + b"u.",
        _arrays,
    ),
    "one array under many names": (
        lambda: PROTO + b"}" + GOOD + b"q\x000(" + b"".join(text(f"a{at}") + b"h\x00" for at in range(100_000)) + b"u.",
        _values,
    ),
    "a million dictionaries of pairs": (
        lambda: PROTO + ORDERED + b"q\x000](" + b"N\x88\x86" * 1000 + b"eq\x010" + b"h\x00h\x01\x85R0" * 100_000 + b"}.",
        _arrays,
    ),
    "an array of 2^62": (lambda: named(array(group(number(2**62)))), _arrays),
    "a shape of many sizes": (lambda: named(array(group(*[number(2**40)] * 32, number(0)))), _arrays),
    "PyTorch: 200 MB of zeros in 200 kB": (
        lambda: torch_file(named(WHOLE), stored={"0": bytes(200 << 20)}, method=zipfile.ZIP_DEFLATED),
        _weights(".bin"),
    ),
    "PyTorch: a pickle of 60 MB in 60 kB": (
        lambda: torch_file(PROTO + b"N0" * (30 << 20) + b".", method=zipfile.ZIP_DEFLATED),
        _weights(".bin"),
    ),
    "PyTorch: a directory of 16 MB": (_many_names, _weights(".bin")),
    "PyTorch: a storage for many tensors": (
        lambda: torch_file(
            PROTO + b"}" + group(text("storage"), name("torch", "FloatStorage"), text("0"), text("cpu"), number(1 << 20)) + b"Q"
            + b"q\x000(" + b"".join(
                text(f"a{at}") + name("torch._utils", "_rebuild_tensor_v2")
                + group(b"h\x00", number(at), group(number(1000_000)), group(number(1)), b"\x89", ORDERED + b")R") + b"R"
                for at in range(1000)
            ) + b"u.",
            stored={"0": bytes(4 << 20)},
        ),
        _weights(".bin"),
    ),
    "npy: 10^12 rows": (lambda: _npy("(1000000000000, 300)") + bytes(100), _vectors),
    "npy: as many rows as tokens, a million wide, packed": (
        lambda: gzip.compress(_npy("(8, 1000000)") + bytes(32_000_000)), _vectors,
    ),
    "npy: 2^20 wide by columns, packed and cut off": (
        lambda: gzip.compress(_npy("(8, 1048576)", fortran=True) + bytes(1000)), _vectors,
    ),
    "npy: types of 10^6 letters": (lambda: _npy("(8, 6)", dtype="<U999999") + bytes(1000), _vectors),
    "npy: a header of brackets": (lambda: b"\x93NUMPY\2\0" + struct.pack("<I", 65_000) + b"(" * 65_000, _vectors),
    "npy: a header of minus signs": (lambda: b"\x93NUMPY\2\0" + struct.pack("<I", 65_000) + b"-" * 65_000, _vectors),
    "npz: tokens of 300 MB in 300 kB": (
        lambda: _zip({
            "tokens.npy": _npy("(300000000,)", dtype="|u1") + bytes(300_000_000), "vectors.npy": _npy("(8, 6)") + bytes(192)
        }),
        _inside,
    ),
    "safetensors: a header of 100,000 levels": (lambda: _header(b'{"a":' * 100_000), _declared("safetensors")),
    "safetensors: a header of empty lists": (lambda: _header(b'{"a":[' + b"[]," * 500_000 + b"[]]}"), _declared("safetensors")),
    "safetensors: a size of 5,000 digits": (
        lambda: _header(b'{"a":{"dtype":"F32","shape":[' + b"9" * 5000 + b',0],"data_offsets":[0,0]}}'),
        _declared("safetensors"),
    ),
    "safetensors: 5,000 tensors of the same bytes": (
        lambda: _header(json.dumps({
            f"a{at}": {"dtype": "F32", "shape": [1000, 1000], "data_offsets": [0, 4_000_000]} for at in range(5000)
        }).encode()) + bytes(4_000_000),
        _weights(".safetensors"),
    ),
    "word2vec: 10^17 rows, packed": (lambda: gzip.compress(b"99999999999999999 300\na 1\n"), _declared("word2vec")),
    "word2vec binary: 10^17 rows, packed": (
        lambda: gzip.compress(b"99999999999999999 300\n" + b"a " + bytes(1200)), _declared("word2vec-binary"),
    ),
    "word2vec: a header of 60,000 digits": (lambda: b"9" * 60_000 + b" 3\na 1 2 3\n", _vectors),
    "word2vec: a line of 200 MB, packed": (lambda: gzip.compress(b"2 3\n" + b"a" * (200 << 20)), _declared("word2vec")),
    "fastText: n-grams of 2^31 letters": (
        lambda: pack([("字" * 20_000).encode()], np.vstack([TABLE[:1], TABLE]), buckets=8, shortest=1, longest=2**31 - 1),
        _vectors,
    ),
    "fastText: a word of 60,000 letters": (
        lambda: pack([b"x" * 60_000], np.vstack([TABLE[:1], TABLE]), buckets=8, shortest=1, longest=20), _vectors,
    ),
    "fastText: 2^31 buckets": (lambda: pack([b"a"], TABLE[:1], buckets=2**31 - 1, shortest=1, longest=3), _vectors),
    "LAC: a number without end": (
        lambda: bytes(16) + struct.pack("<i", MILLION) + b"\x08" + b"\xff" * MILLION,
        lambda at: read_paddle_tensor(at / "file"),
    ),
    "LAC: 10^5 dimensions": (
        lambda: bytes(16) + struct.pack("<i", 200_000) + b"\x10\x01" * 100_000, lambda at: read_paddle_tensor(at / "file"),
    ),
    "SentencePiece: a piece that is longer than the model": (
        lambda: b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", lambda at: PieceModel.read((at / "file").read_bytes()),
    ),
    "tokens: a line of 50 MB": (lambda: b"a" * (50 << 20), lambda at: read_tokens(at / "file")),
}  # fmt: skip


def main(place: str) -> None:
    """Read every bomb, and print a line of JSON for each."""
    limit_time()
    folder = Path(place)
    for title, (make, read) in BOMBS.items():
        content = make()
        (folder / "file").write_bytes(content)
        size = len(content)
        del content
        mapped, before = _pages()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY_MOST, resource.RLIM_INFINITY))
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the highest memory so far is that of now
        start = time.monotonic()
        outcome = attempt(Case(list, read), folder)
        seconds = time.monotonic() - start
        print(json.dumps({"bomb": title, "size": size, "grown": _highest() - before, "seconds": seconds, "outcome": outcome}))
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _pages() -> tuple[int, int]:
    """Bytes that are mapped, and bytes that are in memory."""
    mapped, resident = Path("/proc/self/statm").read_text(encoding="ascii").split()[:2]
    return int(mapped) * resource.getpagesize(), int(resident) * resource.getpagesize()


def _highest() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    main(sys.argv[1])
