"""Added terms: tokens of their own, old ids as they were, wherever they stand."""

from __future__ import annotations

import random
import re
import statistics
import time
from typing import Any

import pytest

from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.text import (
    PAD,
    UNK,
    CharTokenizer,
    TermTokenizer,
    Vocabulary,
    WordPieceTokenizer,
    add_terms,
    clean,
    tokenizer_from_config,
)
from paddlenlp_embtune.text._offsets import is_aligned, locate
from paddlenlp_embtune.text._term_matcher import TermMatcher
from tests.text.every_tokenizer import CORPUS, MAKERS, NASTY, TERMS, made, mixtures

CHAR = CharTokenizer(Vocabulary([PAD, UNK, *"质押式回购股票交易 abcetf"]))


def spans_by_definition(terms: list[str], text: str) -> list[tuple[int, int]]:
    """Leftmost, then longest, by an alternation of regular expressions."""
    edge = r"(?:(?<![a-zA-Z0-9])|(?![a-zA-Z0-9]))"
    ordered = sorted(terms, key=len, reverse=True)
    pattern = re.compile("|".join(f"{edge}{re.escape(term)}{edge}" for term in ordered))
    return [match.span() for match in pattern.finditer(text)]


def test_terms_are_found_as_defined() -> None:
    generator = random.Random(4)
    for _ in range(1200):
        alphabet = generator.choice(["ab", "ab股", "a1股份b ", "股份回"])
        terms = ["".join(generator.choices(alphabet, k=generator.randint(1, 5))).strip() for _ in range(6)]
        terms = [term for term in dict.fromkeys(terms) if term]
        text = "".join(generator.choices(alphabet, k=generator.randint(0, 25)))
        if terms:
            assert list(TermMatcher(terms).spans(text)) == spans_by_definition(terms, text), (terms, text)


@pytest.mark.parametrize("kind", MAKERS)
def test_a_text_without_terms_has_the_ids_that_it_had(kind: str) -> None:
    base, extended = made(kind), made(f"{kind} + terms")
    assert extended.vocabulary.tokens[: len(base.vocabulary)] == base.vocabulary.tokens
    for text in [*NASTY, *CORPUS, *mixtures(300, seed=9)]:
        if not set(extended.tokens(text)) & set(extended.vocabulary.tokens[len(base.vocabulary) :]):
            assert extended.encode(text) == base.encode(text)
            assert extended.offsets(text) == base.offsets(text)


@pytest.mark.parametrize("kind", MAKERS)
def test_what_is_between_terms_is_read_alone(kind: str) -> None:
    base, extended = made(kind), made(f"{kind} + terms")
    fixed = len(base.prefix)
    own = [base.encode(part)[fixed : -fixed or None] for part in ("公司开展股票", "交易，", "立案")]
    first, second = (extended.vocabulary.ids[term] for term in ("质押式回购", "回购股份"))
    text = "公司开展股票质押\u200b式回购交易，回购股份立案"
    assert extended.encode(text) == [*base.prefix, *own[0], first, *own[1], second, *own[2], *base.suffix]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("质押式回购质押式回购", ["质押式回购", "质押式回购"]),
        ("质押式质押式回购", ["质押式", "质押式回购"]),
        ("买ＥＴＦ基金", ["买", "etf基金"]),
        ("etf基金a", ["etf基金", "a"]),
        ("xetf基金", ["x", "e", "t", "f", "基", "金"]),
        ("a股 A股", ["a股", "a股"]),
        ("涨\u3000\n停", ["涨 停"]),
        ("质押\u0301式回购", ["质", "押", "\u0301", "式", "回", "购"]),
        ("㈱公", ["(", "株", ")", "公"]),
        ("(株)公", ["(", "株)公"]),
        ("科创50科创500", ["科创50", "科", "创", "5", "0", "0"]),
        ("C++ c+", ["c++", "c", "+"]),
        ("囧", ["囧"]),
    ],
)
def test_where_terms_are_found(text: str, expected: list[str]) -> None:
    assert made("char + terms").tokens(text) == expected


def test_places_of_terms() -> None:
    text = "㈱ 质\u200b押式回购　交易ＥＴＦ基金\x00"
    places = made("char + terms").offsets(text)
    assert [text[a:b] for a, b in places] == ["㈱", "㈱", "㈱", "质\u200b押式回购", "交", "易", "ＥＴＦ基金"]


def test_terms_of_a_tokenizer_that_keeps_case() -> None:
    base = CharTokenizer(CHAR.vocabulary, lowercase=False)
    extended, _ = add_terms(base, ["ETF期权"])
    assert extended.tokens("etf期权ETF期权") == [*"etf期权", "ETF期权"]


