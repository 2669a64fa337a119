"""Every token knows where in the text as given it comes from."""

from __future__ import annotations

import itertools
import random
import unicodedata

import pytest

from paddlenlp_embtune.text import PAD, UNK, CharTokenizer, Tokenizer, Vocabulary, WordPieceTokenizer, clean
from paddlenlp_embtune.text._offsets import locate

VOCABULARY = Vocabulary(
    [PAD, "[CLS]", "[SEP]", UNK, *"涨停板,.e❤aᄀᄂ", "tesla", "##ing", "##la", "te", "##ᅡ", "##ᅡᄂ", "##a", "##é", "é"]
)
NASTY = [
    "",
    " ",
    "\u200b\x00",
    "ＡＢＣ，立案调查！１２％",
    "😀❤\ufe0f👨\u200d👩\u200d👧🚀立案",
    "Teslaing涨停teslala, a.b",
    "a\x00立\x07案\u200b调\ufeff查\u200b",
    "\ud800立案\udc00\ude00\ud83d",
    "㈱立案ﬁ½①≠≮",
    "  立 案\t\n\u3000调  查\u2028 ",
    "e\u0301\u0323立ｶﾞ각İΣ\u00a8案 ΑΣΑΣ",
    "\u0301\u0301立 \u0301a \ufe0f案",
    "\u200d\u0301 \u0301立",
    "가나 각\u11a8간 \u1112\u1161\u11ab",
    "a\u302e\ufe0f\U0001d165b\u302e\U0001d165 \U0001d15ea \u1025\u102e",
    "x" * 150 + "涨",
    "公司\r\n被立案调查" * 30,
]
POOLS = [
    "涨停abＡ，",
    "teslaing ",
    "\u0301\u0323\u0345\u3099\u0f71\u0f72",
    "가각난",
    "かｶﾞﾟ",
    "👨\u200d\ufe0f❤",
    " \t\u3000\u00a8\x85",
    "\x00\u200b\xad",
    "\u302e\U0001d165\U0001d15e",
    "ΑΣİé≠",
]


def mixtures(count: int, *, seed: int) -> list[str]:
    generator = random.Random(seed)
    return ["".join(generator.choice(generator.choice(POOLS)) for _ in range(generator.randint(0, 12))) for _ in range(count)]


def check_places(tokenizer: Tokenizer, text: str) -> list[tuple[int, int]]:
    """As many places as tokens, in order, inside the text, the same or apart, and the same with a limit."""
    places = tokenizer.offsets(text)
    assert len(places) == len(tokenizer.tokens(text)), ascii(text)
    assert all(0 <= start < end <= len(text) for start, end in places), ascii(text)
    assert all(former == latter or former[1] <= latter[0] for former, latter in itertools.pairwise(places)), ascii(text)
    for limit in (0, 1, 2, 5, len(text) + 9):
        assert tokenizer.offsets(text, limit=limit) == places[:limit], ascii(text)
    return places


def bare(piece: str) -> str:
    return piece[2:] if piece.startswith("##") else piece


@pytest.mark.parametrize("lowercase", [True, False])
def test_places_of_characters_point_at_what_was_cleaned(lowercase: bool) -> None:
    tokenizer = CharTokenizer(VOCABULARY, lowercase=lowercase)
    for text in [*NASTY, *mixtures(3000, seed=3)]:
        for character, (start, end) in zip(tokenizer.tokens(text), check_places(tokenizer, text), strict=True):
            part = clean(f"一{text[start:end]}一", lowercase=lowercase)
            # Which of its two small forms a sigma takes depends on the word around it.
            assert character in part or character in "σς", ascii(text)


@pytest.mark.parametrize("lowercase", [True, False])
def test_places_of_pieces_point_at_what_gives_them(lowercase: bool) -> None:
    tokenizer = WordPieceTokenizer(VOCABULARY, lowercase=lowercase)
    for text in [*NASTY, *mixtures(3000, seed=4)]:
        pieces = zip(check_places(tokenizer, text), tokenizer.tokens(text), strict=True)
        for (start, end), group in itertools.groupby(pieces, key=lambda found: found[0]):
            here = "".join(bare(piece) for _, piece in group)
            assert "".join(map(bare, tokenizer.tokens(text[start:end]))) == here, ascii(text)


