"""word2vec's binary format: what is read, and that damage is found with its byte."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from paddlenlp_embtune import VectorError
from paddlenlp_embtune.embeddings.io import ReadOptions, VectorTable, read_vectors

WIDTH = 5
TOKENS = ["涨", "跌", "a.b", "\u3000", "\x85", "1"]
TABLE = np.random.default_rng(0).normal(0, 1, (len(TOKENS), WIDTH)).astype("<f4")


def pack(*, feed: bytes = b"", rows: int = len(TOKENS), width: int = WIDTH, table: np.ndarray = TABLE) -> bytes:
    body = b"".join(token.encode() + b" " + row.tobytes() + feed for token, row in zip(TOKENS, table, strict=True))
    return b"%d %d\n" % (rows, width) + body


def read(content: bytes, folder: Path, options: ReadOptions | None = None) -> VectorTable:
    path = folder / "some.bin"
    path.write_bytes(content)
    return read_vectors(path, options)


@pytest.mark.parametrize("squeeze", [bytes, gzip.compress])
@pytest.mark.parametrize("feed", [b"", b"\n"])
def test_good_files(feed: bytes, squeeze: Callable[[bytes], bytes], tmp_path: Path) -> None:
    found = read(squeeze(pack(feed=feed)), tmp_path)
    assert list(found.rows) == TOKENS
    np.testing.assert_array_equal(found.table, TABLE)
    few = read(squeeze(pack(feed=feed)), tmp_path, ReadOptions(keep={"a.b", "1"}.__contains__))
    assert list(few.rows) == ["a.b", "1"]
    np.testing.assert_array_equal(few.table, TABLE[[2, 5]])


def test_values_that_look_like_line_feeds_and_spaces(tmp_path: Path) -> None:
    table = np.frombuffer(b" \n \n\n\n\n\n    " * 10, dtype="<f4")[: TABLE.size].reshape(TABLE.shape)
    np.testing.assert_array_equal(read(pack(table=table), tmp_path, ReadOptions(format="word2vec-binary")).table, table)


def test_files_of_many_blocks(tmp_path: Path) -> None:
    table = np.random.default_rng(1).normal(0, 1, (3000, 300)).astype("<f4")
    body = b"".join(f"词{number} ".encode() + row.tobytes() for number, row in enumerate(table))
    seen: list[int] = []
    found = read(b"3000 300\n" + body, tmp_path, ReadOptions(progress=lambda done, _: seen.append(done)))
    np.testing.assert_array_equal(found.table, table)
    assert list(found.rows) == [f"词{number}" for number in range(3000)]
    assert seen[-1] == (tmp_path / "some.bin").stat().st_size
    with pytest.raises(VectorError, match="cut off in row 3,000 of 3,000, which begins at byte"):
        read(gzip.compress((b"3000 300\n" + body)[:-1]), tmp_path)


@pytest.mark.parametrize("length", range(1, len(pack())))
def test_cut_off_anywhere(length: int, tmp_path: Path) -> None:
    with pytest.raises(VectorError, match=r"some.bin"):
        read(pack()[:length], tmp_path, ReadOptions(format="word2vec-binary"))


def test_every_cut_inside_the_rows_is_found_in_a_compressed_file(tmp_path: Path) -> None:
    for length in range(len(pack()) - 30, len(pack())):
        with pytest.raises(
            VectorError, match=r"cut off in row [56] of 6, which begins at byte \d+; the file ends \d+ bytes later"
        ):
            read(gzip.compress(pack()[:length]), tmp_path)


BROKEN = TABLE.copy()
BROKEN[2, 1] = np.nan
BROKEN[4, 0] = -np.inf


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(
            pack(rows=7), "header of .* declares 7 rows of 5, at least 154 bytes, but the file ends at byte", id="rows"
        ),
        pytest.param(gzip.compress(pack(rows=7)), "cut off in row 7 of 7, which begins at byte 145", id="rows, compressed"),
        pytest.param(pack(rows=5), "says 5 rows, but 22 bytes or more follow the last of them, from byte 123 on", id="too few"),
        pytest.param(pack(rows=10**12, width=300), "declares 1,000,000,000,000 rows of 300", id="absurd"),
        pytest.param(gzip.compress(pack(width=10**12)), "must be 1 to 1,048,576, got 1,000,000,000,000", id="absurd width"),
        pytest.param(pack(table=BROKEN), "the row at byte 52: 'a.b' has NaN or infinite values", id="NaN"),
        pytest.param(pack().replace("跌".encode(), b"\xb5\xf8"), "row 2 at byte 28: the token .* is not UTF-8", id="GBK"),
        pytest.param(pack() + b"more", "4 bytes or more follow the last of them", id="more"),
        pytest.param(pack().replace("跌 ".encode(), b" "), "row 2 at byte 28: there is no token", id="no token"),
        pytest.param(b"\0" * 100, "not recognised", id="zeros"),
    ],
)
def test_bad_files(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(VectorError, match=message):
        read(content, tmp_path)


@pytest.mark.parametrize("width", [1, 3, 4, 6, 7, 10])
def test_a_header_that_lies_about_the_width_never_passes(width: int, tmp_path: Path) -> None:
    with pytest.raises(VectorError, match=r"some.bin"):
        read(pack(width=width), tmp_path, ReadOptions(format="word2vec-binary"))


def test_damaged_rows_are_skipped_on_request(tmp_path: Path) -> None:
    content = pack(table=BROKEN).replace("跌".encode(), b"\xb5\xf8")
    found = read(content, tmp_path, ReadOptions(damaged="skip"))
    assert list(found.rows) == ["涨", "\u3000", "1"]
    np.testing.assert_array_equal(found.table, TABLE[[0, 3, 5]])
    assert set(found.notes) == {"1 rows skipped: whose token is not UTF-8", "2 rows skipped: with NaN or infinite values"}


@pytest.mark.parametrize(("policy", "row"), [("first", 0), ("last", 5)])
def test_duplicates(policy: str, row: int, tmp_path: Path) -> None:
    content = pack().replace(b"1 " + TABLE[5].tobytes(), "涨 ".encode() + TABLE[5].tobytes())
    found = read(content, tmp_path, ReadOptions(duplicates=policy))
    np.testing.assert_array_equal(found.table[found.rows["涨"]], TABLE[row])
    assert found.notes == (f"1 duplicate tokens, the {policy} row of each kept",)
