"""Sentence vectors of bundles: every engine gives those of the layer, in the order of the texts."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.errors import BundleError, DataError
from paddlenlp_embtune.export import add_engines, bundle_writer
from paddlenlp_embtune.inference import Predictor
from paddlenlp_embtune.models import load_layer
from paddlenlp_embtune.text import WindowSpec, pad
from tests.bundles import ENGINES, TEXTS


@pytest.mark.parametrize("engine", [*ENGINES, "paddle"])
def test_vectors_are_what_the_head_of_the_layer_reads(bundle: Bundle, engine: str) -> None:
    import paddle

    ids = [bundle.tokenizer.encode(text, max_length=64) for text in TEXTS[:4]]
    with paddle.no_grad():
        expected = load_layer(bundle.path).features(paddle.to_tensor(pad(ids))).numpy()
    predictor = Predictor(bundle, engine=engine)
    np.testing.assert_allclose(predictor.embed(TEXTS[:4], normalize=False), expected, atol=1e-5)
    unit = predictor.embed(TEXTS[:4])
    assert unit.dtype == np.float32
    np.testing.assert_allclose(unit, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-5)
    output = bundle.manifest.sentence_vectors
    assert output is not None
    assert (output.width, output.pooling) == (6, "max")
    assert bundle.manifest.parity[engine].max_vector_difference < 1e-5


def test_a_vector_does_not_depend_on_its_company_and_blanks_are_zero(bundle: Bundle) -> None:
    predictor = Predictor(bundle, batch_size=2)
    together = predictor.embed([*TEXTS, " \n"])
    np.testing.assert_allclose(together[:-1], np.concatenate([predictor.embed([text]) for text in TEXTS]), atol=1e-6)
    assert not together[-1].any()
    assert predictor.embed([]).shape == (0, 6)


def test_fewer_dimensions_are_the_first_ones_scaled_again(bundle: Bundle) -> None:
    predictor = Predictor(bundle)
    whole, part = predictor.embed(TEXTS[:3]), predictor.embed(TEXTS[:3], dimensions=2)
    np.testing.assert_allclose(part, whole[:, :2] / np.linalg.norm(whole[:, :2], axis=1, keepdims=True), atol=1e-6)
    for wrong in (0, 7):
        with pytest.raises(DataError, match=f"dimensions is {wrong}; expected 1"):
            predictor.embed(TEXTS, dimensions=wrong)


def test_windows_count_by_their_tokens(bundle: Bundle) -> None:
    text = "股份回购" * 20 + "。减持"
    windows = WindowSpec(overlap_tokens=0)
    predictor = Predictor(bundle, windows=windows)
    tokenized = predictor._tokenize([text])
    assert len(tokenized.ids) > 1
    assert tokenized.spans is not None
    parts = Predictor(bundle).embed([text[begin:end] for begin, end in tokenized.spans], normalize=False)
    lengths = np.array([len(ids) for ids in tokenized.ids])[:, None]
    np.testing.assert_allclose(
        predictor.embed([text], normalize=False)[0], (parts * lengths).sum(axis=0) / lengths.sum(), atol=1e-5
    )


def test_a_bundle_without_vectors_says_how_to_get_them(bundle: Bundle, tmp_path: Path) -> None:
    parity = {name: dataclasses.replace(record, max_vector_difference=None) for name, record in bundle.manifest.parity.items()}
    old = bundle_writer.reseal(bundle, tmp_path / "old", sentence_vectors=None, parity=parity)
    assert Predictor(old).predict(["停牌"])[0]["label"] is not None
    with pytest.raises(BundleError, match=r"no sentence vectors.*embtune export .*old --engine onnxruntime"):
        Predictor(old).embed(["停牌"])
    again = add_engines(old, tmp_path / "again", engines=["onnxruntime"])
    np.testing.assert_allclose(Predictor(again).embed(TEXTS), Predictor(bundle).embed(TEXTS), atol=1e-6)
    with pytest.raises(BundleError, match=r"engine 'paddle_inference' give no sentence vectors"):
        Predictor(again, engine="paddle_inference").embed(TEXTS)


def test_a_damaged_vector_program_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(bundle.path, tmp_path / "copied"))
    lying = bundle_writer.reseal(Bundle.open(copied), copied, sentence_vectors=dataclasses.replace(_output(bundle), width=5))
    with pytest.raises(BundleError, match=r"vectors of shape \(1, 6\); expected \(1, 5\)"):
        Predictor(lying).embed(["停牌"])


def _output(bundle: Bundle) -> Any:
    return bundle.manifest.sentence_vectors
