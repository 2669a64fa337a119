from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from paddlenlp_embtune.text import (
    PAD,
    UNK,
    UNK_ID,
    CharTokenizer,
    Tokenizer,
    Vocabulary,
    WordPieceTokenizer,
    pad,
    tokenizer_from_config,
    unknown_report,
)

VOCABULARY = Vocabulary([PAD, UNK, "涨", "跌", "a", " ", "A", "😀", "[CLS]", "[SEP]"])


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("涨跌", [2, 3]),
        ("涨平跌", [2, UNK_ID, 3]),
        ("Ａ　a", [4, 5, 4]),
        ("涨\u200b跌\0", [2, 3]),
        ("涨\u2028跌", [2, 5, 3]),
        ("😀\ud83d", [7, UNK_ID]),
        ("", []),
        ("\n \u200b", []),
    ],
)
def test_encode(text: str, ids: list[int]) -> None:
    assert CharTokenizer(VOCABULARY).encode(text) == ids


def test_encode_keeps_case_when_told() -> None:
    assert CharTokenizer(VOCABULARY, lowercase=False).encode("aＡ") == [4, 6]
    assert CharTokenizer(VOCABULARY).encode("aＡ") == [4, 4]


@pytest.mark.parametrize(
    ("max_length", "ids"), [(None, [2, 1, 3]), (0, []), (1, [2]), (2, [2, 1]), (3, [2, 1, 3]), (99, [2, 1, 3])]
)
def test_max_length_counts_characters_after_cleaning(max_length: int | None, ids: list[int]) -> None:
    assert CharTokenizer(VOCABULARY).encode(" \u200b涨\u200b平跌 ", max_length=max_length) == ids


def test_the_names_of_special_tokens_are_ordinary_text() -> None:
    # A text that spells [PAD] must not become padding.
    assert 0 not in CharTokenizer(VOCABULARY).encode("[PAD][UNK]")


def test_encode_is_tokens_looked_up() -> None:
    tokenizer = CharTokenizer(VOCABULARY)
    text = "Ａ涨平\u3000跌😀x"
    assert tokenizer.encode(text) == [VOCABULARY.ids.get(token, UNK_ID) for token in tokenizer.tokens(text)]


@pytest.mark.timeout(20)
def test_long_text() -> None:
    tokenizer = CharTokenizer(VOCABULARY)
    text = "涨跌平" * 33_333 + "a"
    assert len(text) == 100_000
    assert tokenizer.encode(text) == [2, 3, 1] * 33_333 + [4]
    assert tokenizer.encode(text, max_length=256) == ([2, 3, 1] * 100)[:256]


def test_counting_sees_what_encoding_sees() -> None:
    texts = ["Ａa涨\u200b", "涨\n跌", ""]
    counts = CharTokenizer.count(texts, lowercase=True)
    assert counts == {"a": 2, "涨": 2, " ": 1, "跌": 1}
    tokenizer = CharTokenizer(Vocabulary.from_counts(counts))
    assert unknown_report(tokenizer, texts).unknown == 0


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("kind", [CharTokenizer, WordPieceTokenizer])
def test_config_rebuilds_the_tokenizer(kind: type[Any], lowercase: bool) -> None:
    tokenizer = kind(VOCABULARY, lowercase=lowercase)
    rebuilt = tokenizer_from_config(tokenizer.config(), VOCABULARY)
    assert type(rebuilt) is kind
    assert rebuilt.encode("Ａa涨A") == tokenizer.encode("Ａa涨A")


@pytest.mark.parametrize("name", ["char", "wordpiece"])
def test_lowercase_is_the_default(name: str) -> None:
    cleaning = {"cleaning": 1} if name == "char" else {}
    assert tokenizer_from_config({"name": name}, VOCABULARY).config() == {"name": name, "lowercase": True, **cleaning}


@pytest.mark.parametrize("kind", [CharTokenizer, WordPieceTokenizer])
def test_ids_are_prefix_own_tokens_and_suffix(kind: type[Any]) -> None:
    tokenizer: Tokenizer = kind(VOCABULARY)
    for text in ("Ａ涨平\u3000跌😀x", "", "\u200b"):
        own = [VOCABULARY.ids.get(token, UNK_ID) for token in tokenizer.tokens(text)]
        assert tokenizer.encode(text) == ([*tokenizer.prefix, *own, *tokenizer.suffix] if own else [])
        assert len(tokenizer.offsets(text)) == len(own)


def test_an_unknown_character_gets_the_id_that_the_vocabulary_says() -> None:
    tokenizer = CharTokenizer(Vocabulary([PAD, "涨", UNK]))
    assert tokenizer.encode("涨跌") == [1, 2]


@pytest.mark.parametrize(
    ("sequences", "min_length", "expected"),
    [
        ([[2, 3], [4]], 1, [[2, 3], [4, 0]]),
        ([[2], []], 1, [[2], [0]]),
        ([[]], 1, [[0]]),
        ([[2], [3, 4]], 4, [[2, 0, 0, 0], [3, 4, 0, 0]]),
        ([[2, 3, 4]], 2, [[2, 3, 4]]),
    ],
)
def test_pad(sequences: list[list[int]], min_length: int, expected: list[list[int]]) -> None:
    batch = pad(sequences, min_length=min_length)
    assert batch.dtype == np.int64
    assert batch.tolist() == expected


def test_pad_of_nothing_has_no_rows() -> None:
    assert pad([], min_length=3).shape == (0, 3)


def test_unknown_report() -> None:
    report = unknown_report(CharTokenizer(VOCABULARY), ["涨平平", "Ｂ\u200b平", ""], worst=1)
    assert (report.tokens, report.unknown) == (5, 4)
    assert report.worst == (("平", 3),)
    assert report.share == pytest.approx(0.8)


def test_unknown_report_of_nothing() -> None:
    report = unknown_report(CharTokenizer(VOCABULARY), ["", " "])
    assert (report.tokens, report.unknown, report.worst, report.share) == (0, 0, (), 0.0)