def test_a_length_without_room() -> None:
    extended, _ = add_terms(made("wordpiece"), ["质押式回购"])
    with pytest.raises(DataError, match=r"max_length must be 3 or more, .* got 2"):
        extended.encode("质押式回购", max_length=2)
    assert made("char + terms").encode("质押式回购", max_length=0) == []


def test_extending_reports_and_appends() -> None:
    once, report = add_terms(CHAR, ["质押式回购", "ETF", "质押式回购", "ＥＴＦ"])
    assert (report.added, report.known, report.repeated) == (("质押式回购", "etf"), (), ("质押式回购", "etf"))
    assert once.vocabulary.tokens == (*CHAR.vocabulary.tokens, "质押式回购", "etf")
    twice, report = add_terms(once, ["股票质押式回购", "etf"])
    assert (report.added, report.known, report.repeated) == (("股票质押式回购",), ("etf",), ())
    assert twice.vocabulary.tokens == (*once.vocabulary.tokens, "股票质押式回购")
    assert twice.base is CHAR
    base = {"name": "char", "lowercase": True, "cleaning": 2}
    assert twice.config() == {"name": "terms", "count": 3, "base": base, "cleaning": 2}
    nothing, report = add_terms(CHAR, [])
    assert nothing.vocabulary.tokens == CHAR.vocabulary.tokens
    assert nothing.encode("质押") == CHAR.encode("质押")
    assert tokenizer_from_config(nothing.config(), nothing.vocabulary).encode("质押") == CHAR.encode("质押")


def test_words_and_pieces_that_are_tokens_already_are_known() -> None:
    _, report = add_terms(made("word"), ["立案", "立案调查"])
    assert (report.added, report.known) == (("立案调查",), ("立案",))
    _, report = add_terms(WordPieceTokenizer(Vocabulary([PAD, UNK, "[CLS]", "[SEP]", "tesla", "$", "$"])), ["Tesla", "tesla股"])
    assert (report.added, report.known) == (("tesla股",), ("tesla",))


@pytest.mark.parametrize("term", ["", " ", "\u200b", "回\n购", "x" * 65, "[PAD]", "[UNK]", "[CLS]", "\udc00", "股", "Ａ"])
def test_illegal_terms_are_refused_with_their_line(term: str) -> None:
    with pytest.raises(DataError, match=r"^line 3: the term .* must "):
        add_terms(CHAR, ["质押式回购", "逆回购", term])


def test_an_unknown_character_may_be_a_term() -> None:
    extended, _ = add_terms(CHAR, ["囧", "囧囧"])
    assert extended.tokens("a囧囧囧b") == ["a", "囧囧", "囧", "b"]


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        (("ETF",), "is not clean"),
        (("股",), "is already a token"),
        (("回购", "回购"), "contain duplicates"),
        (("",), "is empty"),
    ],
)
def test_terms_that_cannot_be(terms: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        TermTokenizer(CHAR, terms)


def test_terms_do_not_stand_on_terms() -> None:
    with pytest.raises(DataError, match="must not have added terms itself"):
        TermTokenizer(add_terms(CHAR, ["回购"])[0], ("质押",))


@pytest.mark.parametrize("lowercase", [True, False])
def test_what_is_called_aligned_is(lowercase: bool) -> None:
    seen = set()
    for text in [*NASTY, *CORPUS, *mixtures(3000, seed=11), "公司，ＡＢＣ 回购", "a\u200b\ufdfa" * 3, "\ufb01\xad"]:
        found = is_aligned(text, clean(text, lowercase=lowercase), lowercase=lowercase)
        seen.add(found)
        if found:
            assert locate(text, lowercase=lowercase) == [(at, at + 1) for at in range(len(text))], ascii(text)
    assert seen == {True, False}
    assert is_aligned("公司，ＡＢＣ 回购", "公司,abc 回购", lowercase=True)


@pytest.mark.slow
def test_ten_thousand_terms_are_no_burden() -> None:
    generator = random.Random(0)
    characters = [chr(code) for code in range(0x4E00, 0x4E00 + 3000)]
    terms = sorted({"".join(generator.choices(characters, k=generator.randint(2, 6))) for _ in range(10_000)})
    base = CharTokenizer(Vocabulary([PAD, UNK, *characters]))
    extended, _ = add_terms(base, terms)
    texts = []
    for _ in range(1000):
        parts: list[str] = generator.choices(characters, k=100)
        texts.append("".join([*parts[:50], generator.choice(terms), *parts[50:]]))
    ratios = []
    for _ in range(7):
        seconds: list[Any] = []
        for tokenizer in (base, extended):
            started = time.perf_counter()
            for text in texts:
                tokenizer.encode(text)
            seconds.append(time.perf_counter() - started)
        ratios.append(seconds[1] / seconds[0])
    assert statistics.median(ratios) < 4


def test_all_terms_of_the_other_tests_are_legal() -> None:
    assert len(TERMS) == len(made("char + terms").vocabulary) - len(made("char").vocabulary)
