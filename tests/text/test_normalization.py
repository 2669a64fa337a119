from __future__ import annotations

import pytest

from paddlenlp_embtune.text import clean


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
