"""What cannot be seen, and radicals: one table for training, serving and ports, and the rule that a bundle states."""

from __future__ import annotations

import unicodedata

import pytest

from paddlenlp_embtune import DataError
from paddlenlp_embtune.text import (
    CharTokenizer,
    Vocabulary,
    WordPieceTokenizer,
    add_terms,
    clean,
    is_blank,
    tokenizer_from_config,
)
from paddlenlp_embtune.text._offsets import locate
from paddlenlp_embtune.text.encoding import tokenize_texts
from paddlenlp_embtune.text.unicode_classes import IGNORABLE, RADICALS

INVISIBLE = [
    "\ufe0f",
    "\u3164",
    "\u2800",
    "\u034f",
    "\U000e0100",
    "\u200d",
    "\u00ad",
    "\uffa0",
    "\u115f",
    "\U000e0067",
    "\u2065",
]
PAIRS = {"⻓": "长", "⻛": "风", "⻰": "龙", "⻅": "见", "⼭": "山", "⻆": "角", "⺟": "母", "\u31d0": "一"}
VOCABULARY = Vocabulary(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"长风龙见山涨\u3164\ufe0f\u2800⻓"])


@pytest.mark.parametrize("character", INVISIBLE)
def test_what_cannot_be_seen_has_no_ids_by_any_tokenizer(character: str) -> None:
    assert is_blank(character)
    assert clean(character, lowercase=True) == ""
    char = CharTokenizer(VOCABULARY)
    former = CharTokenizer(VOCABULARY, cleaning=1)
    for tokenizer in (char, former, WordPieceTokenizer(VOCABULARY), add_terms(char, ["长风"])[0]):
        for text in (character, f" {character}\n{character}\u3000"):
            assert tokenize_texts([text], tokenizer, max_length=9, windows=None).ids == [[]]


def test_every_ignorable_code_point_is_dropped() -> None:
    for first, last in IGNORABLE:
        for code in range(first, last + 1):
            assert clean(f"涨{chr(code)}停", lowercase=True) == "涨停", hex(code)


@pytest.mark.parametrize(("radical", "ideograph"), PAIRS.items())
def test_radicals_become_what_they_stand_for(radical: str, ideograph: str) -> None:
    assert clean(f"x{radical}y", lowercase=True) == f"x{ideograph}y"
    assert CharTokenizer(VOCABULARY).encode(radical) == CharTokenizer(VOCABULARY).encode(ideograph)


def test_the_table_agrees_with_normalization() -> None:
    assert len(RADICALS) == 348
    for code, ideograph in RADICALS.items():
        assert "CJK UNIFIED IDEOGRAPH" in unicodedata.name(ideograph)
        folded = unicodedata.normalize("NFKC", chr(code))
        assert folded in (chr(code), ideograph) or code in (0x2E9F, 0x2EF3)


def test_emoji_keep_what_can_be_seen() -> None:
    assert clean("❤\ufe0f 1\ufe0f\u20e3 👨\u200d👩", lowercase=True) == "❤ 1\u20e3 👨👩"
    assert clean("\u2800涨\u2800\u2800停\u2800", lowercase=True) == "涨 停"


def test_places_hold_for_both_rules() -> None:
    text = "⻓\ufe0f\u3164风\u2800\u2800见"
    for cleaning, cleaned in ((2, "长风 见"), (1, "⻓\ufe0f\u1160风\u2800\u2800见")):
        assert clean(text, lowercase=True, cleaning=cleaning) == cleaned
        places = locate(text, lowercase=True, cleaning=cleaning)
        assert len(places) == len(cleaned)
    assert locate(text, lowercase=True) == [(0, 1), (3, 4), (4, 6), (6, 7)]


def test_a_bundle_without_a_rule_keeps_the_first() -> None:
    old = tokenizer_from_config({"name": "char", "lowercase": True}, VOCABULARY)
    assert old.encode("⻓涨\u3164") == [VOCABULARY.ids["⻓"], VOCABULARY.ids["涨"], 1]
    new = tokenizer_from_config(CharTokenizer(VOCABULARY).config(), VOCABULARY)
    assert new.encode("⻓涨\u3164") == [VOCABULARY.ids["长"], VOCABULARY.ids["涨"]]
    longer = add_terms(old, ["龙见"])[0]
    assert longer.cleaning == 1
    again = tokenizer_from_config(longer.config(), longer.vocabulary)
    assert again.encode("⻰见龙见") == longer.encode("⻰见龙见")
    assert tokenizer_from_config(old.config(), VOCABULARY).config() == {"name": "char", "lowercase": True, "cleaning": 1}


def test_a_rule_of_a_later_release_is_refused() -> None:
    with pytest.raises(DataError, match="cleans texts by rule 3, this release knows rules 1 to 2"):
        tokenizer_from_config({"name": "char", "cleaning": 3}, VOCABULARY)
