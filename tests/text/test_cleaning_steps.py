"""Cleaning steps of a recipe: what each changes, what none may change, and where each character came from."""

from __future__ import annotations

import itertools

import pytest

from paddlenlp_embtune.text import CLEANING_STEPS, apply_cleaning, cleaning_edits, describe_cleaning
from paddlenlp_embtune.text.cleaning_steps import trace_cleaning
from tests.text.every_tokenizer import CORPUS, TEXTS

ALL = tuple(CLEANING_STEPS)
CHINESE = "公司拟回购股份，用于员工持股计划"


@pytest.mark.parametrize(
    ("step", "text", "expected"),
    [
        ("mojibake", CHINESE.encode().decode("latin-1"), CHINESE),
        ("mojibake", "今天" + "📈".encode().decode("latin-1"), "今天📈"),
        ("mojibake", CHINESE.encode().decode("gb18030"), CHINESE),
        ("mojibake", "利好锟斤拷锟斤拷消息\ufffd烫烫烫", "利好消息"),
        ("controls", "涨\x07停\u200b了\ud800\ufeff", "涨停了"),
        ("markup", "<p class='x'>涨<b>停</b></p>了", " 涨停 了"),
        ("markup", "<!-- 注 -->涨<script>var x = '<b>';</script>停&nbsp;A&amp;B&#28072;", " 涨 停\xa0A&B涨"),
        ("urls", "看 https://t.cn/A6x?b=1，www.example.com", "看  ， "),
        ("mentions", "转发//@小明:涨了 回复@老王：跌", "转发 涨了  跌"),
        ("width", "ＡＢＣ，１２％\u3000ｶ", "ABC,12% カ"),
    ],
)
def test_a_step_changes_what_it_says(step: str, text: str, expected: str) -> None:
    assert apply_cleaning(text, [step]) == expected
    assert bool(cleaning_edits(text, step))


@pytest.mark.parametrize(
    "text",
    [
        *CORPUS,
        "1<2且3>2",
        "<ETF50>的<股票>",
        "A&B公司，R&D投入&c",
        "à la carte, Citroën, naïve, Müller",
        "锟字少见，烫手山芋，屯田",
    ],
)
def test_ordinary_texts_stay(text: str) -> None:
    assert apply_cleaning(text, [step for step in ALL if step != "width"]) == text


def test_a_cleaned_text_stays_as_it_is() -> None:
    for text in [*TEXTS, "&amp;lt;b&amp;gt;涨", "&#38;lt;p&#62;"]:
        cleaned = apply_cleaning(text, ALL)
        assert apply_cleaning(cleaned, ALL) == cleaned, ascii(text)


def test_each_character_comes_from_a_span_of_the_text() -> None:
    for text in TEXTS:
        cleaned, spans = trace_cleaning(text, ALL)
        assert cleaned == apply_cleaning(text, ALL)
        if spans is None:
            assert cleaned == text
            continue
        assert len(spans) == len(cleaned)
        assert all(a == b or a[1] <= b[0] for a, b in itertools.pairwise(spans)), ascii(text)
    assert trace_cleaning("<b>涨</b>停", ["markup"]) == ("涨停", [(3, 4), (8, 9)])


def test_every_step_is_described_for_other_languages() -> None:
    for step in ALL:
        lines = describe_cleaning(step)
        assert lines
        assert all(line.isascii() and line.isprintable() for line in lines), step
