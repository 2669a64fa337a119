"""Writing: the same bits come back, nothing is half-written, and what a format cannot hold is refused."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from paddlenlp_embtune import VectorError
from paddlenlp_embtune.embeddings.io import read_vectors, write, write_vectors

FORMATS = ("word2vec", "word2vec-binary", "glove", "npz", "safetensors")


def odd_values() -> np.ndarray:
    bits = np.random.default_rng(0).integers(0, 2**32, 40_000, dtype=np.uint32).view(np.float32)
    bits = bits[np.isfinite(bits)]
    edges = np.array([0.0, -0.0, 1e-45, -1e-45, 1.1754944e-38, 3.4028235e38, 16777216.0, 0.1, 1 / 3], dtype=np.float32)
    return np.concatenate([edges, bits])[:32_000].reshape(-1, 8)


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_bits_come_back(name: str, tmp_path: Path) -> None:
    table = odd_values()
    tokens = [f"词{number}" for number in range(len(table))]
    write_vectors(tmp_path / "v", tokens, table, format=name)
    found = read_vectors(tmp_path / "v")
    assert list(found.rows) == tokens
    np.testing.assert_array_equal(found.table.view(np.uint32), table.view(np.uint32))


@pytest.mark.parametrize("name", FORMATS[:3])
def test_compressed_files_hold_the_same_and_are_the_same_every_time(name: str, tmp_path: Path) -> None:
    table = odd_values()[:20]
    tokens = list(map(str, range(20)))
    write_vectors(tmp_path / "v", tokens, table, format=name)
    write_vectors(tmp_path / "v.gz", tokens, table, format=name)
    write_vectors(tmp_path / "w.gz", tokens, table, format=name)
    assert gzip.decompress((tmp_path / "v.gz").read_bytes()) == (tmp_path / "v").read_bytes()
    assert (tmp_path / "v.gz").read_bytes() == (tmp_path / "w.gz").read_bytes()


def test_numbers_are_short(tmp_path: Path) -> None:
    write_vectors(tmp_path / "v", ["a"], [[0.1, 1.0, -2.5, 1e-7]], format="word2vec")
    assert (tmp_path / "v").read_bytes() == b"1 4\na 0.1 1.0 -2.5 1e-07\n"


@pytest.mark.parametrize(
    ("token", "refusing"),
    [
        ("a b", {"word2vec", "glove", "word2vec-binary"}),
        ("a\nb", {"word2vec", "glove", "word2vec-binary"}),
        ("a\tb", {"word2vec", "glove"}),
        ("a\rb", set()),
        ("\u3000", set()),
        ("\x85", set()),
    ],
)
def test_tokens_that_a_format_cannot_hold(token: str, refusing: set[str], tmp_path: Path) -> None:
    for name in FORMATS:
        if name in refusing:
            with pytest.raises(VectorError, match=r"cannot stand in the format.*'safetensors' or 'npz'"):
                write_vectors(tmp_path / "v", [token], [[1.5, 2.5]], format=name)
            assert not list(tmp_path.iterdir())
        else:
            write_vectors(tmp_path / "v", [token], [[1.5, 2.5]], format=name)
            assert list(read_vectors(tmp_path / "v").rows) == [token]
            (tmp_path / "v").unlink()


@pytest.mark.parametrize(
    ("tokens", "table", "name", "message"),
    [
        (["a"], [[1.0]], "text", "cannot be written as 'text'; .*word2vec"),
        (["a", "b"], [[1.0]], "glove", "2 tokens and a table of shape"),
        ([], np.zeros((0, 3)), "glove", "0 tokens"),
        (["a"], [1.0], "glove", r"shape \(1,\)"),
        (["a", "a"], [[1.0], [2.0]], "glove", "'a' cannot be written as a token; expected each once"),
        ([""], [[1.0]], "npz", "one or more characters"),
        (["\ud800"], [[1.0]], "npz", "no lone surrogate"),
        (["a"], [[np.nan]], "npz", "row of 'a' holds NaN"),
    ],
)
def test_what_cannot_be_written(tokens: list[str], table: np.ndarray, name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(VectorError, match=message):
        write_vectors(tmp_path / "v", tokens, table, format=name)
    assert not list(tmp_path.iterdir())


def test_arrays_are_not_compressed_whole(tmp_path: Path) -> None:
    with pytest.raises(VectorError, match=r"give a name without .gz"):
        write_vectors(tmp_path / "v.npz.gz", ["a"], [[1.0]], format="npz")


def test_a_failure_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "v"
    write_vectors(path, ["a"], [[1.0]], format="glove")
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(write._WRITERS, "glove", (full, write._WRITERS["glove"][1]))
    with pytest.raises(OSError, match="No space"):
        write_vectors(path, ["b"], [[2.0]], format="glove")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
