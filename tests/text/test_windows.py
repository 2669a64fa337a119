"""Windows: slices that fit, hold every token, move on, and end where people pause."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.text import PAD, UNK, CharTokenizer, Tokenizer, Vocabulary, WordPieceTokenizer
from paddlenlp_embtune.text.windows import AGGREGATES, WindowSpec, split_windows

LETTERS = "abcdefghij"
CHAR = CharTokenizer(Vocabulary([PAD, UNK, *"abc股份。， "]))
PIECES = [*LETTERS, *(f"##{letter}" for letter in LETTERS), "ab", "##cd", "abcd", "##ghi", *"股份公司。，,.!3"]
WORDPIECE = WordPieceTokenizer(Vocabulary([PAD, UNK, "[CLS]", "[SEP]", *PIECES]))
TOKENIZERS: dict[str, Tokenizer] = {"char": CHAR, "wordpiece": WORDPIECE}

CALM = ["股份", "公司", "。", "，", ",", ". ", "！”", "」", "\n", "、", "：", "ab", "😀", "ef。"]
ODD = [
    "e\u0301",
    "ﬁ",
    "㈱",
    "①",
    "👨\u200d👩\u200d👧",
    "👍🏻",
    "\u200b",
    "한국",
    "\u1100\u1161",
    "कि",
    "\ufeff",
    "\u0301",
    "Σ",
    "\ud800",
    "\x07",
]
SPACED = [" ", "  ", "\t", "\u3000", "\r\n", "\u2028", "\n\n"]
LONG = ["abcdefghij" * 3, "abcdefghij" * 7, "x" * 120, "http://abc.de/fghij?a=b&c=d"]
EXPANDING = ["ﷺ", "﷽", "㌖", "㏿", "\u33c2", "⑽"]
NUMBERS = ["3.14", "1,234,567.89", "12:30"]


def texts(parts: list[str], *, count: int, seed: int, most: int = 60) -> Iterator[tuple[random.Random, str]]:
    for number in range(count):
        generator = random.Random(f"{seed}-{number}")
        yield generator, "".join(generator.choices(parts, k=generator.randint(1, most)))


def slices(text: str, *, max_length: int, overlap: int = 0, tokenizer: Tokenizer = CHAR) -> list[str]:
    return [text[b:e] for b, e in split_windows(text, tokenizer, max_length=max_length, overlap=overlap)]


def visible(text: str, tokenizer: Tokenizer) -> list[tuple[int, int]]:
    """Places of the tokens that are no spaces: those at the ends of a window are not read."""
    return [(begin, end) for begin, end in tokenizer.offsets(text) if not text[begin:end].isspace()]


def check(text: str, tokenizer: Tokenizer, *, max_length: int, overlap: int) -> list[tuple[int, int]]:
    """Everything that holds of the windows of any text."""
    windows = split_windows(text, tokenizer, max_length=max_length, overlap=overlap)
    said = f"{text!r} in {max_length} with {overlap}: {windows}"
    assert windows[0][0] == 0, said
    assert windows[-1][1] == len(text), said
    for (begin, end), (after, last) in itertools.pairwise(windows):
        assert begin < after <= end < last, f"no progress, or a gap: {said}"
        assert sum(after <= b and e <= end for b, e in tokenizer.offsets(text)) <= overlap, f"too much again: {said}"
    for place in visible(text, tokenizer):
        assert any(begin <= place[0] and place[1] <= end for begin, end in windows), f"lost {place}: {said}"
    if len(windows) > 1:
        for begin, end in windows:
            ids = tokenizer.encode(text[begin:end])
            assert 0 < len(ids) <= max_length, f"{len(ids)} ids in {text[begin:end]!r}: {said}"
    return windows


def least(tokenizer: Tokenizer) -> int:
    return 1 + len(tokenizer.prefix) + len(tokenizer.suffix)


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("overlap", [0, 1, 4, 1000])
@pytest.mark.parametrize("seed", range(3))
def test_any_chinese_text_is_held_by_windows_that_fit(name: str, overlap: int, seed: int) -> None:
    tokenizer = TOKENIZERS[name]
    for generator, text in texts(CALM + ODD, count=150, seed=seed):
        check(text, tokenizer, max_length=generator.randint(12, 40), overlap=overlap)


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param(
            CALM + SPACED + LONG,
            id="spaces and long words",
        ),
        pytest.param(
            CALM + EXPANDING,
            id="characters that become many",
        ),
        pytest.param(
            [*CALM, *NUMBERS, *LONG, "cd ef"],
            id="long words",
        ),
    ],
)
def test_any_text_is_held_by_windows_of_characters(parts: list[str]) -> None:
    for generator, text in texts(parts, count=300, seed=7):
        check(text, CHAR, max_length=generator.randint(24, 40), overlap=generator.choice([0, 3, 8]))


def test_any_text_is_held_by_windows_of_pieces() -> None:
    for generator, text in texts(CALM + SPACED + LONG + ODD, count=400, seed=8):
        check(text, WORDPIECE, max_length=generator.randint(12, 40), overlap=0)


@pytest.mark.parametrize("max_length", [2, 3])
def test_the_smallest_windows(max_length: int) -> None:
    for generator, text in texts(["股", "份", "，", "。", " ", "ab", "cde", "3.14"], count=100, seed=9, most=20):
        check(text, CHAR, max_length=max_length, overlap=generator.choice([0, 1, 50]))


@pytest.mark.parametrize("max_length", [1, 2, 3])
@pytest.mark.parametrize("overlap", [0, 1, 100])
def test_the_smallest_windows_of_chinese(max_length: int, overlap: int) -> None:
    for _, text in texts(["股", "份", "，", "。", "！”"], count=100, seed=10, most=20):
        check(text, CHAR, max_length=max_length, overlap=overlap)
        check(text, WORDPIECE, max_length=max_length + 2, overlap=overlap)


def test_a_space_before_a_long_word_is_no_window() -> None:
    assert all(part.strip() for part in slices("股" * 10 + " " + "a" * 30, max_length=10))


def test_a_window_is_not_part_of_the_one_before_it() -> None:
    parts = slices("股份公司，上涨。股份，" + "a" * 16 + "公司", max_length=16, overlap=4)
    assert parts == ["股份公司，上涨。股份，", "a" * 16, "公司"]


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("text", ["", " ", "\n\t", "\u200b", "股份", "  股份\n", "a" * 8, "。" * 8])
def test_a_text_that_fits_is_one_slice(name: str, text: str) -> None:
    assert split_windows(text, TOKENIZERS[name], max_length=10, overlap=3) == [(0, len(text))]


def test_a_text_that_just_fits_and_one_that_does_not() -> None:
    assert slices("股" * 10, max_length=10) == ["股" * 10]
    assert slices("股" * 11, max_length=10) == ["股" * 10, "股"]
    assert slices("股" * 10, max_length=12, tokenizer=WORDPIECE) == ["股" * 10]
    assert slices("股" * 11, max_length=12, tokenizer=WORDPIECE) == ["股" * 10, "股"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("一二三四五六。七八九十一二", ["一二三四五六。", "七八九十一二"]),
        ("一二三四五。。。七八九十一二", ["一二三四五。。。", "七八九十一二"]),
        ("一二三四五六\n七八九十一二", ["一二三四五六\n", "七八九十一二"]),
        ("一二三四五六！”七八九十一二", ["一二三四五六！”", "七八九十一二"]),
        ("一二三四五六？』）七八九十一", ["一二三四五六？』）", "七八九十一"]),
        ("一二三四五六，七八九十一二", ["一二三四五六，", "七八九十一二"]),
        ("一二三四五六七八九十一二", ["一二三四五六七八九十", "一二"]),
        ("一。三四五六七八九十一二", ["一。三四五六七八九十", "一二"]),  # its end would be in the first half
        ("一二三四五六。七，八九十一", ["一二三四五六。", "七，八九十一"]),  # a sentence before a clause
        ("一二三四五六。七八。九十一", ["一二三四五六。七八。", "九十一"]),  # the last of two
        ("一二三四五六.七八九十一二", ["一二三四五六.七八九", "十一二"]),  # a full stop before a letter ends nothing
        ("一二三四五六. 七八九十一二", ["一二三四五六.", "七八九十一二"]),
    ],
)
def test_where_windows_end(text: str, expected: list[str]) -> None:
    assert [part.strip(" ") for part in slices(text, max_length=10)] == expected


def test_closing_quotes_are_not_torn_off() -> None:
    said = "他说：“今天涨停了！”然后走了。"
    for length in range(18, 30):
        for part in slices(said * 4, max_length=length, overlap=3):
            assert not part.startswith(("”", "！", "。")), (length, part)


def test_an_english_sentence_ends_after_its_closing_quote() -> None:
    assert slices('abc "abcd." abc abc ab', max_length=17) == ['abc "abcd." ', "abc abc ab"]


def test_sentences_do_not_end_within_numbers() -> None:
    assert slices("一二三四五六3.14八九十一二", max_length=12) == ["一二三四五六3.14八九", "十一二"]


@pytest.mark.parametrize(
    "text",
    ["净利润为1,234,567元比去年增加了", "今天下午开盘12:30到收盘一直在跌", "一二三四五六七3.14159元同比"],
)
def test_numbers_are_not_cut(text: str) -> None:
    number = next(part for part in ("1,234,567", "12:30", "3.14159") if part in text)
    for length in range(10, len(text)):
        assert any(number in part for part in slices(text, max_length=length)), slices(text, max_length=length)


def test_words_are_not_cut_where_another_place_will_do() -> None:
    text = "股份abcdef公司ghijab股份cdefgh公司"
    for length in range(8, 30):
        for tokenizer in TOKENIZERS.values():
            parts = slices(text, max_length=length + len(tokenizer.prefix) * 2, tokenizer=tokenizer)
            for word in ("abcdef", "ghijab", "cdefgh"):
                assert any(word in part for part in parts), (length, parts)


def test_a_word_longer_than_a_window_is_cut_somewhere() -> None:
    parts = slices("a" * 100, max_length=32, overlap=8)
    assert "".join(parts) == "a" * 100
    assert len(parts) == 4


def test_marks_and_joiners_stay_with_their_characters() -> None:
    for text in ("e\u0301" * 30, "👍🏻\u200d" * 30, "か\u3099" * 30, "\u1100\u1161\u11a8" * 30):
        for part in slices(text, max_length=7):
            assert not part.startswith(("\u0301", "\u200d", "\u3099", "\u1161", "\u11a8"))
        check(text, CHAR, max_length=7, overlap=0)


def test_spaces_at_the_ends_belong_to_the_first_and_the_last_window() -> None:
    text = " \n\u200b" + "股份公司。" * 6 + "\u200b \n"
    windows = check(text, CHAR, max_length=10, overlap=0)
    assert [text[begin:end] for begin, end in windows] == [
        " \n\u200b股份公司。股份公司。",
        "股份公司。股份公司。",
        "股份公司。股份公司。\u200b \n",
    ]


def test_line_breaks_end_windows() -> None:
    text = "股份公司股份\n公司股份公司\n\n股份公司"
    assert slices(text, max_length=10) == ["股份公司股份\n", "公司股份公司\n\n", "股份公司"]


def test_overlap_takes_up_whole_sentences_or_clauses() -> None:
    text = "一二三四五。六七八。九十一二三，四五。六七八九。"
    assert slices(text, max_length=12, overlap=4) == ["一二三四五。六七八。", "六七八。九十一二三，", "四五。六七八九。"]
    assert slices(text, max_length=12, overlap=3)[1] == "九十一二三，四五。"


def test_the_overlap_is_at_most_half_a_window() -> None:
    text = "股。" * 100
    windows = check(text, CHAR, max_length=10, overlap=10_000)
    assert {end - after for (_, end), (after, _) in itertools.pairwise(windows)} == {4}


@pytest.mark.parametrize("unit", ["股", "a", "股份公司，上涨。", "😀", "股a", "。", "1", "ก", "abc "])
def test_a_hundred_thousand_characters(unit: str) -> None:
    text = (unit * (100_000 // len(unit))).strip()
    found = split_windows(text, CHAR, max_length=256, overlap=0)
    assert -(-len(text) // 256) <= len(found) <= len(text) // 128
    assert [found[0][0], found[-1][1]] == [0, len(text)]
    assert all(0 < end - begin <= 257 for begin, end in found)
    assert all(end == after for (_, end), (after, _) in itertools.pairwise(found))


def test_a_hundred_thousand_full_stops(tmp_path: Path) -> None:
    script = (
        "from paddlenlp_embtune.text import PAD, UNK, CharTokenizer, Vocabulary\n"
        "from paddlenlp_embtune.text.windows import split_windows\n"
        "CHAR = CharTokenizer(Vocabulary([PAD, UNK, *'abc.']))\n"
        "print(len(split_windows('.' * 100_000, CHAR, max_length=256, overlap=0)))\n"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True, cwd=Path(__file__).parents[2])
    assert done.stdout == "391\n"


def test_a_hundred_thousand_characters_in_pieces() -> None:
    assert len(split_windows("股" * 100_000, WORDPIECE, max_length=252, overlap=0)) == 400


def test_the_same_text_has_the_same_windows() -> None:
    text = "股份公司，上涨。" * 100
    first = split_windows(text, CHAR, max_length=64, overlap=32)
    assert first == split_windows(text, CHAR, max_length=64, overlap=32)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"overlap_tokens": -1}, r"windows\.overlap_tokens must be 0 or more, got -1"),
        ({"overlap_tokens": 1.5}, "overlap_tokens"),
        ({"overlap_tokens": True}, "overlap_tokens"),
        ({"overlap_tokens": None}, "overlap_tokens"),
        ({"aggregate": "median"}, r"windows\.aggregate must be one of mean, max, length, got 'median'"),
        ({"aggregate": None}, "aggregate"),
    ],
)
def test_a_spec_that_is_not_legal(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        WindowSpec(**options)


def test_all_legal_specs() -> None:
    for aggregate in AGGREGATES:
        assert WindowSpec(overlap_tokens=0, aggregate=aggregate).aggregate == aggregate
    assert WindowSpec() == WindowSpec(overlap_tokens=32, aggregate="mean")


@pytest.mark.parametrize(
    "text", ["股" * 300, "公司回购" * 100, "abc " * 200, "a" * 300], ids=["one", "several", "words", "letters"]
)
@pytest.mark.parametrize("overlap", [1, 8, 16])
def test_texts_without_sentences_or_clauses_overlap_too(text: str, overlap: int) -> None:
    places = split_windows(text, CHAR, max_length=64, overlap=overlap)
    assert (places[0][0], places[-1][1]) == (0, len(text))
    for (_, end), (begin, _) in itertools.pairwise(places):
        if text[0] == "a":  # words are not cut where it can be helped
            assert begin <= end
        else:
            assert begin == end - overlap
