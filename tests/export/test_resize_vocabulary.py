"""Bundles that get further tokens, or lose those that a domain does not use."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paddlenlp_embtune import BundleError, DataError, Predictor, Recipe, VectorError, train
from paddlenlp_embtune.bundle.embedding import embedding_table
from paddlenlp_embtune.bundle.reader import Bundle
from paddlenlp_embtune.embeddings.init import Origin
from paddlenlp_embtune.embeddings.io import VectorTable
from paddlenlp_embtune.embeddings.resize import add_tokens
from paddlenlp_embtune.export.resize_vocabulary import cut_bundle, extend_bundle
from paddlenlp_embtune.text import PAD, UNK, AddedTerms, CharTokenizer, PrunedTokenizer, Vocabulary
from tests.helpers import ROWS, TinyRun, hidden, tsv

TEXTS = [text for text, _ in ROWS]
TERMS = ["控股股东", "回购股份", "公司"]


@pytest.fixture(scope="module")
def bundle(tiny_run: TinyRun) -> Bundle:
    return Bundle.open(tiny_run.bundle)


@pytest.fixture(scope="module")
def without_engines(tiny_run: TinyRun, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The weights alone, where a test does not need programs, which take seconds to export."""
    recipe = Recipe.load(tiny_run.recipe)
    recipe = dataclasses.replace(recipe, export=dataclasses.replace(recipe.export, engines=()))
    return Bundle.open(train(recipe, tmp_path_factory.mktemp("weights") / "run").bundle)


def test_new_terms_get_tokens_and_rows_and_old_ones_stay_bit_for_bit(bundle: Bundle, tmp_path: Path) -> None:
    done = extend_bundle(bundle, tmp_path / "longer", TERMS)
    assert isinstance(done.change, AddedTerms)
    assert done.change.added == tuple(TERMS)
    before, after = embedding_table(bundle), embedding_table(done.bundle)
    np.testing.assert_array_equal(after[: len(before)], before)
    assert after.shape[0] == len(before) + 3
    assert done.bundle.vocabulary.tokens[: len(before)] == bundle.vocabulary.tokens
    assert set(done.bundle.manifest.engines) == set(bundle.manifest.engines)
    assert done.bundle.manifest.vectors["extended"] == {"terms": 3, "origins": {"mean of pieces": 3}}
    assert any("calibration" in note for note in done.notes) is (bundle.manifest.calibration is not None)


def test_answers_on_texts_without_the_terms_do_not_change(bundle: Bundle, tmp_path: Path) -> None:
    fitted = dataclasses.replace(bundle.manifest, temperature=0.5, thresholds=dict.fromkeys(bundle.manifest.labels, 0.7))
    bundle = dataclasses.replace(bundle, manifest=fitted)
    longer = extend_bundle(bundle, tmp_path / "longer", ["控股股东", "回购股份"]).bundle
    now = Predictor(longer)
    without = [text for text in TEXTS if "控股股东" not in text and "回购股份" not in text]
    np.testing.assert_allclose(now.probabilities(without), Predictor(bundle).probabilities(without), atol=1e-6)
    assert longer.manifest.thresholds == bundle.manifest.thresholds
    assert now.bundle.tokenizer.tokens("拟回购股份") == ["拟", "回购股份"]


def test_labelled_rows_bring_calibration_and_figures(without_engines: Bundle, tmp_path: Path) -> None:
    labels = [label for _, label in ROWS]
    done = extend_bundle(without_engines, tmp_path / "longer", TERMS, texts=TEXTS, labels=labels)
    assert done.bundle.manifest.calibration is not None
    assert done.bundle.manifest.metrics["dev"]["n"] == len(TEXTS)


def test_pretrained_vectors_give_the_rows_of_terms_that_they_have() -> None:
    """Vectors that are the model's own, turned and stretched: what they have for a term comes out at its place in the model."""
    tokens = [chr(0x4E00 + number) for number in range(300)]
    tokenizer = CharTokenizer(Vocabulary([PAD, UNK, *tokens]))
    table = np.random.default_rng(0).normal(0, 0.1, (302, 16)).astype(np.float32)
    table[0] = 0.0
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(16, 16)))[0]
    place = np.random.default_rng(2).normal(0, 0.1, 16)
    there = (3.0 * np.concatenate([table[2:], place[None]]) @ turn).astype(np.float32)
    vectors = VectorTable(dict(zip([*tokens, "一丁"], range(301), strict=True)), there, "elsewhere")
    longer, change, grown, coverage = add_tokens(tokenizer, table, ["一丁", "丂七"], vectors)
    assert change.added == ("一丁", "丂七")
    assert coverage.origins == (Origin.EXACT, Origin.PIECES)
    np.testing.assert_array_equal(grown[:302], table)
    new = grown[longer.vocabulary.ids["一丁"]]
    assert np.dot(new, place) / np.linalg.norm(new) / np.linalg.norm(place) > 0.99
    assert 0.9 < np.linalg.norm(new) / np.linalg.norm(place) < 1.1


