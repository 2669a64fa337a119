"""Where a run starts: tokenizers and vectors of every kind, by a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paddlenlp_embtune import DataError, Recipe, RecipeError, VectorError
from paddlenlp_embtune.embeddings.init import Origin, initialize_from_vectors
from paddlenlp_embtune.embeddings.io import read_lac
from paddlenlp_embtune.text import PAD, UNK, TermTokenizer, content_ids, read_term_list
from paddlenlp_embtune.training.initialize import Start, initialize_embedding
from tests.helpers import ROWS, SAID, TinyRun

TEXTS = tuple(text for text, _ in ROWS)
CHARACTERS = sorted(set("".join(TEXTS)))


def start(**parts: Any) -> Start:
    return initialize_embedding(Recipe.from_dict(parts), TEXTS)


def vectors_file(folder: Path, names: list[str], width: int = 6) -> Path:
    table = np.random.default_rng(0).normal(size=(len(names), width)).astype(np.float32)
    lines = [f"{name} {' '.join(map(repr, row.tolist()))}" for name, row in zip(names, table, strict=True)]
    path = folder / "some.vec"
    path.write_text("\n".join([f"{len(names)} {width}", *lines]) + "\n", encoding="utf-8")
    return path


def test_the_defaults_are_characters_that_start_from_lac() -> None:
    begun = start(text={"extra_rows": 0})
    expected, _ = initialize_from_vectors(begun.tokenizer.vocabulary, read_lac(), rms=0.1, seed=0)
    np.testing.assert_array_equal(begun.table, expected)
    assert sorted(begun.tokenizer.vocabulary.tokens[2:]) == CHARACTERS
    assert begun.bundle is None


def test_further_characters_of_the_vectors_follow_in_their_order_but_rare_ones_do_not_come_back(tmp_path: Path) -> None:
    rare = next(character for character in CHARACTERS if "".join(TEXTS).count(character) < 6)
    source = str(vectors_file(tmp_path, ["甲", "词语", rare, "A", "a", "乙", CHARACTERS[0], "丙"]))
    begun = start(text={"extra_rows": 3, "min_count": 6}, vectors={"source": source, "fallbacks": []})
    assert begun.tokenizer.vocabulary.tokens[-3:] == ("甲", "a", "乙")
    assert rare not in begun.tokenizer.vocabulary


@pytest.mark.parametrize("width", [None, 3, 9])
def test_a_file_gives_its_rows_in_the_width_that_is_asked_for(width: int | None, tmp_path: Path) -> None:
    source = str(vectors_file(tmp_path, CHARACTERS))
    begun = start(text={"extra_rows": 0}, vectors={"source": source, "dimension": width})
    assert begun.table.shape == (len(CHARACTERS) + 2, width or 6)
    assert begun.coverage.found == 1.0


def test_words_that_the_vectors_lack_are_made_of_their_characters() -> None:
    begun = start(text={"tokenizer": "word", "extra_rows": 0})
    word = begun.tokenizer.vocabulary.ids["股东大会"]
    assert begun.coverage.origins[word] == Origin.PIECES
    rows = [begun.tokenizer.vocabulary.ids[character] for character in "股东大会"]
    mean = begun.table[rows].mean(axis=0)
    assert np.dot(mean, begun.table[word]) / np.linalg.norm(mean) / np.linalg.norm(begun.table[word]) > 0.999


def test_wordpiece_takes_a_vocabulary_and_finds_pieces_without_their_marker(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join([PAD, "[CLS]", "[SEP]", UNK, *CHARACTERS, "##股"]) + "\n", encoding="utf-8")
    begun = start(text={"tokenizer": "wordpiece", "vocabulary": str(tmp_path / "vocab.txt")})
    ids = begun.tokenizer.vocabulary.ids
    assert begun.coverage.origins[ids["##股"]] == Origin.MARKER
    np.testing.assert_array_equal(begun.table[ids["##股"]], begun.table[ids["股"]])
    assert begun.coverage.origins[ids["[CLS]"]] == Origin.SAMPLED


def test_sentencepiece_is_trained_on_the_texts() -> None:
    begun = start(text={"tokenizer": "sentencepiece", "pieces": 120})
    assert len(begun.tokenizer.vocabulary) <= 121
    assert all(begun.tokenizer.encode(text) for text in TEXTS)
    assert any(len(token) > 2 for token in begun.tokenizer.vocabulary.tokens[2:])


@pytest.mark.parametrize("tokenizer", ["char", "word", "sentencepiece"])
def test_terms_are_kept_whole_and_start_from_their_pieces(tokenizer: str, tmp_path: Path) -> None:
    (tmp_path / "terms.txt").write_text("回购股份\n\n质押式回购\n", encoding="utf-8")
    begun = start(text={"tokenizer": tokenizer, "terms": str(tmp_path / "terms.txt"), "pieces": 120, "extra_rows": 0})
    for term in ("回购股份", "质押式回购"):
        assert term in begun.tokenizer.tokens(f"拟{term}。")
        assert np.abs(begun.table[begun.tokenizer.vocabulary.ids[term]]).sum() > 0
    if tokenizer == "char":
        assert begun.coverage.origins[-2] == Origin.PIECES
        assert begun.coverage.sources[-2] == tuple("回购股份")
        assert begun.coverage.tokens == begun.tokenizer.vocabulary.tokens


def test_a_term_that_the_vectors_have_takes_their_row(tmp_path: Path) -> None:
    (tmp_path / "terms.txt").write_text("回购股份\n", encoding="utf-8")
    source = str(vectors_file(tmp_path, [*CHARACTERS, "回购股份"]))
    begun = start(text={"terms": str(tmp_path / "terms.txt")}, vectors={"source": source})
    assert begun.coverage.origins[-1] == Origin.EXACT


def test_a_bundle_is_gone_on_from_with_new_terms_behind_its_own(tiny_run: TinyRun, tmp_path: Path) -> None:
    (tmp_path / "terms.txt").write_text("控股股东\n", encoding="utf-8")
    begun = start(model={"start": str(tiny_run.folder)}, text={"terms": str(tmp_path / "terms.txt")})
    assert begun.bundle is not None
    assert isinstance(begun.tokenizer, TermTokenizer)
    former = begun.bundle.tokenizer
    edge = len(former.vocabulary)
    assert begun.tokenizer.vocabulary.tokens[:edge] == former.vocabulary.tokens
    assert content_ids(begun.tokenizer, "控股股东") == [edge]
    assert begun.coverage.counts() == {Origin.KEPT: edge, Origin.PIECES: 1}
    assert begun.table.shape[0] == edge + 1


@pytest.mark.parametrize(
    ("part", "told"), [({"text": {"tokenizer": "word"}}, "'char'"), ({"vectors": {"dimension": 3}}, "left out")]
)
def test_a_bundle_to_start_from_decides_itself(part: dict[str, Any], told: str, tiny_run: TinyRun) -> None:
    with pytest.raises(RecipeError, match=told):
        start(model={"start": str(tiny_run.folder)}, **part)


@pytest.mark.parametrize(
    ("parts", "error", "told"),
    [
        ({"text": {"tokenizer": "chars"}}, RecipeError, "'char'"),
        ({"text": {"tokenizer": "wordpiece"}}, RecipeError, "vocabulary"),
        ({"text": {"terms": "/nowhere/terms.txt"}}, DataError, "terms.txt"),
        ({"vectors": {"source": "lax"}}, RecipeError, "lac"),
        ({"vectors": {"source": "/nowhere/x.vec"}}, VectorError, "x.vec"),
        ({"vectors": {"source": "lac", "format": "word3vec"}}, RecipeError, "word2vec"),
    ],
)
def test_what_cannot_be_is_refused(parts: dict[str, Any], error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        start(**parts)


def test_vectors_of_another_kind_share_no_token(tmp_path: Path) -> None:
    with pytest.raises(VectorError, match="none of its 2 tokens is wanted"):
        start(vectors={"source": str(vectors_file(tmp_path, ["word", "other"]))}, text={"extra_rows": 0})


NO_TERMS = [(b"", "no term"), (b"\n \n", "no term"), (b"\xff\xfe", "no term"), (b"a\n\xff\xff", "not UTF-8")]


@pytest.mark.parametrize(("content", "told"), NO_TERMS)
def test_lists_without_terms_are_refused(content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "terms.txt").write_bytes(content)
    with pytest.raises(DataError, match=told):
        read_term_list(tmp_path / "terms.txt")


def test_invented_texts_hold_what_these_tests_need() -> None:
    assert any("回购股份" in said for said in SAID["利好"])
