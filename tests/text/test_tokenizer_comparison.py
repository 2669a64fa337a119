"""The comparison of tokenizers, against sums that are done by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.text import PAD, UNK, CharTokenizer, Vocabulary, WordPieceTokenizer, WordTokenizer, add_terms
from paddlenlp_embtune.text.comparison import compare_tokenizers
from tests.text.every_tokenizer import KINDS, TEXTS, made

VOCABULARY = Vocabulary([PAD, UNK, "[CLS]", "[SEP]", *"公司回购股份", "公司", "回购"])
ASKED = ["公司回购", "公司囧", "", "Ａ"]


def compared(**options: Any) -> dict[str, dict[str, Any]]:
    tokenizers = {
        "char": CharTokenizer(VOCABULARY),
        "word": WordTokenizer(VOCABULARY),
        "wordpiece": WordPieceTokenizer(VOCABULARY),
        "terms": add_terms(CharTokenizer(VOCABULARY), ["股份回购"])[0],
    }
    return {found["name"]: found for found in compare_tokenizers(tokenizers, ASKED, **options)}


def test_figures() -> None:
    found = compared(terms=["公司", "股份回购", "囧", "立案"], max_length=3)
    char, word, wordpiece, terms = (found[name] for name in ("char", "word", "wordpiece", "terms"))
    assert (char["vocabulary"], terms["vocabulary"], char["texts"]) == (12, 13, 4)
    assert (char["kind"], terms["kind"]) == ("char", "terms")
    assert (char["tokens_mean"], char["tokens_max"], char["tokens_p95"]) == (2.0, 4, pytest.approx(3.85))
    assert char["characters_per_token"] == 1.0
    assert char["unknown_rate"] == pytest.approx(2 / 8)
    assert word["tokens_mean"] == 5 / 4
    assert word["characters_per_token"] == pytest.approx(8 / 5)
    assert word["unknown_rate"] == pytest.approx(2 / 5)
    assert (char["longer_than_max_length"], wordpiece["longer_than_max_length"]) == (0.25, 0.5)
    assert (char["terms_whole"], word["terms_whole"], terms["terms_whole"]) == (0.0, 0.25, 0.25)
    assert {"term": "公司", "pieces": ["公", "司"]} in char["terms_cut"]
    # What is unknown is one token, and yet not known as this term.
    assert {"term": "囧", "pieces": ["囧"]} in char["terms_cut"]
    assert all(each["texts_per_second"] > 0 for each in found.values())


def test_without_terms_and_length() -> None:
    (found,) = compare_tokenizers({"char": CharTokenizer(VOCABULARY)}, ["", " "])
    assert (found["tokens_mean"], found["unknown_rate"], found["characters_per_token"]) == (0.0, 0.0, None)
    assert (found["terms"], found["terms_whole"], found["terms_cut"]) == (0, None, [])
    assert found["longer_than_max_length"] is found["max_length"] is None


def test_examples_are_limited() -> None:
    assert len(compared(terms=["公司", "回购", "股份"], examples=2)["char"]["terms_cut"]) == 2
    assert compared(terms=["公司"], examples=0)["char"]["terms_whole"] == 0.0


def test_every_tokenizer_can_be_compared_and_the_answer_is_json() -> None:
    found = compare_tokenizers({kind: made(kind) for kind in KINDS}, TEXTS[:40], terms=["公司"], max_length=16, rounds=1)
    assert json.loads(json.dumps(found, ensure_ascii=False)) == [
        {**row, "terms_cut": [dict(each) for each in row["terms_cut"]]} for row in found
    ]
    assert [row["name"] for row in found] == KINDS


@pytest.mark.parametrize("options", [{"rounds": 0}, {"examples": -1}])
def test_illegal_options_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(DataError, match="rounds must be 1 or more and examples 0 or more"):
        compared(**options)


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(DataError, match="got 0 and 1"):
        compare_tokenizers({}, ["a"])
    with pytest.raises(DataError, match="got 1 and 0"):
        compare_tokenizers({"char": CharTokenizer(VOCABULARY)}, [])
