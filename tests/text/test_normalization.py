"""Cleaning: one form of every text, for training, serving and ports."""

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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ＡＢ，１２％！", "ab,12%!"),
        ("①ﬁ㈱", "1fi(株)"),
        ("涨\u3000停", "涨 停"),
        ("  a \t b\r\nc\n", "a b c"),
        ("a\u2028b\u2029c\x85d\x0be\x1cf", "a b c d e f"),
        ("a\0b\x07c\x7fd\x9fe", "abcde"),
        ("涨\u200b停\u200d板\u2060了\ufeff", "涨停板了"),
        ("\ufeffABC", "abc"),
        ("\ud800涨\udc00", "\ufffd涨\ufffd"),
        # A pair in the wrong order is two lone surrogates, not a character.
        ("\ude00\ud83d", "\ufffd\ufffd"),
        ("😀涨🚀", "😀涨🚀"),
        ("👨\u200d👩\u200d👧", "👨👩👧"),
        ("", ""),
        (" \u3000\n", ""),
        ("\u200b\ufeff\0", ""),
    ],
)
def test_clean(text: str, expected: str) -> None:
    assert clean(text, lowercase=True) == expected


@pytest.mark.parametrize(
    "invisible", ["\u00ad", "\u061c", "\u180e", "\u202a", "\u202e", "\u2061", "\u2064", "\u2066", "\u2069"]
)
def test_every_invisible_character_is_dropped(invisible: str) -> None:
    assert clean(f"涨{invisible}停", lowercase=True) == "涨停"


@pytest.mark.parametrize("text", ["Tesla A股", "Tesla A", "ＴＥＳＬＡ"])
def test_case_is_kept_unless_asked(text: str) -> None:
    kept = clean(text, lowercase=False)
    assert kept.startswith("T")
    assert clean(text, lowercase=True) == kept.lower()


def test_ascii_and_other_texts_are_cleaned_alike() -> None:
    # Plain ASCII takes a short cut; a Chinese character at the end forces the long way.
    text = "".join(map(chr, range(0x20, 0x7F))) + "  B"
    assert clean(text, lowercase=True) + "涨" == clean(text + "涨", lowercase=True)


@pytest.mark.parametrize("lowercase", [True, False])
def test_cleaning_twice_changes_nothing_and_leaves_one_line(lowercase: bool) -> None:
    for start in range(0, 0x110000, 0x400):
        once = clean("".join(map(chr, range(start, start + 0x400))), lowercase=lowercase)
        assert clean(once, lowercase=lowercase) == once
        assert len(once.splitlines()) <= 1
        once.encode("utf-8")


@pytest.mark.timeout(20)
def test_long_text() -> None:
    text = "涨　Ａ\u200b\n" * 20_000
    assert len(text) == 100_000
    cleaned = clean(text, lowercase=True)
    assert cleaned == " ".join(["涨 a"] * 20_000)


# --- runs of combining marks: normalization would take time that grows with their square -------------------------------------


PAIR = "\u0301\u0323"


def test_a_run_of_marks_keeps_thirty() -> None:
    text = "e" + PAIR * 50_000 + "股"
    assert clean(text, lowercase=True) == unicodedata.normalize("NFKC", "e" + PAIR * 15) + "股"


@pytest.mark.parametrize("pairs", [1, 14, 15, 16, 2_000])
def test_places_follow_what_is_kept(pairs: int) -> None:
    text = "股e" + PAIR * pairs + "份"
    cleaned = clean(text, lowercase=True)
    places = locate(text, lowercase=True)
    assert len(places) == len(cleaned)
    assert places[0] == (0, 1)
    assert places[-1] == (len(text) - 1, len(text))


# --- what cannot be seen, and radicals: one table for training, serving and ports, and the rule that a bundle states ---------


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
    with pytest.raises(DataError, match="cleaning rule of the tokenizer must be 1 to 2, got 3"):
        tokenizer_from_config({"name": "char", "cleaning": 3}, VOCABULARY)
