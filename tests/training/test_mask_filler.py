"""Masked words filled in by an encoder: its guesses, the copies that come of them, and encoders that cannot guess."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_embtune import Pretrained, Recipe, RecipeError, hookimpl
from paddlenlp_embtune.models import MaskedLanguageModel
from paddlenlp_embtune.plugin import registry
from paddlenlp_embtune.training._mask_filler import build_mask_filler
from paddlenlp_embtune.training._prepare import prepare
from tests.encoders import encoder_of_rows
from tests.helpers import ROWS, tsv


def with_head() -> Pretrained:
    """The encoder of the invented rows, with a drawn head."""
    plain = encoder_of_rows()
    generator, width = np.random.default_rng(0), plain.dimension
    shapes = {"transform.weight": (width, width), "norm.weight": (width,), "scores": (len(plain.table),)}
    shapes |= {"transform.bias": (width,), "norm.bias": (width,)}
    head = {name: generator.normal(0, 1, shape).astype(np.float32) for name, shape in shapes.items()}
    return dataclasses.replace(plain, masked_head=head)


class Encoders:
    """Registers the encoder with and without its head."""

    @hookimpl
    def embtune_register_encoders(self) -> dict[str, Any]:
        return {"headed": with_head, "headless": encoder_of_rows}


@pytest.fixture(autouse=True)
def encoders() -> Iterator[None]:
    former = registry.use(registry.load(plugins=[Encoders()], installed=False))
    yield
    registry.use(former)


def test_guesses_are_the_encoders_likeliest_characters() -> None:
    filler, pretrained = build_mask_filler("headed"), with_head()
    first, second, nothing = filler([["公司", None, "回购"], [None, None, "增长"], ["公司"]])
    assert (len(first), len(second), len(nothing)) == (1, 2, 0)
    model = MaskedLanguageModel(pretrained)
    model.eval()
    tokenizer = pretrained.tokenizer
    before, after = tokenizer.encode("公司")[:-1], tokenizer.encode("回购")[1:]
    ids = paddle.to_tensor(np.array([[*before, tokenizer.vocabulary.ids["[MASK]"], *after]]))
    with paddle.no_grad():
        scores = model(ids, paddle.to_tensor([len(before)])).numpy()[0]
    characters = [row for row, token in enumerate(tokenizer.vocabulary.tokens) if "\u4e00" <= token <= "\u9fff"]
    best = max(characters, key=lambda row: scores[row])
    assert first[0][0][0] == tokenizer.vocabulary.tokens[best]
    shares = [share for _, share in first[0]]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) <= 1.001


def recipe(folder: Path, **changes: Any) -> Recipe:
    (folder / "train.tsv").write_text(tsv(ROWS), encoding="utf-8")
    augmentation = {"masked": 0.4, "encoder": "headed", **changes}
    return Recipe.from_dict(
        {"domain": None, "data": {"train": str(folder / "train.tsv")}, "text": {"extra_rows": 0}, "augmentation": augmentation}
    )


def test_copies_have_other_words_and_what_is_protected(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("回购\n股东\n", encoding="utf-8")
    stated = recipe(tmp_path, protected=str(tmp_path / "words.txt"))
    prepared = prepare(stated)
    assert prepared.augmentation is not None
    assert prepared.augmentation.rows["masked"] > 10
    count = prepared.report.rows[0]
    for text in prepared.train.texts[count:]:
        assert any(len(text) == len(other) for other in prepared.train.texts[:count])
    kept = sum("回购" in text for text in prepared.train.texts[:count])
    assert sum("回购" in text for text in prepared.train.texts[count:]) <= kept
    assert prepare(stated).train == prepared.train


def test_encoders_that_cannot_guess_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="a tiny BertModel has no head that guesses them"):
        prepare(recipe(tmp_path, encoder="headless"))
    with pytest.raises(RecipeError, match=r"augmentation\.encoder must be an encoder for masked, .* got None"):
        recipe(tmp_path, encoder=None)
