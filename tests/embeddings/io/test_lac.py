from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from paddlenlp_embtune import VectorError
from paddlenlp_embtune.embeddings.io import VectorTable, read_lac
from paddlenlp_embtune.embeddings.io.lac import read_paddle_tensor

FLOAT32, FLOAT64 = 5, 6
VALUES = np.arange(6, dtype="<f4").reshape(2, 3) - 2.5


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def tensor(shape: tuple[int, ...], payload: bytes, *, kind: int = FLOAT32, extra: bytes = b"") -> bytes:
    description = b"\x08" + varint(kind) + b"".join(b"\x10" + varint(size) for size in shape) + extra
    return bytes(16) + len(description).to_bytes(4, "little") + description + payload


def read(content: bytes, tmp_path: Path) -> npt.NDArray[np.float32]:
    path = tmp_path / "word_emb"
    path.write_bytes(content)
    return read_paddle_tensor(path)


@pytest.mark.parametrize("shape", [(2, 3), (6,), (1, 6), (1, 2, 3)])
def test_good_tensor(shape: tuple[int, ...], tmp_path: Path) -> None:
    table = read(tensor(shape, VALUES.tobytes()), tmp_path)
    assert table.dtype == np.float32
    np.testing.assert_array_equal(table, VALUES.reshape(shape))
    table[...] = 0  # the caller owns it: not a view of read-only bytes


def test_sizes_above_127_take_two_bytes(tmp_path: Path) -> None:
    values = np.arange(300 * 2, dtype="<f4").reshape(300, 2)
    np.testing.assert_array_equal(read(tensor((300, 2), values.tobytes()), tmp_path), values)


GOOD = tensor((2, 3), VALUES.tobytes())


@pytest.mark.parametrize("length", range(len(GOOD)))
def test_truncated_anywhere(length: int, tmp_path: Path) -> None:
    with pytest.raises(VectorError, match="word_emb"):
        read(GOOD[:length], tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(tensor((2, 3), VALUES.astype("<f8").tobytes(), kind=FLOAT64), "type 6; expected 5", id="float64"),
        pytest.param(tensor((2, 3), VALUES.tobytes(), kind=-1 & 0xFFFF), "expected 5", id="unheard-of type"),
        pytest.param(GOOD + b"\0", "24 bytes, but 25 bytes", id="one byte more"),
        pytest.param(tensor((3, 3), VALUES.tobytes()), r"\(3, 3\) float32 values, 36 bytes, but 24", id="too few values"),
        pytest.param(tensor((2**62, 4), VALUES.tobytes()), "damaged", id="absurd size"),
        pytest.param(tensor((), b"\0\0\0\0"), "dimensions", id="no dimensions"),
        pytest.param(tensor((2, 3), VALUES.tobytes(), extra=b"\x18\x01"), "unknown field 0x18", id="unknown field"),
        pytest.param(bytes([1]) + GOOD[1:], "not a Paddle tensor", id="another version"),
        pytest.param(GOOD[:4] + b"\x01" + GOOD[5:], "not a Paddle tensor", id="with LoD"),
        pytest.param(b"\x80\x02}q\x00." * 20, "not a Paddle tensor", id="pickle"),
        pytest.param("涨 0.1 0.2\n".encode() * 9, "not a Paddle tensor", id="text"),
        pytest.param(b"", "not a Paddle tensor", id="empty"),
        pytest.param(bytes(200), "dimensions", id="zeros"),
        pytest.param(bytes(16) + b"\xff" * 40, "truncated|unknown field", id="ones"),
        pytest.param(tensor((2**32, 2**32), b""), "damaged", id="overflow to zero"),
        pytest.param(tensor((2**64 - 1, 2**64 - 1), bytes(4)), "damaged", id="negative sizes"),
    ],
)
def test_bad_file(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(VectorError, match=message):
        read(content, tmp_path)


@pytest.mark.parametrize("seed", range(3))
def test_random_garbage_never_passes(seed: int, tmp_path: Path) -> None:
    generator = np.random.default_rng(seed)
    for _ in range(100):
        head = bytes(16) + int(generator.integers(0, 20)).to_bytes(4, "little")
        with pytest.raises(VectorError):
            read(head + generator.bytes(40), tmp_path)


@pytest.fixture(scope="module")
def lac() -> VectorTable:
    return read_lac()


def test_real_table(lac: VectorTable) -> None:
    assert lac.table.shape == (20941, 128)
    assert lac.dimension == 128
    assert lac.table.dtype == np.float32
    assert np.isfinite(lac.table).all()
    assert "jieba" in lac.source
    assert {"涨", "跌", "股", "利", "1", "a"} <= set(lac.rows)
    assert all(0 <= row < len(lac.table) for row in lac.rows.values())


def test_real_table_has_an_unknown_row_that_no_token_owns(lac: VectorTable) -> None:
    assert lac.unknown_row is not None
    assert not [token for token in lac.rows if token.startswith("OOV")]


@pytest.mark.parametrize(("token", "neighbour"), [("涨", "跌"), ("跌", "涨"), ("北", "南"), ("春", "秋")])
def test_real_neighbours(lac: VectorTable, token: str, neighbour: str) -> None:
    unit = lac.table / np.linalg.norm(lac.table, axis=1, keepdims=True).clip(1e-12)
    names = {row: name for name, row in lac.rows.items()}
    nearest = np.argsort(-(unit @ unit[lac.rows[token]]))[:5]
    assert neighbour in [names.get(int(row)) for row in nearest]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_table_with_broken_values_is_refused(value: float) -> None:
    table = np.zeros((3, 2), dtype=np.float32)
    table[1, 1] = value
    with pytest.raises(VectorError, match=r"1 rows of here .* row 1 first"):
        VectorTable({"a": 0}, table, "here")


@pytest.mark.parametrize("shape", [(3,), (0, 4), (4, 0), (2, 2, 2)])
def test_a_table_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(VectorError, match="shape"):
        VectorTable({}, np.zeros(shape, dtype=np.float32), "here")
