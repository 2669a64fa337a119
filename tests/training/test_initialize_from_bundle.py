"""Where a run starts, in the corners: what was left out stays out, and what cannot be read is refused before training."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from paddlenlp.transformers import ErnieConfig, ErnieForSequenceClassification, ErnieTokenizer

from paddlenlp_embtune import Recipe, RecipeError, train
from paddlenlp_embtune.bundle.reader import Bundle
from paddlenlp_embtune.embeddings.init import Origin
from paddlenlp_embtune.embeddings.resize import add_tokens
from paddlenlp_embtune.export.from_checkpoint import bundle_checkpoint
from paddlenlp_embtune.text import WordTokenizer
from paddlenlp_embtune.text.factory import build_tokenizer
from paddlenlp_embtune.training._build import build
from paddlenlp_embtune.training._identity import run_identity
from paddlenlp_embtune.training._prepare import prepare
from paddlenlp_embtune.training.initialize import initialize_embedding
from paddlenlp_embtune.training.lr_finder import learning_rate_curves
from tests.helpers import ROWS, TinyRun, tsv

TEXTS = tuple(text for text, _ in ROWS)
CHARACTERS = sorted(set("".join(TEXTS)))
LABELS = ("利好", "利空", "中性")
POSITIONS = 24


def vectors_file(folder: Path, names: list[str], width: int = 6) -> str:
    table = np.random.default_rng(0).normal(size=(len(names), width)).astype(np.float32)
    lines = [f"{name} {' '.join(map(repr, row.tolist()))}" for name, row in zip(names, table, strict=True)]
    path = folder / "some.vec"
    path.write_text("\n".join([f"{len(names)} {width}", *lines]) + "\n", encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of a small encoder that reads as many tokens as it has positions."""
    folder = tmp_path_factory.mktemp("encoder")
    tokens = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]", *CHARACTERS]
    (folder / "checkpoint").mkdir()
    (folder / "checkpoint" / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    paddle.seed(3)
    config = ErnieConfig(
        vocab_size=len(tokens),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=POSITIONS,
        num_labels=3,
        id2label=dict(enumerate(LABELS)),
    )
    ErnieForSequenceClassification(config).save_pretrained(str(folder / "checkpoint"))
    ErnieTokenizer(str(folder / "checkpoint" / "vocab.txt")).save_pretrained(str(folder / "checkpoint"))
    bundle_checkpoint(folder / "checkpoint", folder / "bundle", max_length=POSITIONS, engines=())
    return folder / "bundle"


def recipe_from(encoder: Path, folder: Path, **parts: Any) -> Recipe:
    (folder / "train.tsv").write_text(tsv(ROWS), encoding="utf-8")
    plain: dict[str, Any] = {
        "data": {"train": str(folder / "train.tsv"), "labels": list(LABELS)},
        "model": {"start": str(encoder)},
        "train": {"epochs": 1, "batch_size": 16},
        "export": {"engines": []},
        "freeze": None,
        "health": None,
    }
    return Recipe.from_dict({**plain, **parts})


def test_texts_longer_than_the_encoders_positions_are_refused_before_training(encoder: Path, tmp_path: Path) -> None:
    recipe = recipe_from(encoder, tmp_path, text={"max_length": POSITIONS + 1})
    told = rf"text\.max_length is {POSITIONS + 1}; expected for this Encoder: at most {POSITIONS}"
    with pytest.raises(RecipeError, match=told):
        train(recipe, tmp_path / "run")
    with pytest.raises(RecipeError, match=told):
        learning_rate_curves(recipe, steps=10)
    assert {path.name for path in tmp_path.iterdir()} == {"train.tsv"}


def test_an_encoder_trains_by_rows_with_all_its_positions(encoder: Path, tmp_path: Path) -> None:
    (tmp_path / "terms.txt").write_text("控股股东\n股份\n回购股份\n", encoding="utf-8")
    recipe = recipe_from(
        encoder,
        tmp_path,
        text={"max_length": POSITIONS, "terms": str(tmp_path / "terms.txt")},
        sparse={"from_rows": 0},
    )
    tuned = Bundle.open(train(recipe, tmp_path / "run").bundle)
    assert tuned.tokenizer.tokens("拟回购股份") == ["拟", "回购股份"]
    again = recipe_from(tmp_path / "run", tmp_path, text={"max_length": POSITIONS})
    assert Bundle.open(train(again, tmp_path / "again").bundle).vocabulary.tokens == tuned.vocabulary.tokens


def test_a_run_is_not_gone_on_with_from_another_bundle_at_the_same_place(encoder: Path, tmp_path: Path) -> None:
    recipe = recipe_from(encoder, tmp_path, text={"max_length": POSITIONS})
    prepared = prepare(recipe)
    assert prepared.bundle is not None
    other = dataclasses.replace(prepared.bundle.manifest, files={**prepared.bundle.manifest.files, "weights.safetensors": "x"})
    changed = dataclasses.replace(prepared, bundle=dataclasses.replace(prepared.bundle, manifest=other))
    assert run_identity(prepared) != run_identity(changed)


def test_a_model_that_starts_from_a_bundle_has_its_weights(encoder: Path, tmp_path: Path) -> None:
    recipe = recipe_from(encoder, tmp_path, text={"max_length": POSITIONS})
    prepared = prepare(recipe)
    trainer = build(prepared, out=tmp_path / "out")
    from safetensors.numpy import load_file

    stored = load_file(encoder / "weights.safetensors")
    for name, value in trainer.model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), stored[name], err_msg=name)


