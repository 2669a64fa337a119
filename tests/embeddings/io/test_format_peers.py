"""Against the originals: files of gensim and fastText load to the same vectors, and gensim loads ours."""

from __future__ import annotations

import gzip
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paddlenlp_embtune import VectorError
from paddlenlp_embtune.embeddings.io import ReadOptions, read_vectors, write_vectors

TEXT = ("the fish eats bread and the cat eats fish", "公司 拟 回购 股份", "控股 股东 减持 股份 est été", "a b c a b c") * 8
UNSEEN = ["breads", "fishing", "回购股", "éte", "zzz", "q"]


@pytest.fixture(scope="module")
def gensim() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("gensim")


@pytest.fixture(scope="module")
def vectors(gensim: Any) -> Any:
    found = gensim.models.KeyedVectors(7)
    tokens = ["涨", "跌", "a.b", "\u3000x", "\x85", "12", "U.S."]
    found.add_vectors(tokens, np.random.default_rng(0).normal(0, 2, (len(tokens), 7)).astype(np.float32))
    return found


@pytest.mark.parametrize(
    ("options", "name", "expected"),
    [
        ({}, "w.txt", "word2vec"),
        ({}, "w.txt.gz", "word2vec"),
        ({}, "w.txt.bz2", "word2vec"),
        ({"binary": True}, "w.bin", "word2vec-binary"),
        ({"binary": True}, "w.bin.gz", "word2vec-binary"),
        ({"write_header": False}, "w.glove", "glove"),
    ],
)
def test_what_gensim_writes(options: dict[str, Any], name: str, expected: str, vectors: Any, tmp_path: Path) -> None:
    path = tmp_path / name
    vectors.save_word2vec_format(str(path), **options)
    for format_ in (None, expected):
        found = read_vectors(path, ReadOptions(format=format_))
        assert list(found.rows) == vectors.index_to_key
        np.testing.assert_array_equal(found.table, vectors.vectors)


@pytest.mark.parametrize(
    ("name", "format_", "options"),
    [
        ("o.txt", "word2vec", {}),
        ("o.txt.gz", "word2vec", {}),
        ("o.bin", "word2vec-binary", {"binary": True}),
        ("o.bin.gz", "word2vec-binary", {"binary": True}),
        ("o.glove", "glove", {"no_header": True}),
    ],
)
@pytest.mark.filterwarnings("ignore")  # gensim leaves a file open where there is no header
def test_gensim_reads_what_we_write(
    name: str, format_: str, options: dict[str, Any], gensim: Any, vectors: Any, tmp_path: Path
) -> None:
    path = tmp_path / name
    write_vectors(path, vectors.index_to_key, vectors.vectors, format=format_)
    found = gensim.models.KeyedVectors.load_word2vec_format(str(path), **options)
    assert found.index_to_key == vectors.index_to_key
    np.testing.assert_array_equal(found.vectors, vectors.vectors)


@pytest.mark.parametrize("name", ["v.kv", "v.model", "v.bin"])
def test_gensims_own_files_are_refused_with_the_safe_way(name: str, vectors: Any, tmp_path: Path) -> None:
    path = tmp_path / name
    vectors.save(str(path))
    for format_ in (None, "word2vec-binary"):
        with pytest.raises(VectorError, match=r"is a pickle.*save_word2vec_format\(path, binary=True\)"):
            read_vectors(path, ReadOptions(format=format_))
    packed = tmp_path / "packed.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(VectorError, match="is a pickle"):
        read_vectors(packed)


@pytest.mark.parametrize("longest", [4, 0])
@pytest.mark.filterwarnings("ignore")
def test_what_gensim_writes_as_fasttext(longest: int, gensim: Any, tmp_path: Path) -> None:
    settings = {"bucket": 200, "min_n": 1, "max_n": longest, "vector_size": 9, "min_count": 1, "epochs": 2, "workers": 1}
    model = gensim.models.FastText([line.split() for line in TEXT], seed=1, **settings)
    path = tmp_path / "model.bin"
    gensim.models.fasttext.save_facebook_model(model, str(path))
    expected = gensim.models.fasttext.load_facebook_vectors(str(path))
    found = read_vectors(path)
    assert list(found.rows) == expected.index_to_key
    for word in expected.index_to_key:
        np.testing.assert_allclose(found.table[found.rows[word]], expected[word], rtol=2e-6, atol=1e-7)
    assert found.compose is not None
    for word in UNSEEN if longest else ():
        np.testing.assert_allclose(found.compose(word), expected.get_vector(word), rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize(
    "settings",
    [
        {"model": "skipgram", "minn": 3, "maxn": 6, "bucket": 2000},
        {"model": "cbow", "minn": 1, "maxn": 2, "bucket": 300},
        {"model": "skipgram", "minn": 0, "maxn": 0},
        {"model": "skipgram", "minn": 0, "maxn": 3, "bucket": 64},
        {"model": "supervised", "minn": 2, "maxn": 4, "bucket": 500},
        {"model": "supervised", "wordNgrams": 2, "bucket": 500},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore")
def test_what_fasttext_writes(settings: dict[str, Any], tmp_path: Path) -> None:
    fasttext = pytest.importorskip("fasttext")
    data = tmp_path / "data.txt"
    supervised = settings["model"] == "supervised"
    lines = (f"__label__{number % 2} {line}" if supervised else line for number, line in enumerate(TEXT))
    data.write_text("\n".join(lines) + "\n", encoding="utf-8")
    common = {"dim": 11, "epoch": 2, "minCount": 1, "thread": 1, "verbose": 0}
    if supervised:
        options = {key: value for key, value in settings.items() if key != "model"}
        model = fasttext.train_supervised(str(data), **options, **common)
    else:
        model = fasttext.train_unsupervised(str(data), **settings, **common)
    path = tmp_path / "model.bin"
    model.save_model(str(path))
    found = read_vectors(path)
    assert list(found.rows) == [word for word in model.get_words() if not word.startswith("__label__")]
    for word in found.rows:
        np.testing.assert_array_equal(found.table[found.rows[word]], model.get_word_vector(word), err_msg=word)
    assert found.compose is not None
    for word in UNSEEN:
        expected, composed = model.get_word_vector(word), found.compose(word)
        if composed is None:
            assert not expected.any()
        else:
            np.testing.assert_array_equal(composed, expected, err_msg=word)


@pytest.mark.filterwarnings("ignore")
def test_a_quantized_model_of_fasttext_is_refused(tmp_path: Path) -> None:
    fasttext = pytest.importorskip("fasttext")
    data = tmp_path / "data.txt"
    lines = (f"__label__{number % 2} w{number} w{number % 97} {line}" for number, line in enumerate(TEXT * 40))
    data.write_text("\n".join(lines) + "\n", encoding="utf-8")
    model = fasttext.train_supervised(str(data), dim=4, epoch=1, minCount=1, thread=1, verbose=0)
    model.quantize()
    model.save_model(str(tmp_path / "model.ftz"))
    with pytest.raises(VectorError, match=r"quantized.*give the .bin"):
        read_vectors(tmp_path / "model.ftz")
