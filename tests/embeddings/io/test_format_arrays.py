"""Arrays: ``.npy``, ``.npz`` and safetensors, of every width of float, with tokens inside or beside."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from paddlenlp_embtune import VectorError
from paddlenlp_embtune.embeddings.io import ReadOptions, VectorTable, numpy_files, read_vectors, write_vectors
from paddlenlp_embtune.utils.safetensors_io import write_safetensors_file
from tests.pickles import Bomb

TOKENS = ["[PAD]", "涨", "a b", "\u2028", "\r", "$"]
TABLE = np.random.default_rng(0).normal(0, 1, (len(TOKENS), 4)).astype(np.float32)


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    path = tmp_path / "words.txt"
    path.write_bytes("\n".join([*TOKENS[:4], "x", TOKENS[5]]).encode() + b"\n")
    return path


def names() -> list[str]:
    return [*TOKENS[:4], "x", TOKENS[5]]


def check(found: VectorTable, table: np.ndarray = TABLE, tokens: list[str] | None = None) -> None:
    assert list(found.rows) == (TOKENS if tokens is None else tokens)
    assert found.table.dtype == np.float32
    np.testing.assert_array_equal(found.table, table)


@pytest.mark.parametrize("fortran", [False, True])
@pytest.mark.parametrize("kind", ["<f2", "<f4", "<f8", ">f4"])
def test_npy_of_every_float(kind: str, fortran: bool, vocabulary: Path, tmp_path: Path) -> None:
    table = TABLE.astype(kind)
    np.save(tmp_path / "t.npy", np.asfortranarray(table) if fortran else table)
    check(read_vectors(tmp_path / "t.npy", ReadOptions(vocabulary=vocabulary)), table.astype(np.float32), names())


def test_npy_compressed_and_with_some_tokens(vocabulary: Path, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, TABLE)
    (tmp_path / "t.npy.gz").write_bytes(gzip.compress(buffer.getvalue()))
    seen: list[tuple[int, int]] = []
    options = ReadOptions(vocabulary=vocabulary, keep={"涨", "$"}.__contains__, progress=lambda *at: seen.append(at))
    check(read_vectors(tmp_path / "t.npy.gz", options), TABLE[[1, 5]], ["涨", "$"])
    assert seen[-1] == ((tmp_path / "t.npy.gz").stat().st_size,) * 2


def test_npy_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numpy_files, "_STEP", 1000)
    table = np.random.default_rng(1).normal(0, 1, (777, 31)).astype(np.float32)
    np.save(tmp_path / "t.npy", table)
    (tmp_path / "v.txt").write_text("\n".join(map(str, range(777))), encoding="utf-8")
    found = read_vectors(tmp_path / "t.npy", ReadOptions(vocabulary=tmp_path / "v.txt"))
    np.testing.assert_array_equal(found.table, table)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("inside", ["tokens", "vocab", "words"])
def test_npz_with_its_tokens(inside: str, save: Any, tmp_path: Path) -> None:
    save(tmp_path / "t.npz", **{inside: np.array(TOKENS), "table": TABLE, "counts": np.arange(6)})
    check(read_vectors(tmp_path / "t.npz"))


def test_npz_with_a_vocabulary_and_a_declared_tensor(vocabulary: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", one=TABLE, two=TABLE * 2)
    check(read_vectors(tmp_path / "t.npz", ReadOptions(vocabulary=vocabulary, tensor="two")), TABLE * 2, names())
    with pytest.raises(VectorError, match=r"2 tensors that could be the table; declare one .*one \(6, 4\), two \(6, 4\)"):
        read_vectors(tmp_path / "t.npz", ReadOptions(vocabulary=vocabulary))
    with pytest.raises(VectorError, match=r"'three' is no table .*one \(6, 4\)"):
        read_vectors(tmp_path / "t.npz", ReadOptions(vocabulary=vocabulary, tensor="three"))


def widened_bfloat16() -> tuple[np.ndarray, np.ndarray]:
    bits = (TABLE.view(np.uint32) >> 16).astype("<u2")
    return bits, (bits.astype(np.uint32) << 16).view(np.float32)


def raw_safetensors(path: Path, entries: dict[str, Any], data: bytes, *, length: int | None = None) -> None:
    header = json.dumps(entries).encode()
    path.write_bytes((len(header) if length is None else length).to_bytes(8, "little") + header + data)


@pytest.mark.parametrize("kind", ["<f2", "<f4", "<f8"])
def test_safetensors_of_the_package(kind: str, vocabulary: Path, tmp_path: Path) -> None:
    table = TABLE.astype(kind)
    save_file({"counts": np.arange(6), "rows": table}, tmp_path / "t.safetensors")
    check(read_vectors(tmp_path / "t.safetensors", ReadOptions(vocabulary=vocabulary)), table.astype(np.float32), names())
    few = read_vectors(tmp_path / "t.safetensors", ReadOptions(vocabulary=vocabulary, keep="$".__eq__))
    check(few, table.astype(np.float32)[5:], ["$"])


def test_bfloat16_is_widened(vocabulary: Path, tmp_path: Path) -> None:
    bits, expected = widened_bfloat16()
    entry = {"dtype": "BF16", "shape": [6, 4], "data_offsets": [0, 48]}
    raw_safetensors(tmp_path / "t.safetensors", {"rows": entry}, bits.tobytes())
    check(read_vectors(tmp_path / "t.safetensors", ReadOptions(vocabulary=vocabulary)), expected, names())


@pytest.mark.parametrize("kind", ["npz", "safetensors"])
def test_what_we_write(kind: str, vocabulary: Path, tmp_path: Path) -> None:
    tokens = [*TOKENS[:-1], "\n"]
    path = tmp_path / f"t.{kind}"
    write_vectors(path, tokens, TABLE, format=kind)
    check(read_vectors(path), TABLE, tokens)
    check(read_vectors(path, ReadOptions(vocabulary=vocabulary)), TABLE, names())
    stored = dict(np.load(path)) if kind == "npz" else load_file(path)
    np.testing.assert_array_equal(stored["vectors"], TABLE)
    assert json.loads(stored["tokens"].tobytes()) == tokens


@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_objects_are_refused_and_not_unpickled(kind: str, vocabulary: Path, tmp_path: Path) -> None:
    path = tmp_path / f"t.{kind}"
    held = np.array([[Bomb()]], dtype=object)
    if kind == "npy":
        np.save(path, held, allow_pickle=True)
    else:
        np.savez(path, table=held)
    with pytest.raises(VectorError, match=r"Python objects as a pickle, and nothing is unpickled.*allow_pickle=False"):
        read_vectors(path, ReadOptions(vocabulary=vocabulary))


def test_other_pickles_are_refused(tmp_path: Path) -> None:
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        (tmp_path / "p.bin").write_bytes(pickle.dumps(Bomb(), protocol))
        with pytest.raises(VectorError, match="is a pickle"):
            read_vectors(tmp_path / "p.bin")
    with zipfile.ZipFile(tmp_path / "torch.pt", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Bomb()))
    with pytest.raises(VectorError, match="is a pickle"):
        read_vectors(tmp_path / "torch.pt")


def npy_bytes(table: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, table)
    return buffer.getvalue()


def lying_npy(shape: str) -> bytes:
    return npy_bytes(TABLE).replace(b"(6, 4), }" + b" " * (len(shape) - 6), f"{shape}, }}".encode())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(npy_bytes(TABLE)[:-1], "end at byte 224, and it ends at byte 223", id="cut off"),
        pytest.param(npy_bytes(TABLE) + b"x", "ends at byte 225", id="longer"),
        pytest.param(npy_bytes(TABLE)[:50], "damaged header", id="cut off in the header"),
        pytest.param(lying_npy("(999999999999, 300)"), "999,999,999,999 rows of 300", id="absurd"),
        pytest.param(gzip.compress(lying_npy("(8, 4)")), "6 lines, and .* 8 rows", id="lies, compressed"),
        pytest.param(npy_bytes(TABLE.astype(np.int32)), "int32; expected float16", id="whole numbers"),
        pytest.param(npy_bytes(TABLE[0]), r"shape \(4,\)", id="one row"),
        pytest.param(npy_bytes(TABLE[:0]), r"shape \(0, 4\)", id="empty"),
        pytest.param(npy_bytes(TABLE[:5]), "has 6 lines, and .* 5 rows", id="fewer rows than tokens"),
        pytest.param(npy_bytes(TABLE.astype(np.float64) * 1e300), "row 0: '.PAD.' has NaN or infinite", id="too large"),
    ],
)
def test_bad_npy(content: bytes, message: str, vocabulary: Path, tmp_path: Path) -> None:
    (tmp_path / "t.npy").write_bytes(content)
    with pytest.raises(VectorError, match=message):
        read_vectors(tmp_path / "t.npy", ReadOptions(vocabulary=vocabulary))


def test_arrays_without_tokens_ask_for_a_vocabulary(tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", TABLE)
    np.savez(tmp_path / "t.npz", TABLE)
    save_file({"rows": TABLE}, tmp_path / "t.safetensors")
    for ending in ("npy", "npz", "safetensors"):
        with pytest.raises(VectorError, match="6 vectors and no tokens; give the tokens as vocabulary"):
            read_vectors(tmp_path / f"t.{ending}")
        with pytest.raises(VectorError, match=r"nowhere.txt cannot be read"):
            read_vectors(tmp_path / f"t.{ending}", ReadOptions(vocabulary=tmp_path / "nowhere.txt"))


def test_a_vocabulary_in_another_encoding_or_with_holes(tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", TABLE)
    words = tmp_path / "w.txt"
    words.write_bytes(b"a\n\xb5\xf8\nc\n\ne\na\n")
    with pytest.raises(VectorError, match="row 1: its token, line 2, is not UTF-8"):
        read_vectors(tmp_path / "t.npy", ReadOptions(vocabulary=words))
    found = read_vectors(tmp_path / "t.npy", ReadOptions(vocabulary=words, damaged="skip"))
    check(found, TABLE[[0, 2, 4]], ["a", "c", "e"])
    assert found.notes == (
        "1 duplicate tokens, the first row of each kept",
        "1 rows skipped: whose token is not UTF-8",
        "1 rows skipped: without a token",
    )


def test_npz_cut_off_or_damaged(tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    np.savez_compressed(path, tokens=np.array(TOKENS), table=TABLE)
    content = path.read_bytes()
    for damaged in (content[:-30], content[:60] + b"\xff" * 20 + content[80:], content[:90]):
        path.write_bytes(damaged)
        with pytest.raises(VectorError, match=r"t.npz"):
            read_vectors(path)


@pytest.mark.parametrize("tokens", [np.array(TOKENS[:3]), np.frombuffer(b"[1, 2]", np.uint8), np.frombuffer(b"xyz", np.uint8)])
def test_bad_tokens_inside(tokens: np.ndarray, tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", tokens=tokens, table=TABLE)
    with pytest.raises(VectorError, match="tokens"):
        read_vectors(tmp_path / "t.npz")


ENTRY = {"dtype": "F32", "shape": [6, 4], "data_offsets": [0, 96]}


@pytest.mark.parametrize(
    ("entry", "data", "length", "message"),
    [
        (ENTRY, TABLE.tobytes()[:-1], None, "lies at bytes .* to .*, and the file ends at byte"),
        ({**ENTRY, "shape": [7, 4]}, TABLE.tobytes(), None, r"F32 of shape \(7, 4\), 96 bytes"),
        ({**ENTRY, "data_offsets": [-8, 88]}, TABLE.tobytes(), None, "cut off or damaged"),
        ({**ENTRY, "data_offsets": [96, 0]}, TABLE.tobytes(), None, "cut off or damaged"),
        ({**ENTRY, "shape": [-6, -4]}, TABLE.tobytes(), None, "damaged header"),
        ({**ENTRY, "shape": "x"}, TABLE.tobytes(), None, "damaged header"),
        ({**ENTRY, "dtype": "I32"}, TABLE.tobytes(), None, "0 tensors that could be the table"),
        (ENTRY, TABLE.tobytes(), 10, "damaged header"),
        (ENTRY, TABLE.tobytes(), 5000, "header has 5,000 bytes, and the file has"),
        (ENTRY, TABLE.tobytes(), 2**62, "header has"),
    ],
)
def test_bad_safetensors(
    entry: dict[str, Any], data: bytes, length: int | None, message: str, vocabulary: Path, tmp_path: Path
) -> None:
    path = tmp_path / "t.safetensors"
    raw_safetensors(path, {"rows": entry}, data, length=length)
    with pytest.raises(VectorError, match=message):
        read_vectors(path, ReadOptions(vocabulary=vocabulary, format="safetensors"))


def test_what_is_read_in_place_cannot_be_compressed(tmp_path: Path) -> None:
    for kind in ("npz", "safetensors"):
        write_vectors(tmp_path / "t", TOKENS, TABLE, format=kind)
        (tmp_path / "t.gz").write_bytes(gzip.compress((tmp_path / "t").read_bytes()))
        with pytest.raises(VectorError, match="gunzip"):
            read_vectors(tmp_path / "t.gz", ReadOptions(format=kind))


def test_weights_of_ours_bring_the_tokens_that_they_were_trained_with(tmp_path: Path) -> None:
    table = np.arange(12, dtype=np.float32).reshape(4, 3)
    tokens = ["[PAD]", "[UNK]", "利", "好"]
    write_safetensors_file(
        tmp_path / "weights.safetensors", {"embedding.weight": table}, metadata={"tokens": json.dumps(tokens)}
    )
    found = read_vectors(tmp_path / "weights.safetensors")
    np.testing.assert_array_equal(found.table[found.rows["利"]], table[2])
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n好\n利\n", encoding="utf-8")
    with pytest.raises(VectorError, match="id 2 was '利' and is '好'"):
        read_vectors(tmp_path / "weights.safetensors", ReadOptions(vocabulary=tmp_path / "vocab.txt"))


@pytest.mark.parametrize(
    "header",
    [
        b'{"descr": "<f4", "fortran_order": False, "shape": (6, 4)}',
        b"{'shape': (6L, 4L), 'fortran_order': False, 'descr': '<f4'}",
        b"  {'descr':'<f4','fortran_order':False,'shape':(6,4,),}  \n",
    ],
)
def test_headers_of_other_writers(header: bytes, vocabulary: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.npy"
    path.write_bytes(b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + TABLE.tobytes())
    np.testing.assert_array_equal(read_vectors(path, ReadOptions(vocabulary=vocabulary)).table, TABLE)


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (6, __import__('os')), }",
        b"{'descr': '<f4', 'fortran_order': 0, 'shape': (6, 4), }",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (-6, -4), }",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (True, 4), }",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (6, " + b"9" * 5000 + b"), }",
        b"{'descr': '<f4', 'descr': '<f8', 'fortran_order': False, 'shape': (6, 4), }",
        b"{'descr': '<q9', 'fortran_order': False, 'shape': (6, 4), }",
        b"{'descr': '<f4', 'fortran_order': False}",
        b"(" * 60_000,
        b"-" * 60_000 + b"1",
    ],
    ids=lambda header: header[-30:].decode(),
)
def test_headers_are_not_evaluated(header: bytes, vocabulary: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.npy"
    path.write_bytes(b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + TABLE.tobytes())
    with pytest.raises(VectorError, match="damaged header"):
        read_vectors(path, ReadOptions(vocabulary=vocabulary))


def test_arrays_of_other_types_beside_a_table_do_no_harm(tmp_path: Path) -> None:
    others = {
        "fields": np.zeros(3, dtype=[("a", "<f4"), ("b", "<i8", (2,))]),
        "dates": np.zeros(2, dtype="M8[ns]"),
        "complex": np.zeros(2, dtype="c16"),
        "raw": np.zeros(2, dtype="V5"),
    }
    np.savez(tmp_path / "t.npz", tokens=np.array([f"t{row}" for row in range(len(TABLE))]), vectors=TABLE, **others)
    np.testing.assert_array_equal(read_vectors(tmp_path / "t.npz").table, TABLE)
    np.save(tmp_path / "fields.npy", others["fields"])
    (tmp_path / "v.txt").write_text("a\nb\nc\n", encoding="utf-8")
    with pytest.raises(VectorError, match=r"shape \(3,\); expected \(rows, width\)"):
        read_vectors(tmp_path / "fields.npy", ReadOptions(vocabulary=tmp_path / "v.txt"))
