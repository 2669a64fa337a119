"""The input embedding of checkpoints and of our own bundles."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from paddlenlp_embtune import VectorError
from paddlenlp_embtune.builtin import FINANCE
from paddlenlp_embtune.embeddings.io import ReadOptions, VectorTable, read_vectors
from tests.pickles import Bomb

TOKENS = ["[PAD]", "[UNK]", "涨", "$", "跌", "$"]
TABLE = np.random.default_rng(0).normal(0, 1, (len(TOKENS), 4)).astype(np.float32)
NAME = "ernie.embeddings.word_embeddings.weight"
OTHERS = {
    "ernie.embeddings.position_embeddings.weight": TABLE[:3],
    "ernie.encoder.layers.0.linear1.weight": np.ones((4, 6), dtype=np.float32),
    "classifier.weight": np.ones((4, 3), dtype=np.float32),
    "classifier.bias": np.ones(3, dtype=np.float32),
}


def save(folder: Path, *, kind: str = "safetensors", name: str = NAME, table: np.ndarray = TABLE, **others: Any) -> Path:
    folder.mkdir(exist_ok=True)
    weights = {**OTHERS, name: table, **others}
    if kind == "safetensors":
        save_file(weights, folder / "model.safetensors")
    else:
        (folder / "model_state.pdparams").write_bytes(pickle.dumps({**weights, "StructuredToParameterName@@": {"a": "b"}}))
    (folder / "config.json").write_text("{}", encoding="utf-8")
    (folder / "vocab.txt").write_text("\n".join(TOKENS) + "\n", encoding="utf-8")
    return folder


def check(found: VectorTable, table: np.ndarray = TABLE) -> None:
    assert found.rows.keys() == set(TOKENS)
    for row, token in enumerate(TOKENS):
        if row != 3:  # "$" stands twice, and its last row is the one in use
            np.testing.assert_array_equal(found.table[found.rows[token]], table[row])
    assert found.unknown_row == found.rows["[UNK]"]
    assert found.notes == ("1 duplicate tokens, the last row of each kept",)


@pytest.mark.parametrize("kind", ["safetensors", "pdparams"])
@pytest.mark.parametrize(
    "name", [NAME, "qwen2.embed_tokens.weight", "embeddings.weight", "embedding.weight", "something.else"], ids=str
)
def test_checkpoints(name: str, kind: str, tmp_path: Path) -> None:
    check(read_vectors(save(tmp_path / "c", kind=kind, name=name)))


@pytest.mark.parametrize("kind", ["safetensors", "pdparams"])
def test_half_precision_is_widened(kind: str, tmp_path: Path) -> None:
    table = TABLE.astype(np.float16)
    check(read_vectors(save(tmp_path / "c", kind=kind, table=table)), table.astype(np.float32))


def test_bfloat16_of_paddle(tmp_path: Path) -> None:
    bits = (TABLE.view(np.uint32) >> 16).astype(np.uint16)
    expected = (bits.astype(np.uint32) << 16).view(np.float32)
    check(read_vectors(save(tmp_path / "c", kind="pdparams", table=bits)), expected)


def test_some_tokens_and_always_the_unknown_one(tmp_path: Path) -> None:
    found = read_vectors(save(tmp_path / "c"), ReadOptions(keep="跌".__eq__))
    assert list(found.rows) == ["[UNK]", "跌"]
    np.testing.assert_array_equal(found.table, TABLE[[1, 4]])
    assert found.unknown_row == 0


def test_the_declared_tensor_and_vocabulary_win(tmp_path: Path) -> None:
    folder = save(tmp_path / "c", other=TABLE * 2)
    check(read_vectors(folder, ReadOptions(tensor="other")), TABLE * 2)
    (tmp_path / "v.txt").write_text("abcdef", encoding="utf-8")
    (tmp_path / "v.txt").write_text("\n".join("abcdef"), encoding="utf-8")
    assert list(read_vectors(folder, ReadOptions(vocabulary=tmp_path / "v.txt")).rows) == list("abcdef")


@pytest.mark.parametrize("kind", ["safetensors", "pdparams"])
def test_ambiguous_tables_are_listed(kind: str, tmp_path: Path) -> None:
    folder = save(tmp_path / "c", kind=kind, name="one", two=TABLE)
    with pytest.raises(VectorError, match=r"tensors that could be the table.*one \(6, 4\).*two \(6, 4\)"):
        read_vectors(folder)


def test_duplicates_can_be_refused(tmp_path: Path) -> None:
    with pytest.raises(VectorError, match=r"row 5: the token '\$' comes a second time"):
        read_vectors(save(tmp_path / "c"), ReadOptions(duplicates="refuse"))


def test_lacking_files(tmp_path: Path) -> None:
    folder = save(tmp_path / "c")
    (folder / "vocab.txt").unlink()
    with pytest.raises(VectorError, match=r"lacks vocab.txt"):
        read_vectors(folder)
    (folder / "config.json").unlink()
    with pytest.raises(VectorError, match="neither a checkpoint of PaddleNLP nor a bundle"):
        read_vectors(folder)
    with pytest.raises(VectorError, match="is not a PaddleNLP checkpoint; expected"):
        read_vectors(folder, ReadOptions(format="checkpoint"))
    with pytest.raises(VectorError, match="is neither a bundle nor a run with one"):
        read_vectors(folder, ReadOptions(format="bundle"))
    with pytest.raises(VectorError, match="is a folder"):
        read_vectors(folder, ReadOptions(format="glove"))


@pytest.mark.parametrize("content", [pickle.dumps({"a": Bomb()}), b"nothing", pickle.dumps([1])])
def test_bad_pdparams(content: bytes, tmp_path: Path) -> None:
    folder = save(tmp_path / "c", kind="pdparams")
    (folder / "model_state.pdparams").write_bytes(content)
    with pytest.raises(VectorError, match=r"pdparams"):
        read_vectors(folder)


def test_more_than_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paddlenlp_embtune.embeddings.io.checkpoint.available_memory", lambda: 10)
    with pytest.raises(VectorError, match="read whole and needs"):
        read_vectors(save(tmp_path / "c", kind="pdparams"))


def test_the_bundle_in_the_box(tmp_path: Path) -> None:
    found = read_vectors(FINANCE / "bundle")
    words = (FINANCE / "bundle" / "vocab.txt").read_text(encoding="utf-8").split("\n")[:-1]
    assert list(found.rows) == words
    expected = load_file(FINANCE / "bundle" / "weights.safetensors")["embedding.weight"]
    np.testing.assert_array_equal(found.table, expected.astype(np.float32))
    assert found.unknown_row == words.index("[UNK]")
    run = tmp_path / "run"
    shutil.copytree(FINANCE / "bundle", run / "bundle")
    assert read_vectors(run).rows == found.rows
    (run / "bundle" / "vocab.txt").write_text("\n".join(reversed(words)), encoding="utf-8")
    with pytest.raises(VectorError, match=r"do not match bundle.json"):
        read_vectors(run)
    (run / "bundle" / "vocab.txt").unlink()
    with pytest.raises(VectorError, match=r"lacks vocab.txt"):
        read_vectors(run)
    (run / "bundle" / "bundle.json").write_text(json.dumps([]), encoding="utf-8")
    with pytest.raises(VectorError, match="is neither a bundle nor a run with one"):
        read_vectors(run)


def test_a_checkpoint_that_paddlenlp_saved(tmp_path: Path) -> None:
    paddle = pytest.importorskip("paddle")
    from paddlenlp.transformers import ErnieConfig, ErnieModel

    sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8, "max_position_embeddings": 6}
    model = ErnieModel(ErnieConfig(vocab_size=len(TOKENS), hidden_size=4, type_vocab_size=2, **sizes))
    for safe in (False, True):
        folder = tmp_path / str(safe)
        model.save_pretrained(str(folder), **({"safe_serialization": True} if safe else {}))
        (folder / "vocab.txt").write_text("\n".join(TOKENS) + "\n", encoding="utf-8")
        weight = model.embeddings.word_embeddings.weight
        check(read_vectors(folder), weight.numpy())
        assert isinstance(weight, paddle.Tensor)