def test_too_few_shared_tokens_are_told(bundle: Bundle, tmp_path: Path) -> None:
    own = embedding_table(bundle)
    vectors = VectorTable(dict(bundle.vocabulary.ids), own, "elsewhere")
    with pytest.raises(VectorError, match=r"share \d+ tokens; 256 or more are needed"):
        extend_bundle(bundle, tmp_path / "longer", ["控股股东"], vectors=vectors)


def test_there_must_be_something_to_add(without_engines: Bundle, tmp_path: Path) -> None:
    longer = extend_bundle(without_engines, tmp_path / "longer", TERMS).bundle
    with pytest.raises(BundleError, match=r"tokens of .* already"):
        extend_bundle(longer, tmp_path / "again", TERMS)
    more = extend_bundle(longer, tmp_path / "longer", [*TERMS, "退市风险"])
    assert more.bundle.vocabulary.tokens[-1] == "退市风险"


def test_training_goes_on_from_the_extended_bundle(without_engines: Bundle, tiny_run: TinyRun, tmp_path: Path) -> None:
    bundle = without_engines
    (tmp_path / "terms.txt").write_text("控股股东\n回购股份\n", encoding="utf-8")
    recipe = Recipe.load(tiny_run.recipe)
    recipe = dataclasses.replace(
        recipe,
        model=dataclasses.replace(recipe.model, start=str(bundle.path), options={}),
        text=dataclasses.replace(recipe.text, terms=str(tmp_path / "terms.txt")),
        data=dataclasses.replace(recipe.data, labels=tuple(bundle.manifest.labels)),
        export=dataclasses.replace(recipe.export, engines=()),
        freeze=None,
        early_stopping=None,
    )
    result = train(recipe, tmp_path / "run")
    tuned = Bundle.open(result.bundle)
    edge = len(bundle.vocabulary)
    assert tuned.vocabulary.tokens[:edge] == bundle.vocabulary.tokens
    assert tuned.tokenizer.tokens("拟回购股份") == ["拟", "回购股份"]
    assert tuned.manifest.vectors["origins"]["kept from the model"] == edge
    assert tuned.manifest.recipe["model"]["start"] == bundle.path.name
    untrained = embedding_table(extend_bundle(bundle, tmp_path / "longer", ["控股股东", "回购股份"]).bundle)
    assert np.abs(embedding_table(tuned)[edge:] - untrained[edge:]).max() > 0


def test_other_labels_cannot_go_on(bundle: Bundle, tiny_run: TinyRun, tmp_path: Path) -> None:
    recipe = Recipe.load(tiny_run.recipe)
    labels = tuple(reversed(bundle.manifest.labels))
    recipe = dataclasses.replace(
        recipe,
        model=dataclasses.replace(recipe.model, start=str(bundle.path), options={}),
        data=dataclasses.replace(recipe.data, labels=labels),
    )
    with pytest.raises(DataError, match=r"the same, in the same order"):
        train(recipe, tmp_path / "run")


def test_a_model_that_hashes_ids_is_not_cut(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="hashes ids"):
        cut_bundle(bundle, tmp_path / "small", TEXTS)
    assert not (tmp_path / "small").exists()


def test_cutting_keeps_the_answers_and_drops_the_rest(tiny_run: TinyRun, tmp_path: Path) -> None:
    recipe = Recipe.load(tiny_run.recipe)
    recipe = dataclasses.replace(
        recipe,
        model=dataclasses.replace(recipe.model, options={"filters": 16, "ngram_buckets": 0}),
        text=dataclasses.replace(recipe.text, extra_rows=500),
        export=dataclasses.replace(recipe.export, engines=("onnxruntime",), calibrate=False),
    )
    whole = Bundle.open(train(recipe, tmp_path / "run").bundle)
    done = cut_bundle(whole, tmp_path / "small", TEXTS)
    assert isinstance(done.change, PrunedTokenizer)
    assert len(done.bundle.vocabulary) == len(set("".join(TEXTS))) + 2
    assert (done.change.resegmented, done.change.unknown_after) == (0, 0.0)
    assert len(done.change.dropped) == len(whole.vocabulary) - len(done.bundle.vocabulary) > 400
    np.testing.assert_array_equal(embedding_table(done.bundle), embedding_table(whole)[done.change.rows])
    np.testing.assert_allclose(Predictor(done.bundle).probabilities(TEXTS), Predictor(whole).probabilities(TEXTS), atol=1e-6)
    size = sum(file.stat().st_size for file in (done.bundle.path / "onnx").iterdir())
    assert size < 0.5 * sum(file.stat().st_size for file in (whole.path / "onnx").iterdir())


# --- bundles that are extended and cut in turn, with every tokenizer, and trained on from there ------------------------------


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
    with pytest.raises(DataError, match="have no tokens"):
        cut_bundle(cut, tmp_path / "bad", ["", " "])
    with pytest.raises(DataError):
        cut_bundle(cut, tmp_path / "bad", TEXTS, texts=TEXTS[:3], labels=["利好"] * 3)
    assert not (tmp_path / "bad").exists()
    assert not hidden(tmp_path)
