"""Checks of rows before training: labels, duplicates, conflicts and leaks."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from paddlenlp_embtune import DataError
from paddlenlp_embtune.data import Examples, check_examples, discover_labels, hold_out
from paddlenlp_embtune.data.unlabelled import read_unlabelled
from paddlenlp_embtune.data.validation import text_key


def rows(*pairs: tuple[str, str], source: str = "train.tsv") -> Examples:
    return Examples(tuple(text for text, _ in pairs), tuple(label for _, label in pairs), source)


def many(**counts: int) -> Examples:
    """So many different texts of each label, the labels mixed."""
    pairs = [(f"{label} number {index}", label) for label, count in counts.items() for index in range(count)]
    return rows(*sorted(pairs, key=lambda pair: pair[0].rpartition(" ")[2]))


def test_labels_are_those_wanted_in_their_order_or_sorted() -> None:
    data = rows(("涨", "b"), ("跌", "a"), ("平", "c"))
    assert discover_labels(data, None) == ("a", "b", "c")
    assert discover_labels(data, ["c", "a", "b"]) == ("c", "a", "b")


@pytest.mark.parametrize(
    ("pairs", "wanted", "parts"),
    [
        ([("涨", "好"), ("跌", "好")], None, ["every one of the 2 rows of train.tsv", "'好'", "expected two or more"]),
        (
            [("涨", "good"), ("跌", "bda"), ("平", "bda")],
            ["good", "bad"],
            ["'bda' (2 rows)", "did you mean 'bad'", "Expected bad or good"],
        ),
        ([("涨", "good"), ("跌", "good")], ["good", "bad"], ["train.tsv has no row of the label 'bad'"]),
    ],
)
def test_labels_refused(pairs: list[tuple[str, str]], wanted: list[str] | None, parts: list[str]) -> None:
    with pytest.raises(DataError) as raised:
        discover_labels(rows(*pairs), wanted)
    for part in parts:
        assert part in str(raised.value)


@pytest.mark.parametrize("ratio", [0.05, 0.1, 0.5])
def test_hold_out_is_stratified_and_loses_nothing(ratio: float) -> None:
    data = many(a=200, b=60, c=20)
    train, dev = hold_out(data, ratio=ratio, seed=0)
    assert Counter(zip(data.texts, data.labels, strict=True)) == Counter(
        [*zip(train.texts, train.labels, strict=True), *zip(dev.texts, dev.labels, strict=True)]
    )
    assert Counter(dev.labels) == {"a": 200 * ratio, "b": 60 * ratio, "c": 20 * ratio}
    assert "held out" in dev.source


def test_hold_out_takes_at_least_one_of_each_label() -> None:
    train, dev = hold_out(many(a=200, b=2), ratio=0.01, seed=0)
    assert Counter(train.labels)["b"] == Counter(dev.labels)["b"] == 1


def test_hold_out_repeats_with_the_seed_and_differs_without() -> None:
    data = many(a=100, b=100)
    assert hold_out(data, ratio=0.2, seed=1) == hold_out(data, ratio=0.2, seed=1)
    assert hold_out(data, ratio=0.2, seed=1)[1].texts != hold_out(data, ratio=0.2, seed=2)[1].texts


def test_hold_out_keeps_the_order_of_the_file() -> None:
    data = many(a=50, b=50)
    for side in hold_out(data, ratio=0.3, seed=0):
        positions = [data.texts.index(text) for text in side.texts]
        assert positions == sorted(positions)


@pytest.mark.parametrize("seed", range(5))
def test_copies_of_a_text_stay_on_one_side(seed: int) -> None:
    pairs = [
        (text, "ab"[index % 2])
        for index in range(40)
        for text in (f"股{index}", f" 股{index}！", f"股\u200b{index}", f"「股{index}」")
    ]
    data = rows(*pairs)
    train, dev = hold_out(data, ratio=0.25, seed=seed)
    numbers = [{int("".join(filter(str.isdigit, text))) for text in side.texts} for side in (train, dev)]
    assert not numbers[0] & numbers[1]
    assert Counter(dev.labels) == {"a": 20, "b": 20}
    assert check_examples(train, dev, ["a", "b"]).leaks == 0


@pytest.mark.parametrize("texts", [["涨"], ["涨", "涨！", "「涨」"]])
def test_a_label_with_one_text_cannot_be_split(texts: list[str]) -> None:
    data = rows(("跌", "a"), ("平", "a"), *((text, "b") for text in texts))
    with pytest.raises(DataError, match=r"label 'b' has too few different texts in train\.tsv \(1\)"):
        hold_out(data, ratio=0.5, seed=0)


def test_a_high_ratio_leaves_every_label_in_training() -> None:
    train, dev = hold_out(many(a=3, b=30), ratio=0.9, seed=0)
    assert set(train.labels) == set(dev.labels) == {"a", "b"}


def test_conflicting_texts_do_not_empty_the_training_side() -> None:
    data = rows(("涨", "a"), ("跌", "a"), ("涨", "b"), ("跌", "b"))
    for seed in range(10):
        train, dev = hold_out(data, ratio=0.1, seed=seed)
        assert set(train.labels) == set(dev.labels) == {"a", "b"}


def test_hold_out_remembers_what_was_skipped() -> None:
    data = Examples(("涨", "跌", "平", "升"), ("a", "a", "b", "b"), "train.tsv", skipped_empty=3)
    train, dev = hold_out(data, ratio=0.5, seed=0)
    assert train.skipped_empty + dev.skipped_empty == 3


def test_check_counts() -> None:
    train = rows(
        ("涨停", "a"), ("涨停！", "a"), ("涨 停", "b"), ("跌", "b"), ("跌。", "b"), ("Ａ股", "a"), ("😀", "a"), ("😡", "b")
    )
    dev = rows(("a股", "a"), ("新的", "b"), ("😡", "b"), ("跌", "a"), source="dev.tsv")
    report = check_examples(train, dev, ["b", "a"])
    assert report.rows == (8, 4)
    assert list(report.classes.items()) == [("b", 4), ("a", 4)]
    assert report.duplicates == 3
    assert report.conflicts == 1
    assert report.leaks == 3


def test_warnings_say_the_figures() -> None:
    train = rows(*((f"股{index}", "a") for index in range(20)), ("涨", "b"), ("涨", "b"), ("股1", "b"))
    dev = rows(("涨", "b"), ("新", "a"), source="dev.tsv")
    lines = check_examples(train, dev, ["a", "b"]).warnings()
    assert [line for line in lines if "'b' has only 3" in line]
    assert [line for line in lines if line.startswith("1 of 2 dev rows")]
    assert [line for line in lines if "1 texts" in line and "rows with different labels" in line]
    assert [line for line in lines if line.startswith("2 of 23 training rows")]
    assert len(lines) == 4


def test_clean_data_has_no_warnings() -> None:
    assert check_examples(many(a=20, b=20), rows(("新", "a"), source="dev.tsv"), ["a", "b"]).warnings() == []


def test_a_dev_label_that_training_lacks() -> None:
    with pytest.raises(DataError) as raised:
        check_examples(many(good=2, bad=2), rows(("新", "goood"), source="dev.tsv"), ["bad", "good"])
    for part in ("dev.tsv has the label 'goood'", "train.tsv", "did you mean 'good'", "Expected bad or good"):
        assert part in str(raised.value)


# --- duplicates, conflicts and leaks are texts that mean the same; what tells meanings apart keeps texts apart ---------------


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
