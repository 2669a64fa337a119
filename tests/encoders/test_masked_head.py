"""The head of masked-language models: read by its names in every layout, and it scores as PaddleNLP's does."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import paddle
import paddlenlp.transformers as transformers
import pytest

from paddlenlp_embtune.encoders import load_encoder, save_encoder
from paddlenlp_embtune.encoders.masked_head import MASKED_HEAD, find_masked_head
from paddlenlp_embtune.models import MaskedLanguageModel
from tests.encoders import tiny_encoder

HEAD = {
    "transform.weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "transform.bias": np.arange(4, dtype=np.float32),
    "norm.weight": np.ones(4, np.float32),
    "norm.bias": np.zeros(4, np.float32),
    "scores": np.arange(5, dtype=np.float32),
}
OF_TORCH = {
    "transform.weight": "cls.predictions.transform.dense.weight",
    "transform.bias": "cls.predictions.transform.dense.bias",
    "norm.weight": "cls.predictions.transform.LayerNorm.gamma",
    "norm.bias": "cls.predictions.transform.LayerNorm.beta",
    "scores": "cls.predictions.bias",
}
ROBERTA = {
    "transform.weight": "lm_head.dense.weight",
    "transform.bias": "lm_head.dense.bias",
    "norm.weight": "lm_head.layer_norm.weight",
    "norm.bias": "lm_head.layer_norm.bias",
    "scores": "lm_head.bias",
}


@pytest.mark.parametrize("names", [MASKED_HEAD, OF_TORCH, ROBERTA], ids=["paddlenlp", "torch", "roberta"])
def test_a_head_is_found_by_its_names(names: dict[str, str]) -> None:
    stored = {names[own]: value for own, value in HEAD.items()} | {"cls.seq_relationship.weight": np.ones((4, 2), np.float32)}
    found = find_masked_head(stored, rows=5)
    assert set(found) == set(HEAD)
    for own, value in HEAD.items():
        np.testing.assert_array_equal(found[own], value)


def test_a_head_that_is_not_whole_or_does_not_fit_is_none() -> None:
    stored = {MASKED_HEAD[own]: value for own, value in HEAD.items()}
    assert find_masked_head(stored, rows=6) == {}
    assert find_masked_head({name: value for name, value in stored.items() if "norm" not in name}, rows=5) == {}


def test_it_scores_as_paddlenlps_model_does(tmp_path: Path) -> None:
    save_encoder(tiny_encoder(), tmp_path / "plain")
    theirs = transformers.BertForMaskedLM.from_pretrained(str(tmp_path / "plain"))
    generator = np.random.default_rng(1)
    for name, value in theirs.named_parameters():
        if name.startswith("cls.") and "decoder.weight" not in name:
            value.set_value(generator.normal(1, 0.3, value.shape).astype(np.float32))
    theirs.eval()
    theirs.save_pretrained(str(tmp_path / "theirs"))
    config = json.loads((tmp_path / "theirs" / "config.json").read_text(encoding="utf-8"))
    plain = {name: value for name, value in config.items() if not name.startswith("embtune")}
    (tmp_path / "theirs" / "config.json").write_text(json.dumps(plain), encoding="utf-8")
    for name in ("vocab.txt", "tokenizer_config.json"):
        shutil.copy(tmp_path / "plain" / name, tmp_path / "theirs" / name)
    found = load_encoder(str(tmp_path / "theirs"))
    again = load_encoder(str(save_encoder(found, tmp_path / "again")))
    ids = np.array([found.tokenizer.encode("公司业绩增长")])
    with paddle.no_grad():
        expected = theirs(paddle.to_tensor(ids))
        expected = (expected[0] if isinstance(expected, tuple) else expected).numpy().reshape(-1, len(found.table))
        for pretrained in (found, again):
            ours = MaskedLanguageModel(pretrained)
            ours.eval()
            scores = ours(paddle.to_tensor(ids), paddle.to_tensor([2, 4])).numpy()
            np.testing.assert_allclose(scores, expected[[2, 4]], atol=2e-4)
    assert dataclasses.replace(found, masked_head={}).fingerprint() == again.fingerprint()
