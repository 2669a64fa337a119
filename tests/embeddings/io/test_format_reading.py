"""The entry: which format a file is read as, sources without files, and plugins."""

from __future__ import annotations

import gzip
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest

from paddlenlp_embtune import VectorError
from paddlenlp_embtune.embeddings.io import ReadOptions, VectorTable, read, read_lac, read_vectors, write_vectors
from paddlenlp_embtune.embeddings.io.options import VectorFormat
from paddlenlp_embtune.plugin import registry
from paddlenlp_embtune.plugin.registry import load
from tests.embeddings.io import fasttext_files

TOKENS = ["a", "涨", "12", "."]
TABLE = np.random.default_rng(0).normal(0, 1, (4, 3)).astype(np.float32)
FORMATS = ("word2vec", "word2vec-binary", "glove", "npz", "safetensors")


def made(name: str, *, claims: bool) -> VectorFormat:
    return VectorFormat(
        lambda source, options: VectorTable({f"{name} {source} {options.damaged}": 0}, TABLE[:1], name),
        lambda path, head: claims and path.exists() and (path.is_dir() or bool(head)),
    )


@pytest.mark.parametrize("name", FORMATS)
def test_formats_are_recognised_by_content_not_by_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / "vectors.of.some.kind"
    write_vectors(path, TOKENS, TABLE, format=name)
    assert read.detect_format(path) == name
    found = read_vectors(str(path))
    np.testing.assert_array_equal(found.table, TABLE)
    assert list(found.rows) == TOKENS


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("width", [1, 2, 3, 8, 300])
@pytest.mark.parametrize("name", FORMATS)
def test_small_and_wide_files_are_recognised(name: str, width: int, seed: int, tmp_path: Path) -> None:
    generator = np.random.default_rng(seed)
    tokens = [str(number) for number in range(1 + seed)]
    path = tmp_path / "v"
    write_vectors(path, tokens, generator.normal(0, 3, (len(tokens), width)), format=name)
    assert read.detect_format(path) == name


def test_a_line_longer_than_what_detection_looks_at(tmp_path: Path) -> None:
    table = np.random.default_rng(0).normal(0, 1, (3, 20_000)).astype(np.float32)
    for name in FORMATS:
        write_vectors(tmp_path / "v", ["a", "b", "c"], table, format=name)
        np.testing.assert_array_equal(read_vectors(tmp_path / "v").table, table)


def test_two_whole_numbers_a_line_are_rows_and_not_a_header(tmp_path: Path) -> None:
    path = tmp_path / "v"
    path.write_text("5 3\n6 4\n7 5\n", encoding="utf-8")
    assert read.detect_format(path) == "glove"
    assert read_vectors(path).rows == {"5": 0, "6": 1, "7": 2}


def test_the_declared_format_wins(tmp_path: Path) -> None:
    path = tmp_path / "v"
    path.write_text("2 1\na 1\nb 2\n", encoding="utf-8")
    assert list(read_vectors(path).rows) == ["a", "b"]
    assert list(read_vectors(path, ReadOptions(format="glove")).rows) == ["2", "a", "b"]
    write_vectors(path, TOKENS, TABLE, format="glove")
    with pytest.raises(VectorError, match="expected in word2vec's format: the number of rows and their width"):
        read_vectors(path, ReadOptions(format="word2vec"))


