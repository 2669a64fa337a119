"""Decoding and line ends: one way for every file, strict, in bounded memory."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from paddlenlp_embtune.errors import DataError, RecipeError
from paddlenlp_embtune.utils.text_files.decoding import check_encoding, file_blocks
from paddlenlp_embtune.utils.text_files.line_reader import MAX_LINE_LENGTH, LineReader, read_lines, split_lines

SIMPLIFIED = "公司的业绩大好，我们都要买入；市场上没有人说不好。\n这个股票今天还会涨。\n"
TRADITIONAL = "公司的業績大好，我們都要買入；市場上沒有人說不好。\n這個股票今天還會漲。\n"
ENDS = ["\n", "\r", "\r\n", "\r\r\n"]


def lines(content: bytes, *, size: int = 1 << 16, encoding: str | None = None) -> list[str]:
    blocks = (content[at : at + size] for at in range(0, len(content), size))
    return [line for line, _ in LineReader(blocks, "a.txt", error=DataError, encoding=encoding)]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1 << 16])
@pytest.mark.parametrize("end", ENDS)
def test_line_ends(end: str, size: int) -> None:
    texts = ["涨\u2028停\x85\x0b\x0c\x1c", "", " 跌 ", "平"]
    assert lines(end.join([*texts, ""]).encode(), size=size) == texts
    assert lines(end.join(texts).encode(), size=size) == texts
    assert split_lines(end.join([*texts, ""])) == split_lines(end.join(texts)) == texts


@pytest.mark.parametrize("size", [1, 7, 1 << 16])
def test_mixed_line_ends(size: int) -> None:
    ends = ["\n", "\r\n", "\r\r\n", "\r", "\n", "\r\n", "\r"]
    content = "".join(f"行{number}{end}" for number, end in enumerate(ends))
    assert lines(content.encode(), size=size) == [f"行{number}" for number in range(len(ends))]


def test_ends_are_given_as_they_stand() -> None:
    assert list(LineReader([b"a\r\nb\rc\nd"], "x", error=DataError)) == [("a", "\r\n"), ("b", "\r"), ("c", "\n"), ("d", "")]


@pytest.mark.parametrize("size", [1, 3, 1 << 16])
@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("utf-8", SIMPLIFIED),
        ("utf-8-sig", SIMPLIFIED),
        ("utf-16", SIMPLIFIED),
        ("utf-16-le", SIMPLIFIED),
        ("utf-16-be", TRADITIONAL),
        ("utf-32", SIMPLIFIED),
        ("gb18030", SIMPLIFIED),
        ("gb18030", "a\tb\n" + SIMPLIFIED + "\U00020000\n"),
        ("big5", TRADITIONAL),
        ("big5", "text,label\r\n" + TRADITIONAL),
    ],
)
def test_encodings_are_found(encoding: str, text: str, size: int) -> None:
    assert lines(text.encode(encoding), size=size) == split_lines(text)


def test_an_encoding_is_found_behind_much_ascii() -> None:
    head = "plain\n" * 30_000
    assert lines((head + SIMPLIFIED).encode("gb18030")) == split_lines(head + SIMPLIFIED)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(SIMPLIFIED.encode() * 20 + b"\xff\n", id="UTF-8 with one odd byte"),
        pytest.param(SIMPLIFIED.encode().replace("涨".encode(), b"\xe6\xb6", 1), id="UTF-8 with half a character"),
        pytest.param("café naïve déjà vu\n".encode("latin-1") * 9, id="Latin"),
        pytest.param("株価が上がりました\n".encode("shift_jis") * 9, id="Japanese"),
        pytest.param("涨".encode("gbk"), id="one character says nothing"),
        pytest.param(bytes(range(128, 256)) * 9, id="bytes"),
    ],
)
def test_what_cannot_be_told_is_refused_with_its_line(content: bytes) -> None:
    with pytest.raises(DataError, match=r"a\.txt is not UTF-8: byte \d+ is 0x.*, on line \d+"):
        lines(content)


def test_the_line_of_a_bad_byte() -> None:
    for end, before in itertools.product(ENDS, (0, 1, 7, 30_000)):
        content = f"好{end}".encode() * before + b"\xe5\xff" + f"{end}好{end}".encode() * 20
        with pytest.raises(DataError, match=rf"on line {before + 1};"):
            lines(content)


def test_a_declared_encoding_is_strict() -> None:
    assert lines("涨".encode("gbk"), encoding="gb18030") == ["涨"]
    with pytest.raises(DataError, match=r"is not gb18030: byte 4 is 0xff, on line 2"):
        lines("涨\n".encode("gbk") + b"a\xff\xff", encoding="gb18030")
    with pytest.raises(DataError, match="begins with the byte order mark of utf-8, not of gb18030"):
        lines(b"\xef\xbb\xbftext", encoding="gb18030")
    assert lines("涨".encode("utf-16"), encoding="utf-16") == lines("涨".encode("utf-16-le"), encoding="utf-16") == ["涨"]


@pytest.mark.parametrize(
    ("name", "found"), [("GBK", "gb18030"), ("gb2312", "gb18030"), ("Big5", "cp950"), ("UTF8", "utf-8"), ("utf-16", "utf-16")]
)
def test_names_of_encodings(name: str, found: str) -> None:
    assert check_encoding(name, where="--encoding", error=RecipeError) == found


@pytest.mark.parametrize("name", ["gb18031", "", "idna", "unicode_escape", "base64", "rot13", "x\0y", "undefined"])
def test_other_encodings_are_refused(name: str) -> None:
    with pytest.raises(RecipeError, match=r"--encoding is .* [Ee]xpected big5"):
        check_encoding(name, where="--encoding", error=RecipeError)


@pytest.mark.parametrize(
    ("content", "part"),
    [(b"PK\x03\x04abc", "Excel"), (b"\x1f\x8b\x08", "gzip"), (b"%PDF-1.7", "PDF"), (b"\xd0\xcf\x11\xe0", "Excel")],
)
def test_other_files_are_named(content: bytes, part: str) -> None:
    with pytest.raises(DataError, match=rf"a\.txt is .*{part}"):
        lines(content + bytes(100))


@pytest.mark.parametrize("byte", [b"\0", b"a", b"\r", "涨".encode()])
def test_a_line_without_end_is_refused_in_bounded_memory(byte: bytes) -> None:
    def endless() -> Iterator[bytes]:
        yield b"first\n"
        while True:
            yield byte * (1 << 16)

    reader = LineReader(endless(), "stdin", error=DataError, max_length=1 << 20)
    if byte == b"\r":
        assert len(list(itertools.islice(reader, 100_000))) == 100_000
        return
    with pytest.raises(DataError, match=r"line 2 of stdin is longer than the limit of 1,048,576 characters"):
        list(reader)
    assert MAX_LINE_LENGTH == 1 << 24


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs /dev/zero")
def test_a_device_without_end(tmp_path: Path) -> None:
    (tmp_path / "zero.txt").symlink_to("/dev/zero")
    with pytest.raises(DataError, match=r"line 1 of .*zero\.txt is longer than"):
        read_lines(tmp_path / "zero.txt", error=DataError)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe.txt").write_bytes("涨\n跌".encode("utf-8-sig")))
    writer.start()
    assert read_lines(tmp_path / "pipe.txt", error=DataError) == ["涨", "跌"]
    writer.join()


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"a\n" * 100_000)
    with pytest.raises(DataError, match="is larger than the limit of 1,000 bytes"):
        list(file_blocks(tmp_path / "a.txt", error=DataError, max_bytes=1000))
