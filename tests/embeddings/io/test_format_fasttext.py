"""fastText's ``.bin``: words, subwords for unseen words, and that damage is found."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from paddlenlp_embtune import VectorError
from paddlenlp_embtune.embeddings.io import ReadOptions, VectorTable, read_vectors
from tests.embeddings.io.fasttext_files import pack

WORDS = ["涨停", "</s>", "abc", "é", "a"]
BYTES = [word.encode() for word in WORDS]
BUCKETS, SHORTEST, LONGEST, WIDTH = 50, 2, 3, 4
MATRIX = np.random.default_rng(0).normal(0, 1, (len(WORDS) + BUCKETS, WIDTH)).astype("<f4")
GOOD = pack(BYTES, MATRIX, buckets=BUCKETS, shortest=SHORTEST, longest=LONGEST)


def read(content: bytes, folder: Path, options: ReadOptions | None = None) -> VectorTable:
    path = folder / "some.bin"
    path.write_bytes(content)
    return read_vectors(path, options)


def signed_fnv(data: bytes) -> int:
    value = 2166136261
    for byte in data:
        signed = byte - 256 if byte > 127 else byte
        value = ((value ^ (signed % 2**32)) * 16777619) % 2**32
    return value


def reference(word: str) -> np.ndarray | None:
    """The vector by the definition: the mean over the word and all its n-grams."""
    rows = [WORDS.index(word)] if word in WORDS else []
    if word != "</s>":
        framed = f"<{word}>"
        for start in range(len(framed)):
            for length in range(SHORTEST, LONGEST + 1):
                if start + length <= len(framed):
                    rows.append(len(WORDS) + signed_fnv(framed[start : start + length].encode()) % BUCKETS)
    return MATRIX[rows].astype(np.float64).mean(axis=0) if rows else None


@pytest.mark.parametrize("word", [*WORDS, "涨", "abcd", "𝔘nseen", "", "x", "é́"])
def test_words_are_the_mean_of_their_parts(word: str, tmp_path: Path) -> None:
    found = read(GOOD, tmp_path)
    assert list(found.rows) == WORDS
    assert found.compose is not None
    composed = found.compose(word)
    assert composed is not None
    assert composed.dtype == np.float32
    np.testing.assert_allclose(composed, reference(word), rtol=2e-6, atol=1e-7)
    if word in WORDS:
        np.testing.assert_array_equal(found.table[found.rows[word]], composed)


def test_only_what_is_wanted_is_composed(tmp_path: Path) -> None:
    found = read(GOOD, tmp_path, ReadOptions(keep="abc".__eq__))
    assert list(found.rows) == ["abc"]
    np.testing.assert_allclose(found.table[0], reference("abc"), rtol=2e-6)
    assert found.compose is not None
    np.testing.assert_allclose(found.compose("涨停"), reference("涨停"), rtol=2e-6)


def test_nothing_kept_leaves_the_subwords(tmp_path: Path) -> None:
    found = read(GOOD, tmp_path, ReadOptions(keep=lambda _: False))
    assert found.table.shape == (0, WIDTH)
    assert found.compose is not None
    np.testing.assert_allclose(found.compose("new"), reference("new"), rtol=2e-6)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(pack(BYTES, MATRIX[:5]), id="no n-grams"),
        pytest.param(pack(BYTES, MATRIX, buckets=50), id="buckets for word n-grams"),
        pytest.param(
            pack(BYTES, MATRIX, buckets=50, shortest=2, longest=3, version=11, model=3, labels=(b"__label__a",)), id="old"
        ),
    ],
)
def test_models_without_subwords(content: bytes, tmp_path: Path) -> None:
    found = read(content, tmp_path)
    np.testing.assert_array_equal(found.table, MATRIX[:5])
    assert found.compose is not None
    assert found.compose("unseen") is None
    np.testing.assert_array_equal(found.compose("abc"), MATRIX[2])


def test_labels_are_no_words(tmp_path: Path) -> None:
    content = pack(BYTES, MATRIX, buckets=BUCKETS, shortest=SHORTEST, longest=LONGEST, model=3, labels=(b"__label__x",))
    found = read(content, tmp_path)
    assert list(found.rows) == WORDS
    np.testing.assert_allclose(found.table[0], reference("涨停"), rtol=2e-6)


def test_progress_ends_at_the_size(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    read(GOOD, tmp_path, ReadOptions(progress=lambda done, size: seen.append((done, size))))
    assert seen[-1] == (len(GOOD), len(GOOD))


@pytest.mark.parametrize("length", [*range(4, 300, 7), *range(len(GOOD) - 40, len(GOOD) - 18)])
def test_cut_off(length: int, tmp_path: Path) -> None:
    with pytest.raises(VectorError, match="fetch it again"):
        read(GOOD[:length], tmp_path)


BROKEN = MATRIX.copy()
BROKEN[2, 1] = np.nan


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(pack(BYTES, MATRIX[:5], quantized=True), "quantized.*ftz.*print-word-vectors", id="ftz"),
        pytest.param(pack(BYTES, MATRIX[:5], pruned=3), "quantized or pruned", id="pruned"),
        pytest.param(pack(BYTES, MATRIX[:5], version=13), "version 13", id="newer"),
        pytest.param(pack(BYTES, MATRIX[:5], width=9), "5 rows of 4 .* its header says", id="width"),
        pytest.param(pack(BYTES, MATRIX, buckets=49, longest=3), "55 rows of 4 .* 49 buckets", id="buckets"),
        pytest.param(pack(BYTES, MATRIX[:5], rows=2**40), "its header says", id="rows"),
        pytest.param(pack([b"ok", b"\xb5\xf8"], MATRIX[:2]), "byte 104: the word .* is not UTF-8", id="GBK"),
        pytest.param(pack(BYTES, BROKEN[:5]), "word 3: 'abc' has NaN", id="NaN"),
        pytest.param(gzip.compress(GOOD), "unpack it first with: gunzip", id="gz"),
    ],
)
def test_bad_files(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(VectorError, match=message):
        read(content, tmp_path)


def test_broken_ngrams_never_become_a_vector(tmp_path: Path) -> None:
    broken = MATRIX.copy()
    broken[len(WORDS) :] = np.inf
    content = pack(BYTES, broken, buckets=BUCKETS, shortest=SHORTEST, longest=LONGEST)
    found = read(content, tmp_path, ReadOptions(keep="</s>".__eq__))
    assert found.compose is not None
    with pytest.raises(VectorError, match="the n-grams of 'new' hold NaN or infinite values"):
        found.compose("new")
    skipping = read(content, tmp_path, ReadOptions(damaged="skip"))
    assert list(skipping.rows) == ["</s>"]
    assert skipping.notes == ("4 rows skipped: with NaN or infinite values",)
    assert skipping.compose is not None
    assert skipping.compose("new") is None


def test_a_text_that_is_declared_as_fasttext(tmp_path: Path) -> None:
    with pytest.raises(VectorError, match=r"a .vec file has the format 'word2vec'"):
        read(b"1 3\na 1 2 3\n" * 20, tmp_path, ReadOptions(format="fasttext"))


def test_a_damaged_word_can_be_skipped(tmp_path: Path) -> None:
    found = read(pack([b"ok", b"\xb5\xf8", b"z"], MATRIX[:3]), tmp_path, ReadOptions(damaged="skip"))
    assert list(found.rows) == ["ok", "z"]
    np.testing.assert_array_equal(found.table, MATRIX[[0, 2]])