def test_rare_words_do_not_come_back_from_the_vectors(tmp_path: Path) -> None:
    counts = WordTokenizer.count(TEXTS, lowercase=True)
    rare = next(word for word, count in sorted(counts.items()) if len(word) > 1 and count < 10)
    source = vectors_file(tmp_path, [*CHARACTERS, "词语", rare])
    text = {"tokenizer": "word", "min_count": 10, "extra_rows": 5}
    begun = initialize_embedding(Recipe.from_dict({"text": text, "vectors": {"source": source}}), TEXTS)
    assert "词语" in begun.tokenizer.vocabulary
    assert rare not in begun.tokenizer.vocabulary


def test_an_empty_list_of_fallbacks_tries_none(tmp_path: Path) -> None:
    source = vectors_file(tmp_path, [*CHARACTERS, "Ａ"])
    text = {"extra_rows": 0}
    recipe = Recipe.from_dict({"text": text, "vectors": {"source": source, "fallbacks": []}})
    begun = initialize_embedding(recipe, [*TEXTS, "a"])
    assert begun.coverage.origins[begun.tokenizer.vocabulary.ids["a"]] == Origin.SAMPLED


def test_a_run_may_start_from_the_run_that_it_replaces(tiny_run: TinyRun, tmp_path: Path) -> None:
    recipe = Recipe.load(tiny_run.recipe)
    recipe = dataclasses.replace(
        recipe,
        model=dataclasses.replace(recipe.model, start=str(tmp_path / "run"), options={}),
        data=dataclasses.replace(recipe.data, labels=Bundle.open(tiny_run.bundle).manifest.labels),
        export=dataclasses.replace(recipe.export, engines=()),
        freeze=None,
        early_stopping=None,
    )
    first = dataclasses.replace(recipe, model=dataclasses.replace(recipe.model, start=str(tiny_run.folder)))
    train(first, tmp_path / "run")
    train(recipe, tmp_path / "run", overwrite=True)
    assert (tmp_path / "run" / "bundle").is_dir()


def test_the_space_before_a_text_is_no_piece_of_a_term() -> None:
    texts = ["公司拟回购股份", "控股股东减持股份", "质押式回购规模下降"] * 20
    tokenizer = build_tokenizer("sentencepiece", texts=texts, size=100)
    table = np.random.default_rng(0).normal(size=(len(tokenizer.vocabulary), 4)).astype(np.float32)
    assert "\u2581" in tokenizer.tokens("质押式回购")
    coverage = add_tokens(tokenizer, table, ["质押式回购"])[3]
    assert "\u2581" not in coverage.sources[0]
