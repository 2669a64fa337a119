"""Tokenizers built by name for texts, and options that do not go together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from paddlenlp_embtune.errors import DataError, RecipeError
from paddlenlp_embtune.text import PAD, UNK, CharTokenizer, TermTokenizer, Vocabulary, WordTokenizer, unknown_report
from paddlenlp_embtune.text.factory import TOKENIZERS, build_tokenizer
from paddlenlp_embtune.text.sentencepiece_model import train_sentencepiece
from tests.text.every_tokenizer import CORPUS


def build(name: str, **options: Any) -> Any:
    return build_tokenizer(name, **{"texts": CORPUS, **options})


@pytest.fixture
def vocabulary_file(tmp_path: Path) -> Path:
    path = tmp_path / "vocab.txt"
    Vocabulary([PAD, "[CLS]", "[SEP]", UNK, *"公司回购股份质押式", "tesla", "##s"]).save(path)
    return path


def test_char_is_what_counting_gives() -> None:
    found = build("char", min_count=2, lowercase=False)
    counts = CharTokenizer.count(CORPUS, lowercase=False)
    assert found == CharTokenizer(found.vocabulary, lowercase=False)
    assert found.vocabulary.tokens == Vocabulary.from_counts(counts, min_count=2).tokens


def test_word_knows_words_characters_and_terms() -> None:
    found = build("word", user_terms=["质押式回购", "国债逆回购"])
    assert isinstance(found, WordTokenizer)
    assert {"公司", "质押式回购", "国债逆回购", "公", "司"} <= set(found.vocabulary.tokens)
    assert found.tokens("股票质押式回购和国债逆回购") == ["股票", "质押式回购", "和", "国债逆回购"]
    assert unknown_report(found, CORPUS).unknown == 0


def test_size_keeps_the_most_frequent() -> None:
    for name in ("char", "word"):
        whole, cut = build(name), build(name, size=20)
        assert len(cut.vocabulary) < len(whole.vocabulary)
        assert cut.vocabulary.tokens[:10] == whole.vocabulary.tokens[:10]
    assert len(build("char", size=20).vocabulary) == 22


def test_sentencepiece_is_trained_or_read(tmp_path: Path) -> None:
    found = build("sentencepiece", size=150, user_terms=["质押式回购"])
    assert "质押式回购" in found.tokens("股票质押式回购")
    (tmp_path / "m.model").write_bytes(train_sentencepiece(CORPUS, size=120))
    read = build("sentencepiece", vocabulary_file=tmp_path / "m.model")
    assert read.encode("公司回购")
    assert isinstance(build("sentencepiece", vocabulary_file=tmp_path / "m.model", user_terms=["逆回购"]), TermTokenizer)


def test_wordpiece_reads_its_vocabulary(vocabulary_file: Path) -> None:
    found = build("wordpiece", vocabulary_file=vocabulary_file, max_length=3)
    assert found.tokens("Teslas回购") == ["tesla", "##s", "回", "购"]
    extended = build("wordpiece", vocabulary_file=vocabulary_file, user_terms=["质押式回购"])
    assert extended.tokens("质押式回购") == ["质押式回购"]
    assert extended.vocabulary.tokens[:-1] == found.vocabulary.tokens


def test_char_and_word_may_have_a_vocabulary_file(vocabulary_file: Path) -> None:
    assert build("char", vocabulary_file=vocabulary_file).vocabulary.tokens == Vocabulary.load(vocabulary_file).tokens
    assert build("word", vocabulary_file=vocabulary_file).tokens("公司回购") == [*"公司回购"]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("words", {}, r"text.tokenizer is 'words'; did you mean 'word'\? Expected char, sentencepiece, word or wordpiece"),
        ("wordpiece", {}, "needs text.vocabulary"),
        (
            "wordpiece",
            {"vocabulary_file": Path("x"), "max_length": 2},
            "text.max_length must be 3 or more for wordpiece, got 2",
        ),
        ("char", {"max_length": 0}, "text.max_length must be 1 or more for char, got 0"),
        ("char", {"size": 0}, "text.pieces must be 1 or more .* got 0"),
        ("sentencepiece", {"size": 100, "vocabulary_file": Path("x")}, "text.pieces must be .* got 100 and 'x'"),
    ],
)
def test_options_that_cannot_be_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        build(name, **options)


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_missing_file_is_refused(name: str, tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(DataError, match=r"cannot read .*; expected a .* file; fix text.vocabulary"):
            build(name, vocabulary_file=path)


def test_files_of_the_wrong_kind_are_refused(tmp_path: Path, vocabulary_file: Path) -> None:
    (tmp_path / "m.model").write_bytes(train_sentencepiece(CORPUS, size=120))
    with pytest.raises(DataError, match="is damaged, or is not a model"):
        build("sentencepiece", vocabulary_file=vocabulary_file)
    for name in ("char", "word", "wordpiece"):
        with pytest.raises(DataError, match=r"is binary; expected a vocab.txt"):
            build(name, vocabulary_file=tmp_path / "m.model")


def test_no_texts() -> None:
    assert len(build("char", texts=[]).vocabulary) == len(build("word", texts=[]).vocabulary) == 2
    with pytest.raises(DataError, match="there is no text"):
        build("sentencepiece", texts=[])
