"""Duplicates, conflicts and leaks are texts that mean the same; what tells meanings apart keeps texts apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from paddlenlp_embtune.data import Examples, check_examples
from paddlenlp_embtune.data.unlabelled import read_unlabelled
from paddlenlp_embtune.data.validation import text_key

DIFFERENT = [
    ("净利润↑", "净利润↓"),
    ("送股10:1", "送股101"),
    ("送股10：1", "送股101"),
    ("三:一", "三一"),
    ("👍", "👎"),
    ("这波操作👍", "这波操作👎"),
    ("涨😀", "涨"),
    ("+5%", "-5%"),
    ("−5%", "5%"),
    ("1.5倍", "15倍"),
    ("增长.5", "增长5"),
    (">5", "<5"),
    ("≥5", "≤5"),
    ("会涨?", "会涨"),
    ("会涨？", "会涨。"),
    ("评级▲", "评级▼"),
    ("AA+", "AA-"),
    ("AA-", "AA"),
    ("*ST股", "ST股"),
    ("3~5", "35"),
    ("3—5", "35"),
    ("10, 1", "101"),
    ("10 1", "101"),
    ("1/2", "12"),
    ("涨/跌", "涨跌"),
    ("new low", "newlow"),
    ("好:)", "好:("),
    ("亏损(5)", "亏损5"),
    ("$5", "￥5"),
    ("√", "×"),
    ("5°", "5"),
    ("c++", "c"),
]
SAME = [
    ("涨停", "涨停！！！"),
    ("涨 停", "涨停"),
    ("Ａ股", "a股"),
    ("“涨”停", "涨停"),
    ("涨,停", "涨，停"),
    ("涨停……", "涨停。。。"),
    ("−5%", "-5%"),
    ("–5%", "－5%"),
    ("❤\ufe0f", "❤"),
    ("如下：好", "如下好"),
    ("《证券法》", "证券法"),
    ("涨？？", "涨?!"),
    ("好——真好", "好真好"),
    ("⻓江", "长江"),
    ("买 ETF", "买ETF"),
    ("涨\u200b\u3164停", "涨停"),
    ("New  Low", "new low"),
    ("2023年，涨", "2023年涨"),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_texts(one: str, other: str) -> None:
    assert text_key(one) != text_key(other)
    report = check_examples(Examples((one, other), ("a", "b"), "t"), Examples((other,), ("b",), "d"), ["a", "b"])
    assert (report.duplicates, report.conflicts, report.leaks) == (0, 0, 1)


@pytest.mark.parametrize(("one", "other"), SAME)
def test_texts_that_are_the_same(one: str, other: str) -> None:
    assert text_key(one) == text_key(other)


def test_unlabelled_texts_that_differ_are_kept(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("净利润↓\n净利润↑。\n送股10:1\n送股101\n评级▼\n", encoding="utf-8")
    found = read_unlabelled([str(tmp_path / "a.txt")], ["净利润↑"], ["评级▲"], text_column="text")
    assert found.texts == ("净利润↓", "送股10:1", "送股101", "评级▼")
    assert (found.in_train, found.in_dev, found.duplicates) == (1, 0, 0)
