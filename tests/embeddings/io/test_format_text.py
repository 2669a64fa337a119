"""Vectors as text: what is read, what is refused with its line, and that values are those that Python's float gives."""

from __future__ import annotations

import bz2
import gzip
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from paddlenlp_embtune import VectorError
from paddlenlp_embtune.embeddings.io import ReadOptions, VectorTable, _float_parser, _line_parser, read_vectors

SKIP = ReadOptions(damaged="skip")
ROWS = {"涨": [0.5, -1.25, 3.0], "跌": [1e-7, 0.0, -0.1], "a.b": [12.5, 2.0, -0.125]}


def text(rows: dict[str, list[float]], *, header: bool = True) -> bytes:
    body = "".join(f"{token} {' '.join(map(repr, values))}\n" for token, values in rows.items())
    return ((f"{len(rows)} 3\n" if header else "") + body).encode()


def read(content: bytes, folder: Path, options: ReadOptions | None = None) -> VectorTable:
    path = folder / "some.vec"
    path.write_bytes(content)
    return read_vectors(path, options)


def check(found: VectorTable, rows: dict[str, list[float]]) -> None:
    assert list(found.rows) == list(rows)
    assert found.table.dtype == np.float32
    for token, values in rows.items():
        np.testing.assert_array_equal(found.table[found.rows[token]], np.array(values, dtype=np.float32))


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress])
@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda data: data, id="plain"),
        pytest.param(lambda data: data.replace(b"\n", b" \n"), id="trailing spaces"),
        pytest.param(lambda data: data.replace(b"\n", b"\r\n"), id="CRLF"),
        pytest.param(lambda data: data.replace(b" ", b"\t"), id="tabs"),
        pytest.param(lambda data: data.replace(b" ", b"  "), id="double spaces"),
        pytest.param(lambda data: data[:-1], id="no last line feed"),
        pytest.param(lambda data: data + b"\n \n\n", id="blank lines at the end"),
        pytest.param(lambda data: b"\xef\xbb\xbf" + data, id="byte order mark"),
        pytest.param(lambda data: data.replace(b"-", b"-0"), id="leading zeros"),
    ],
)
def test_good_files(change: Callable[[bytes], bytes], header: bool, pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    check(read(pack(change(text(ROWS, header=header))), tmp_path), ROWS)


def test_what_looks_like_a_line_end_or_a_space_may_be_in_a_token(tmp_path: Path) -> None:
    odd = ["\r", "\x85", "\xa0", "\u3000", "\u2028", "a\rb", "\x0b", "\x0c", "\x1c", "\ufeff", "x\ufeff"]
    rows = {token: [float(number), 1.0, 2.5] for number, token in enumerate(odd)}
    check(read(text(rows), tmp_path), rows)
    check(read(text({"x": [0.0, 0.0, 1.0], **rows}, header=False), tmp_path), {"x": [0.0, 0.0, 1.0], **rows})


def test_tokens_with_spaces(tmp_path: Path) -> None:
    rows = {". . .": [1.0, 2.0, 3.0], "at name@domain.com": [0.5, 0.25, 0.125], " ": [1.0, 1.0, 2.0], "x": [9.0, 8.0, 7.0]}
    check(read(text(rows), tmp_path), rows)
    check(read(text({"y": [1.0, 2.0, 4.0], **rows}, header=False), tmp_path), {"y": [1.0, 2.0, 4.0], **rows})


def test_only_what_is_wanted_is_kept_and_asked_for_in_order(tmp_path: Path) -> None:
    asked: list[str] = []

    def keep(token: str) -> bool:
        asked.append(token)
        return token != "跌"

    found = read(text({**ROWS, "z z": [1.0, 2.0, 3.0]}), tmp_path, ReadOptions(keep=keep))
    assert asked == [*ROWS, "z z"]
    check(found, {"涨": ROWS["涨"], "a.b": ROWS["a.b"], "z z": [1.0, 2.0, 3.0]})


def test_nothing_kept_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(VectorError, match="none of its 3 tokens is wanted"):
        read(text(ROWS), tmp_path, ReadOptions(keep=lambda _: False))


def test_files_of_many_blocks(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    table = generator.normal(0, 3, (4000, 40)).astype(np.float32)
    body = "".join(f"{number} {' '.join(map(str, row))}\n" for number, row in enumerate(table))
    assert len(body) > 3 * _line_parser._BLOCK
    path = tmp_path / "big.txt"
    path.write_text(f"4000 40\n{body}", encoding="utf-8")
    seen: list[tuple[int, int]] = []
    found = read_vectors(path, ReadOptions(progress=lambda done, size: seen.append((done, size))))
    np.testing.assert_array_equal(found.table, table)
    assert list(found.rows) == [str(number) for number in range(4000)]
    size = path.stat().st_size
    assert seen[-1] == (size, size)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    few = read_vectors(path, ReadOptions(keep={"7", "3999"}.__contains__))
    np.testing.assert_array_equal(few.table, table[[7, 3999]])
    broken = body.replace("\n3500 ", "\n3500 x", 1)
    path.write_text(f"4000 40\n{broken}", encoding="utf-8")
    byte = path.read_bytes().index(b"\n3500 x") + 6
    with pytest.raises(VectorError, match=f"line 3502, byte {byte}: 'x[-0-9.]+' is no number"):
        read_vectors(path)


def test_memory_is_bounded_by_what_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "big.txt"
    row = " ".join(["0.123456"] * 200)
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"w{number} {row}\n" for number in range(20_000))
    tracemalloc.start()
    found = read_vectors(path, ReadOptions(keep=lambda token: token.endswith("00")))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found.rows) == 199
    assert path.stat().st_size > 36e6
    # An empty block of 64 MiB counts in full though its pages are never touched.
    assert peak < (1 << 26) + 16e6


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"2 3\na 1 2 3\nb 1 2\n", "line 3 has 2 values; expected 3, as its header says", id="too few"),
        pytest.param(b"2 3\na 1 2 3\nb 1 2 3 4\n", "line 3 has 4 values; expected 3, as its header says", id="too many"),
        pytest.param(b"2 4\na 1 2 3\nb 1 2 3\n", "line 2 has 3 values; expected 4, as its header says", id="header too wide"),
        pytest.param(b"2 2\na 1 2 3\nb 1 2 3\n", "line 2 has 3 values; expected 2, as its header says", id="header too narrow"),
        pytest.param(b"3 3\na 1.0 2.0 3.0\nb 1 2 3\n", "says 3 rows, the file ends at line 3 with 2", id="rows missing"),
        pytest.param(b"1 3\na 1 2 3\nb 1 2 3\n", "says 1 rows, the file ends at line 3 with 2", id="rows too many"),
        pytest.param(
            b"9999999999 300\na 1 2 3\n", "9,999,999,999 rows of 300, which do not fit into its 23 bytes", id="absurd"
        ),
        pytest.param(b"1 99999999999\na 1 2 3\n", "99,999,999,999", id="absurd width"),
        pytest.param(b"1 0\na\n", "recognised|must be 1 to 1,048,576, got 0", id="no width"),
        pytest.param(b"a 1 2 3\nb 1 2 3\nc 1 2\n", "line 3 has 2 values; expected 3, as its first lines have", id="unequal"),
        pytest.param(b"1 3\na 1 2 x3\n", r"line 2, byte 10: 'x3' is no number", id="no number"),
        pytest.param(b"1 3\na 1 2_0 3\n", r"line 2, byte 8: '2_0' is no number", id="underscore"),
        pytest.param(b"1 3\na 1 0x1 3\n", r"line 2, byte 8: '0x1' is no number", id="hexadecimal"),
        pytest.param(b"1 3\na 1 0.1.2 3\n", r"'0.1.2' is no number", id="two dots"),
        pytest.param("1 3\na 1 ٣ 3\n".encode(), "is no number", id="other digits"),
        pytest.param(b"2 3\na 1 2 3\nb 1 nan 3\n", "line 3: 'b' has NaN or infinite", id="NaN"),
        pytest.param(b"2 3\na 1 2 3\nb 1 -inf 3\n", "line 3: 'b' has NaN or infinite", id="infinite"),
        pytest.param(b"1 3\na 1 1e39 3\n", "line 2: 'a' has NaN or infinite", id="beyond float32"),
        pytest.param(b"2 3\na 1 2 3\n\xd5\xc7 1 2 3\n", "line 3, byte 12: the token .* is not UTF-8.*GB18030", id="GBK"),
        pytest.param(b"2 3\na 1 2 3\n\nb 1 2 3\n", "line 3 is blank", id="blank"),
        pytest.param(b"2 3\na 1 2 3\n 1 2 3\n", "line 3, byte 12: there is no token", id="no token"),
        pytest.param("2 3\na 1 2 3\n".encode("utf-16"), "UTF-16", id="UTF-16"),
        pytest.param(b"", "empty", id="empty"),
        pytest.param(b"<!DOCTYPE html>\n<html>\n", "not recognised", id="web page"),
        pytest.param(gzip.compress(text(ROWS))[:-9], "damaged gz data.*byte", id="gz cut off"),
        pytest.param(bz2.compress(text(ROWS))[:-9], "damaged bz2 data.*byte", id="bz2 cut off"),
        pytest.param(gzip.compress(text(ROWS))[:20] + b"\xff" * 40, "damaged gz data", id="gz broken"),
        pytest.param(bz2.compress(text(ROWS))[:20] + b"\xff" * 40, "damaged bz2 data", id="bz2 broken"),
    ],
)
def test_bad_files(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(VectorError, match=message) as caught:
        read(content, tmp_path)
    assert "some.vec" in str(caught.value)


def test_damaged_rows_are_skipped_on_request_and_counted(tmp_path: Path) -> None:
    content = b"8 3\na 1 2 3\nb 1 2\nc 1 nan 3\n\xff 1 2 3\nd 1 x 3\n\ne 4 5 6 7\nf 7 8 9\n"
    found = read(content, tmp_path, SKIP)
    check(found, {"a": [1.0, 2.0, 3.0], "f": [7.0, 8.0, 9.0]})
    assert set(found.notes) == {
        "1 rows skipped: blank lines",
        "2 rows skipped: of another width",
        "1 rows skipped: whose token is not UTF-8",
        "1 rows skipped: with a value that is no number",
        "1 rows skipped: with NaN or infinite values",
        "the header says 8 rows, the file ends at line 9 with 7",
    }


def test_nothing_but_damage_is_an_error_that_shows_the_first(tmp_path: Path) -> None:
    with pytest.raises(VectorError, match=r"nothing was read.*line 2 has 3 values"):
        read(b"2 9\na 1 2 3\nb 1 2 3\n", tmp_path, SKIP)


@pytest.mark.parametrize("between", [b"", b"c 0 0 1\n" * 1, b"".join(b"x%d 0 0 1\n" % n for n in range(70_000))])
@pytest.mark.parametrize(("policy", "expected"), [("first", [1.0, 2.0, 3.0]), ("last", [7.0, 8.0, 9.0])])
def test_duplicates(policy: str, expected: list[float], between: bytes, tmp_path: Path) -> None:
    content = b"a 1 2 3\nb 0 1 0\na 4 5 6\n" + between + b"a 7 8 9\n"
    found = read(content, tmp_path, ReadOptions(duplicates=policy))
    np.testing.assert_array_equal(found.table[found.rows["a"]], np.array(expected, dtype=np.float32))
    np.testing.assert_array_equal(found.table[found.rows["b"]], np.array([0, 1, 0], dtype=np.float32))
    assert len(found.table) == len(found.rows) == 2 + between.count(b"\n")
    assert found.notes == (f"2 duplicate tokens, the {policy} row of each kept",)


def test_duplicates_are_refused_on_request(tmp_path: Path) -> None:
    with pytest.raises(VectorError, match="line 4: the token 'a' comes a second time"):
        read(b"3 1\na 1\nb 2\na 3\n", tmp_path, ReadOptions(duplicates="refuse"))


@pytest.mark.parametrize("options", [{"duplicates": "any"}, {"damaged": "zero"}])
def test_options_are_checked(options: dict[str, str]) -> None:
    with pytest.raises(VectorError, match="expected "):
        ReadOptions(**options)  # type: ignore[arg-type]


def test_more_than_memory_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paddlenlp_embtune.embeddings.io._row_collector.available_memory", lambda: 30)
    with pytest.raises(VectorError, match=r"3 rows of 3 .* need .* GB .*keep only the tokens of a vocabulary"):
        read(text(ROWS), tmp_path)
    with pytest.raises(VectorError, match="3 rows of 3"):
        read(text(ROWS, header=False), tmp_path)
    check(read(text(ROWS), tmp_path, ReadOptions(keep="涨".__eq__)), {"涨": ROWS["涨"]})


def spellings(generator: np.random.Generator) -> list[str]:
    """Numbers as people and programs write them."""
    bits = generator.integers(0, 2**32, 3000, dtype=np.uint32).view(np.float32)
    values = np.concatenate(
        [
            generator.normal(0, 1, 3000),
            generator.normal(0, 1e-5, 500),
            generator.normal(0, 1e6, 500),
            bits[np.isfinite(bits)].astype(float),
        ]
    )
    found = [str(np.float32(value)) for value in values if abs(value) < 3e38]
    for form in ("%f", "%.4f", "%g", "%.17g", "%e", "%.18e", "%.9g", "%.14f", "%.15f", "%.16f", "%+.3f"):
        found += [form % value for value in values[:3600]]
    found += ["0", "-0", "-0.0", "1", "9.99999999999999", "0.00000000000000", ".5", "5.", "-.5", "1e5", "1E-5", "+0.1", "007.5"]
    return found


def test_numbers_are_those_of_float() -> None:
    words = spellings(np.random.default_rng(1))
    data = _float_parser.padded(" ".join(words).encode())
    ends = np.cumsum([len(word) + 1 for word in words]) - 1
    starts = ends - [len(word) for word in words]
    found, broken = _float_parser.parse(data, starts, ends)
    with np.errstate(over="ignore"):
        expected = np.array([float(word) for word in words]).astype(np.float32)
    np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))
    assert not broken.size


@pytest.mark.parametrize(
    "word", ["", "-", "0.", "0.1a", "0.a1", "a.1", "0.1234567x", "0.12345678x", "0.123456789012/", "0.1:", "--0.1", "0.1\xff"]
)
def test_what_is_no_number_is_found_anywhere(word: str) -> None:
    encoded = word.encode("latin-1")
    for before in range(9):
        data = _float_parser.padded(b"7" * before + encoded + b"999999999")
        place = np.array([before])
        found, broken = _float_parser.parse(data, place, place + len(encoded))
        if word == "0.":
            assert not broken.size
            assert found[0] == 0
        else:
            assert broken.tolist() == [0], (word, before)


@pytest.mark.shared_data
def test_real_tencent_characters(shared_data: Path) -> None:
    path = shared_data / "vectors" / "tencent_char.200d.vec"
    found = read_vectors(path)
    assert found.table.shape == (4729, 200)
    body = path.read_text(encoding="utf-8").split("\n")[1:-1]
    expected = np.array([line.split(" ")[1:] for line in body], dtype=np.float32)
    np.testing.assert_array_equal(found.table, expected)
    assert list(found.rows) == [line.split(" ")[0] for line in body]
