"""word2vec's binary format as gensim writes it: keys may hold spaces, which the format does not mark."""

from __future__ import annotations

import random
import re
from pathlib import Path

import numpy as np
import pytest

from paddlenlp_embtune.embeddings.io.options import ReadOptions
from paddlenlp_embtune.embeddings.io.read import read_vectors
from paddlenlp_embtune.errors import VectorError

WORDS = re.findall(r"\S+", "new york 股票 iphone 15 涨停 a bc def ghij san francisco 12 大 , . U.S. é")


def written(path: Path, keys: list[str], table: np.ndarray, feed: bytes = b"") -> Path:
    body = b"".join(key.encode() + b" " + row.tobytes() + feed for key, row in zip(keys, table, strict=True))
    path.write_bytes(b"%d %d\n" % table.shape + body)
    return path


@pytest.mark.parametrize("damaged", ["refuse", "skip"])
@pytest.mark.parametrize("feed", [b"", b"\n"])
@pytest.mark.parametrize(("width", "rows"), [(4, 40), (8, 40), (50, 3000), (300, 2000)])
def test_keys_with_spaces_are_read_rightly(width: int, rows: int, feed: bytes, damaged: str, tmp_path: Path) -> None:
    generator = random.Random(width)
    keys = [" ".join(generator.choices(WORDS, k=generator.randint(1, 3))) + f" {number}" for number in range(rows)]
    keys[1], keys[-1] = "  ", "last one"
    table = np.random.default_rng(width).normal(0, 0.5, (rows, width)).astype("<f4")
    found = read_vectors(written(tmp_path / "g.bin", keys, table, feed), ReadOptions(format="word2vec-binary", damaged=damaged))
    assert list(found.rows) == keys
    np.testing.assert_array_equal(found.table, table)


@pytest.mark.parametrize("damaged", ["refuse", "skip"])
def test_what_stays_open_is_refused_and_never_read_wrongly(damaged: str, tmp_path: Path) -> None:
    generator = random.Random(0)
    right = 0
    for number in range(60):
        keys = [" ".join(generator.choices(WORDS, k=generator.randint(1, 4))) + str(at) for at in range(60)]
        table = np.random.default_rng(number).normal(0, 1, (60, generator.choice([1, 2, 3]))).astype("<f4")
        try:
            found = read_vectors(
                written(tmp_path / "g.bin", keys, table), ReadOptions(format="word2vec-binary", damaged=damaged)
            )
        except VectorError:
            continue
        assert list(found.rows) == keys
        np.testing.assert_array_equal(found.table, table)
        right += 1
    assert right > 20


def test_a_number_belongs_to_the_token_where_the_width_is_stated(tmp_path: Path) -> None:
    path = tmp_path / "a.vec"
    path.write_text("3 3\nwindows 10 0.1 0.2 0.3\nnew york 0.4 0.5 0.6\n股票\t1.0 -0.5 2e-3\n", encoding="utf-8")
    found = read_vectors(path)
    assert list(found.rows) == ["windows 10", "new york", "股票"]
    np.testing.assert_allclose(found.table[0], [0.1, 0.2, 0.3], rtol=1e-6)
    path.write_text("2 3\na 0.1 0.1 0.2 0.3\nb 0.4 0.5 0.6\n", encoding="utf-8")
    with pytest.raises(VectorError, match="line 2 has 4 values"):
        read_vectors(path)


@pytest.mark.parametrize("header", ["3 100\n", ""])
def test_sparse_vectors_are_named(header: str, tmp_path: Path) -> None:
    path = tmp_path / "ppmi.vec"
    path.write_text(f"{header}股票 9:0.0221 17:0.31\n涨停 2:0.5 9:0.25\n跌停 3:0.1\n", encoding="utf-8")
    with pytest.raises(VectorError, match=r"sparse vectors, pairs of a column and a value such as '9:0.0221'"):
        read_vectors(path)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2"])
def test_tar_archives_are_named(mode: str, tmp_path: Path) -> None:
    import tarfile

    (tmp_path / "a.vec").write_text("1 2\na 0.1 0.2\n", encoding="utf-8")
    with tarfile.open(tmp_path / "a.tar", mode) as archive:
        archive.add(tmp_path / "a.vec", arcname="a.vec")
    with pytest.raises(VectorError, match=r"tar archive.*tar -xf a\.tar"):
        read_vectors(tmp_path / "a.tar")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_tokens_beside_an_array_in_any_encoding(end: str, encoding: str, tmp_path: Path) -> None:
    tokens = ["股票", "公司", "我们", "的", "市场"]
    np.save(tmp_path / "v.npy", np.ones((5, 2), dtype=np.float32))
    (tmp_path / "words.txt").write_bytes(end.join([*tokens, ""]).encode(encoding))
    assert list(read_vectors(tmp_path / "v.npy", ReadOptions(vocabulary=tmp_path / "words.txt")).rows) == tokens
