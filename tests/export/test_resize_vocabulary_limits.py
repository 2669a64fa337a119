"""Bundles that are extended and cut in turn, with every tokenizer, and trained on from there."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paddlenlp_embtune import DataError, Predictor, Recipe, train
from paddlenlp_embtune.bundle.embedding import embedding_table
from paddlenlp_embtune.bundle.reader import Bundle
from paddlenlp_embtune.export.resize_vocabulary import cut_bundle, extend_bundle
from paddlenlp_embtune.text import UNK
from tests.helpers import ROWS, hidden, tsv

TEXTS = [text for text, _ in ROWS]
CHARACTERS = sorted(set("".join(TEXTS)))


def recipe(folder: Path, tokenizer: str) -> Recipe:
    (folder / "train.tsv").write_text(tsv(ROWS), encoding="utf-8")
    (folder / "terms.txt").write_text("控股股东\n回购股份\nETF基金\n", encoding="utf-8")
    vocabulary = ["[PAD]", "[CLS]", "[SEP]", UNK, *CHARACTERS, "##股"]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    text: dict[str, Any] = {"tokenizer": tokenizer, "terms": str(folder / "terms.txt"), "max_length": 32, "extra_rows": 20}
    text |= {"vocabulary": str(folder / "vocab.txt")} if tokenizer == "wordpiece" else {}
    return Recipe.from_dict(
        {
            "data": {"train": str(folder / "train.tsv")},
            "text": {**text, "pieces": 120},
            "model": {"options": {"filters": 4, "ngram_buckets": 0}},
            "train": {"epochs": 1},
            "freeze": None,
            "health": None,
            "sparse": {"from_rows": 0},
            "export": {"engines": [], "calibrate": False},
        }
    )


@pytest.mark.parametrize("tokenizer", ["char", "word", "wordpiece", "sentencepiece"])
def test_extended_cut_extended_and_trained_on(tokenizer: str, tmp_path: Path) -> None:
    first = recipe(tmp_path, tokenizer)
    whole = Bundle.open(train(first, tmp_path / "run").bundle)
    longer = extend_bundle(whole, tmp_path / "longer", ["退市风险", "控股股东", "新 词"]).bundle
    cut = cut_bundle(longer, tmp_path / "cut", TEXTS[:30])
    np.testing.assert_array_equal(embedding_table(cut.bundle), embedding_table(longer)[cut.change.rows])  # type: ignore[union-attr]
    answers = [Predictor(bundle, engine="paddle").probabilities(TEXTS[:30]) for bundle in (longer, cut.bundle)]
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-6)
    again = extend_bundle(cut.bundle, tmp_path / "again", ["审计机构"]).bundle
    assert "审计机构" in again.tokenizer.tokens("聘任审计机构")
    onward = dataclasses.replace(
        first,
        model=dataclasses.replace(first.model, start=str(again.path), options={}),
        text=dataclasses.replace(first.text, vocabulary=None),
        data=dataclasses.replace(first.data, labels=whole.manifest.labels),
    )
    tuned = Bundle.open(train(onward, tmp_path / "onward").bundle)
    assert tuned.vocabulary.tokens[: len(again.vocabulary)] == again.vocabulary.tokens
    assert not hidden(tmp_path)


def test_a_bundle_may_be_resized_in_its_own_place(tmp_path: Path) -> None:
    whole = Bundle.open(train(recipe(tmp_path, "char"), tmp_path / "run").bundle)
    longer = extend_bundle(whole, whole.path, ["退市风险"]).bundle
    assert Bundle.open(whole.path).vocabulary.tokens == longer.vocabulary.tokens
    cut = cut_bundle(longer, whole.path, TEXTS[:5]).bundle
    assert Bundle.open(whole.path).vocabulary.tokens == cut.vocabulary.tokens
    for bad, error in ((["公"], DataError), ([], DataError), ([""], DataError), (["公司\n股份"], DataError)):
        with pytest.raises(error):
            extend_bundle(cut, tmp_path / "bad", bad)
    with pytest.raises(DataError, match="hold no token"):
        cut_bundle(cut, tmp_path / "bad", ["", " "])
    with pytest.raises(DataError):
        cut_bundle(cut, tmp_path / "bad", TEXTS, texts=TEXTS[:3], labels=["利好"] * 3)
    assert not (tmp_path / "bad").exists()
    assert not hidden(tmp_path)
