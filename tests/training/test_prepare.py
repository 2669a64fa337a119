"""What is known before the first step: ids of all rows, counts of all tokens, and every default of the recipe."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paddlenlp_embtune import Recipe
from paddlenlp_embtune.data import SoftTargets, encode_texts
from paddlenlp_embtune.errors import DataError, RecipeError
from paddlenlp_embtune.text import content_ids
from paddlenlp_embtune.training import _prepare
from paddlenlp_embtune.training._prepare import prepare
from tests.helpers import ROWS, tsv

LONG = [("公司拟回购股份，控股股东增持。" * 4, "利好"), ("基金踩雷 ABC\u0301 集团？" * 3, "利空"), ("！　", "中性")]


def recipe(folder: Path, **text: Any) -> Recipe:
    (folder / "train.tsv").write_text(tsv([*ROWS, *LONG]), encoding="utf-8")
    parts = {"data": {"train": str(folder / "train.tsv")}, "text": {"extra_rows": 0, "max_length": 10, "min_count": 2, **text}}
    return Recipe.from_dict(parts)


@pytest.mark.parametrize("windows", [None, {"overlap_tokens": 3}], ids=["cut", "windows"])
@pytest.mark.parametrize("tokenizer", ["char", "word"])
def test_tokens_are_counted_whole_although_rows_are_encoded_once(
    tmp_path: Path, tokenizer: str, windows: dict[str, Any] | None
) -> None:
    prepared = prepare(recipe(tmp_path, tokenizer=tokenizer, windows=windows))
    found = Counter(chain.from_iterable(_prepare._own_ids_of(prepared.tokenizer, prepared.train.texts, prepared.train_ids)))
    assert found == Counter(chain.from_iterable(content_ids(prepared.tokenizer, text) for text in prepared.train.texts))
    assert any(len(content_ids(prepared.tokenizer, text)) > 10 for text in prepared.train.texts)


@pytest.mark.parametrize("windows", [None, {"overlap_tokens": 3}], ids=["cut", "windows"])
def test_the_data_sets_are_those_of_the_texts(tmp_path: Path, windows: dict[str, Any] | None) -> None:
    prepared = prepare(recipe(tmp_path, windows=windows))
    for rows, dataset in ((prepared.train, prepared.train_dataset()), (prepared.dev, prepared.dev_dataset())):
        truth = [prepared.labels.index(label) for label in rows.labels]
        text = prepared.recipe.text
        expected = encode_texts(rows.texts, truth, prepared.tokenizer, max_length=text.max_length, windows=text.windows)
        assert (dataset.ids, dataset.labels, dataset.truth) == (expected.ids, expected.labels, expected.truth)
        assert dataset.cut == expected.cut


def test_the_recipe_has_its_defaults_and_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stated = recipe(tmp_path)
    monkeypatch.chdir(tmp_path)
    labels = ["利空", "中性", "利好"]
    relative = Recipe.from_dict({**stated.to_dict(), "data": {"train": "train.tsv", "labels": labels}, "domain": "finance"})
    prepared = prepare(relative)
    assert None in (relative.train.epochs, relative.train.batch_size)
    assert None not in (prepared.recipe.train.epochs, prepared.recipe.train.batch_size, prepared.recipe.train.eval_batch_size)
    assert prepared.recipe.data.train == str(tmp_path / "train.tsv")
    assert set(prepared.term_groups) == {"easing", "tightening", "buying", "selling", "distress"}


def test_the_answers_of_a_teacher_leave_what_was_computed_before(tmp_path: Path) -> None:
    """The record and the bundle state the same hashes: those of the files that were read."""
    prepared = prepare(recipe(tmp_path))
    hashes = prepared.hashes
    (tmp_path / "train.tsv").write_text("text\tlabel\n", encoding="utf-8")
    answers = SoftTargets(np.zeros((1, 3), np.float32), None, (), (0, 0))
    answered = prepared.with_soft_targets(answers)
    assert answered.soft_targets is answers
    assert answered.hashes == hashes
    assert prepared.soft_targets is None


def test_cleaning_steps_come_before_the_vocabulary_and_stay_with_the_tokenizer(tmp_path: Path) -> None:
    marked = [(f"<p>{text}</p>", label) for text, label in ROWS]
    parts = {"text": {"extra_rows": 0, "cleaning": ["markup"]}, "vectors": {"source": "random"}}
    (tmp_path / "train.tsv").write_text(tsv(marked), encoding="utf-8")
    found = prepare(Recipe.from_dict({"data": {"train": str(tmp_path / "train.tsv")}, **parts}))
    assert not {"<", "p", ">"} & set(found.tokenizer.vocabulary.tokens)
    assert found.tokenizer.encode("<p>业绩</p>") == found.tokenizer.encode("业绩")
    assert found.recipe.text.cleaning == ("markup",)
    assert found.tokenizer.config()["cleaning_steps"] == ["markup"]


def test_rows_that_are_cleaned_away_are_refused(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text(tsv([*ROWS, ("<br/>", "利好")]), encoding="utf-8")
    recipe = {"data": {"train": str(tmp_path / "train.tsv")}, "text": {"cleaning": ["markup"]}}
    with pytest.raises(DataError, match=r"text.cleaning \(markup\) leaves nothing of 1 texts of .*'<br/>' first"):
        prepare(Recipe.from_dict(recipe))
    for wrong, told in ((["markdown"], "did you mean 'markup'"), (["urls", "urls"], "differ from each other")):
        with pytest.raises(RecipeError, match=told):
            Recipe.from_dict({"text": {"cleaning": wrong}})
