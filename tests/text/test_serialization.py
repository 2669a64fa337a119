"""Configs that are no configs are refused, and the message says what would be one."""

from __future__ import annotations

import random
from typing import Any

import pytest

from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.text import PAD, UNK, Vocabulary, tokenizer_files, tokenizer_from_config

VOCABULARY = Vocabulary([PAD, UNK, "股", "份", "股份"])
CHAR = {"name": "char"}


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"name": None},
        {"name": "syllable"},
        {"lowercase": True},
        {"name": ["char"]},
        {"name": "char", "lowercase": True, "vocabulary": "x"},
        {"name": "wordpiece", "max_length": 3},
        {"name": "wordpiece", "lowercase": 1},
        {"name": "char", "lowercase": "no"},
        {"name": "word"},
        {"name": "word", "dictionary_sha256": 5},
        {"name": "word", "dictionary_sha256": "0" * 64, "user_terms": True},
        {"name": "word", "dictionary_sha256": "0" * 64, "user_terms": -1},
        {"name": "word", "dictionary_sha256": "0" * 64, "hmm": None},
        {"name": "sentencepiece"},
        {"name": "sentencepiece", "model_sha256": "0" * 64, "lowercase": True},
        {"name": "terms", "base": CHAR},
        {"name": "terms", "count": 1},
        {"name": "terms", "count": 1.0, "base": CHAR},
        {"name": "terms", "count": -1, "base": CHAR},
        {"name": "terms", "count": 1, "base": "char"},
    ],
)
def test_junk_is_refused(config: dict[str, Any]) -> None:
    for rebuild in (lambda: tokenizer_from_config(config, VOCABULARY), lambda: tokenizer_files(config)):
        with pytest.raises(DataError, match=r"unknown tokenizer .*; expected {'name': '"):
            rebuild()


def test_the_message_names_the_forms() -> None:
    with pytest.raises(DataError) as caught:
        tokenizer_files({"name": "terms"})
    assert str(caught.value).endswith(
        "expected {'name': 'terms', 'count': a number, 'base': {another tokenizer}, 'cleaning': a number}"
    )
    with pytest.raises(DataError) as caught:
        tokenizer_files({"name": "x" * 5000})
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "config",
    [
        {"name": "terms", "count": 4, "base": CHAR},
        {"name": "terms", "count": 1, "base": {"name": "terms", "count": 1, "base": CHAR}},
    ],
)
def test_terms_that_cannot_be_are_refused(config: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="terms need a base of char, wordpiece, word, sentencepiece or ernie_m"):
        tokenizer_from_config(config, VOCABULARY)


def test_junk_inside_is_refused() -> None:
    with pytest.raises(DataError, match="unknown tokenizer"):
        tokenizer_from_config({"name": "terms", "count": 1, "base": {"name": "syllable"}}, VOCABULARY)
    assert tokenizer_files({"name": "terms", "count": 1, "base": CHAR}) == ()


def test_random_junk_is_refused_or_read() -> None:
    generator = random.Random(0)
    values = [None, True, 0, 3, -1, 1.5, "char", "word", "0" * 64, [], {}, CHAR, {"name": "terms"}]
    keys = ["name", "lowercase", "hmm", "user_terms", "count", "base", "markers", "model_sha256", "dictionary_sha256"]
    names = ["char", "word", "wordpiece", "sentencepiece", "terms"]
    read = 0
    for _ in range(3000):
        config = {generator.choice(keys): generator.choice(values) for _ in range(generator.randint(0, 3))}
        config["name"] = generator.choice(names)
        try:
            tokenizer_from_config(config, VOCABULARY)
            read += 1
        except DataError:
            pass
    assert read