def parts(tokenizer: Tokenizer, text: str) -> list[str]:
    return [text[start:end] for start, end in tokenizer.offsets(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ａ，①", ["Ａ", "，", "①"]),
        ("㈱涨", ["㈱", "㈱", "㈱", "涨"]),
        ("e\u0301涨ｶﾞ", ["e\u0301", "涨", "ｶﾞ"]),
        ("a\u200b\u0301b\x00", ["a\u200b\u0301", "b"]),
        (" \x00立 \u3000\n案 ", ["立", " \u3000\n", "案"]),
        ("\ud800涨", ["\ud800", "涨"]),
        ("ΑΣ", ["ΑΣ", "ΑΣ"]),
        ("ΑΣΑ Σ", ["Α", "Σ", "Α", " ", "Σ"]),
        ("각\u11a8ᄀ\u1161", ["각", "\u11a8", "ᄀ\u1161"]),
        ("\u1025\u102e\u102e", ["\u1025\u102e", "\u102e"]),
    ],
)
def test_places_of_characters(text: str, expected: list[str]) -> None:
    assert parts(CharTokenizer(VOCABULARY), text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("TESLAing涨停", ["TESLA", "ing", "涨", "停"]),
        ("Te\u0301s\u200blai\x00ng\u200b 涨", ["Te\u0301s\u200bla", "i\x00ng", "涨"]),
        ("❤\ufe0f涨\u200b\u0301停 \u0301板", ["❤\ufe0f", "涨\u200b\u0301", "停", "板"]),
        ("щит涨" + "z" * 101, ["щит", "涨", "z" * 101]),
        ("≠，e\u0301\u0323.", ["≠", "，", "e\u0301\u0323", "."]),
        ("İ\ud800a", ["İ\ud800a"]),
        # Pieces are ᄀ, ##ᅡᄂ, ##ᅡ: the second is the end of one syllable and the beginning of the other.
        ("가나", ["가나", "가나", "가나"]),
        ("가 나", ["가", "가", "나", "나"]),
    ],
)
def test_places_of_pieces(text: str, expected: list[str]) -> None:
    assert parts(WordPieceTokenizer(VOCABULARY), text) == expected


def test_accents_are_kept_apart_where_case_is_kept() -> None:
    tokenizer = WordPieceTokenizer(VOCABULARY, lowercase=False)
    assert tokenizer.tokens("aéé\u0301 ❤\ufe0f") == ["aéé\u0301", "❤", "\ufe0f"]
    assert parts(tokenizer, "aéé é") == ["a", "é", "é", "é"]
    assert parts(tokenizer, "❤\ufe0f") == ["❤", "\ufe0f"]


@pytest.mark.parametrize("lowercase", [True, False])
def test_places_of_every_character(lowercase: bool) -> None:
    tokenizer = WordPieceTokenizer(VOCABULARY, lowercase=lowercase)
    for start in [*range(0, 0x32000, 0x80), 0xE0000, 0xE0100, 0x10FF80]:
        text = "".join(map(chr, range(start, start + 0x80)))
        assert len(locate(text, lowercase=lowercase)) == len(clean(text, lowercase=lowercase))
        assert len(tokenizer.offsets(text)) == len(tokenizer.tokens(text))


def test_characters_that_join_others_are_marks_or_of_hangul() -> None:
    """What ``locate`` takes for granted of all characters that compose with a forerunner."""
    for code in range(0x110000):
        parts = unicodedata.normalize("NFD", chr(code))
        for joined in parts[1:] if len(parts) > 1 else ():
            assert unicodedata.category(joined)[0] == "M" or "\u1160" <= joined <= "\u11ff"


UNITS = [
    "股",
    " ",
    "a",
    "a\u0301",
    "\u0301",
    "\u200b",
    "ᆨ",
    "각",
    "涨　Ａ\u200b\n",
    "\u1025\u102e",
    "ΑΣ",
    "❤\ufe0f",
    "Teslaing ",
]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("unit", UNITS)
def test_places_in_a_long_text(unit: str) -> None:
    text = (unit * 100_000)[:100_000]
    for tokenizer in (CharTokenizer(VOCABULARY), WordPieceTokenizer(VOCABULARY)):
        assert len(tokenizer.offsets(text)) == len(tokenizer.tokens(text))
        assert len(tokenizer.offsets(text, limit=5)) == min(5, len(tokenizer.tokens(text)))