def test_lac_needs_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    whole = read_lac()
    assert read_vectors("lac").rows == whole.rows
    few = read_vectors("anything", ReadOptions(format="lac", keep={"涨", "跌"}.__contains__))
    assert set(few.rows) == {"涨", "跌"}
    assert whole.unknown_row is not None
    assert few.unknown_row is not None
    np.testing.assert_array_equal(few.table[few.rows["涨"]], whole.table[whole.rows["涨"]])
    np.testing.assert_array_equal(few.table[few.unknown_row], whole.table[whole.unknown_row])
    assert len(few.table) == 3
    with pytest.raises(VectorError, match=r"none of its .* tokens is wanted"):
        read_lac("lac", ReadOptions(keep=lambda _: False))
    write_vectors("lac", TOKENS, TABLE, format="glove")
    assert list(read_vectors("lac").rows) == TOKENS


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("nowhere.txt", ReadOptions(), "no vectors at nowhere.txt, and no format is called so"),
        ("nowhere.txt", ReadOptions(format="glove"), "nowhere.txt does not exist"),
        ("nowhere.txt", ReadOptions(format="npz"), "nowhere.txt does not exist"),
        ("lak", ReadOptions(), "did you mean 'lac'"),
        ("lac", ReadOptions(format="glowe"), "no format of vectors is called 'glowe'; did you mean 'glove'"),
    ],
)
def test_there_is_no_such_thing(source: str, options: ReadOptions, message: str) -> None:
    with pytest.raises(VectorError, match=message):
        read_vectors(source, options)


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "v"
    path.write_text("a 1\n", encoding="utf-8")

    def refuse(self: Path, *_: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(VectorError, match="cannot be read: Permission denied"):
        read_vectors(path)


def test_a_zip_with_a_text_inside(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "glove.zip", "w") as archive:
        archive.writestr("glove.txt", "a 1 2\n")
    with pytest.raises(VectorError, match="unpack it first"):
        read_vectors(tmp_path / "glove.zip")


def test_plugins_are_asked_first(tmp_path: Path) -> None:
    path = tmp_path / "v"
    path.write_text("a 1\n", encoding="utf-8")
    formats = {**read.FORMATS, "mine": made("mine", claims=True), "other": made("other", claims=False)}
    assert list(read_vectors(path, formats=formats).rows) == [f"mine {path} refuse"]
    assert list(read_vectors(tmp_path, formats=formats).rows) == [f"mine {tmp_path} refuse"]
    assert list(read_vectors("other", ReadOptions(damaged="skip"), formats=formats).rows) == ["other other skip"]
    assert list(read_vectors("db://x", ReadOptions(format="other"), formats=formats).rows) == ["other db://x refuse"]
    formats["also"] = made("also", claims=True)
    with pytest.raises(VectorError, match="could be of the formats mine and also; declare one"):
        read_vectors(path, formats=formats)


def test_readers_without_detection_are_for_declared_formats_only(tmp_path: Path) -> None:
    path = tmp_path / "v"
    path.write_text("a 1\n", encoding="utf-8")

    def plain(source: str, options: ReadOptions, /) -> VectorTable:
        return VectorTable({options.duplicates: 0}, TABLE[:1], source)

    formats = {"plain": plain, **read.FORMATS}
    assert list(read_vectors(path, formats=formats).rows) == ["a"]
    assert list(read_vectors(path, ReadOptions(format="plain"), formats=formats).rows) == ["first"]


def test_the_registry_has_the_same_formats() -> None:
    known = load(installed=False)
    former = registry.use(known)
    try:
        assert dict(known.of_kind("vector format")) == dict(read.FORMATS)
    finally:
        registry.use(former)


def test_progress_of_a_compressed_file_counts_its_own_bytes(tmp_path: Path) -> None:
    table = np.random.default_rng(0).normal(0, 1, (4000, 100)).astype(np.float32)
    path = tmp_path / "v.gz"
    write_vectors(path, list(map(str, range(4000))), table, format="word2vec")
    seen: list[tuple[int, int]] = []
    read_vectors(path, ReadOptions(progress=lambda done, size: seen.append((done, size))))
    size = path.stat().st_size
    assert size < len(gzip.decompress(path.read_bytes()))
    assert len(seen) > 1
    assert seen[-1] == (size, size)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


INSERTED = (b"\n", b" ", b"\0", b"9", b"99999999", b"-", b"\xff\xff\xff\xff", b"  ", b"\r\n", b"nan", b"{", b"\x80\x04")


def damage(content: bytes, generator: random.Random) -> bytes:
    """Change, drop, insert, cut or repeat something, early in the file more often than late."""
    data = bytearray(content)
    for _ in range(generator.randint(1, 4)):
        at = generator.randrange(max(1, min(len(data), generator.choice((20, 120, len(data) or 1)))))
        kind = generator.randrange(5)
        if kind == 0:
            data[at : at + 1] = bytes([generator.randrange(256)])
        elif kind == 1:
            del data[at : at + generator.randint(1, 20)]
        elif kind == 2:
            data[at:at] = generator.choice(INSERTED)
        elif kind == 3:
            del data[at:]
        else:
            data += data[at:]
    return bytes(data)


@pytest.mark.parametrize("name", [*FORMATS, "fasttext", "gz", "npy"])
def test_damage_of_any_kind_is_a_vector_error_or_a_sound_table(name: str, tmp_path: Path) -> None:
    path, words = tmp_path / "v", tmp_path / "words.txt"
    words.write_text("\n".join(TOKENS), encoding="utf-8")
    if name in FORMATS:
        write_vectors(path, TOKENS, TABLE, format=name)
    elif name == "fasttext":
        rows = np.ones((4 + 9, 3), dtype=np.float32)
        path.write_bytes(fasttext_files.pack([t.encode() for t in TOKENS], rows, buckets=9, shortest=1, longest=3))
    elif name == "gz":
        write_vectors(tmp_path / "v.gz", TOKENS, TABLE, format="word2vec")
        (tmp_path / "v.gz").replace(path)
    else:
        np.save(tmp_path / "v.npy", TABLE)
        (tmp_path / "v.npy").replace(path)
    content, generator, refused = path.read_bytes(), random.Random(3), 0
    for number in range(150):
        path.write_bytes(damage(content, generator))
        policy = ("refuse", "skip")[number % 2]
        try:
            found = read_vectors(path, ReadOptions(vocabulary=words if name == "npy" else None, damaged=policy))
        except VectorError:
            refused += 1
            continue
        assert sorted(found.rows.values()) == list(range(len(found.table)))
    assert refused > 50
