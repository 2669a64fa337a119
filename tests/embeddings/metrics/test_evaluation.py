"""Vectors without a task: coverage, groups, outliers and analogies, one source or several side by side."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from paddlenlp_embtune.embeddings.io import VectorTable
from paddlenlp_embtune.embeddings.metrics import Analogy, evaluate_vectors
from paddlenlp_embtune.embeddings.metrics._group_measures import measure_groups
from paddlenlp_embtune.embeddings.metrics._isotropy import uniformity
from paddlenlp_embtune.embeddings.metrics._words import find_words
from paddlenlp_embtune.errors import VectorError

TOKENS = ["[PAD]", "[UNK]", "涨", "升", "跌", "降", "大", "上涨", "零"]
GROUPS = {"up": ("涨", "上涨", "大涨"), "down": ("跌", "大跌", "下跌")}


def vectors(seed: int = 0, *, noise: float = 0.1, without: str = "") -> VectorTable:
    generator = np.random.default_rng(seed)
    table = generator.normal(0, noise, (len(TOKENS), 4)).astype(np.float32)
    for token, direction in (("涨", 0), ("升", 0), ("上涨", 0), ("跌", 1), ("降", 1)):
        table[TOKENS.index(token), direction] += 1
    table[TOKENS.index("零")] = 0
    rows = {token: row for row, token in enumerate(TOKENS) if token != without}
    return VectorTable(rows=rows, table=table, source=f"table {seed}")


def test_words_have_their_row_or_the_mean_of_their_characters() -> None:
    source = vectors()
    found = find_words(source, ["上涨", "大跌", "下跌", "零", "大跌"])
    np.testing.assert_array_equal(found.vectors["上涨"], source.table[7])
    np.testing.assert_allclose(found.vectors["大跌"], source.table[[6, 4]].mean(axis=0), rtol=1e-6)
    assert (found.whole, found.missing) == ({"上涨"}, ("下跌", "零"))


def test_words_that_a_source_composes_are_its_own() -> None:
    made = np.ones(4, np.float32)
    source = VectorTable(rows={"a": 0}, table=made[None] * 2, source="x", compose=lambda word: made if word == "aa" else None)
    found = find_words(source, ["a", "aa", "ab"])
    np.testing.assert_array_equal(found.vectors["aa"], made)
    assert found.missing == ("ab",)


def test_groups_are_measured_with_their_coverage() -> None:
    source = vectors()
    told = evaluate_vectors([source], groups=GROUPS)
    groups = told["groups"]
    assert groups["coverage"]["words"] == 6
    assert (groups["coverage"]["used"], groups["coverage"]["whole"], groups["coverage"]["missing"]) == (5, [3], [1])
    assert groups["coverage"]["missing_examples"] == [["下跌"]]
    assert [(row["name"], row["terms"]) for row in groups["by_group"]] == [("up", 3), ("down", 2)]
    assert groups["agreement"] == [1.0]
    assert groups["outlier_accuracy"] == [1.0]
    assert groups["outlier_tests"] == 2 + 3
    assert groups["agreement_by_chance"] == pytest.approx((3 * 2 / 4 + 2 * 1 / 4) / 5)
    assert told["analogies"] is None
    kept = source.table[2:]
    assert told["sources"][0]["uniformity"] == pytest.approx(uniformity(kept).value)
    assert told["sources"][0]["rows"] == len(kept)


def test_alignment_is_the_mean_squared_distance_within_groups() -> None:
    table = np.random.default_rng(3).normal(size=(5, 4)).astype(np.float32)
    unit = table / np.linalg.norm(table, axis=1, keepdims=True)
    groups = {"a": [0, 1, 2], "b": [3, 4]}
    pairs = [pair for rows in groups.values() for pair in combinations(rows, 2)]
    expected = np.mean([np.square(unit[one] - unit[other]).sum() for one, other in pairs])
    assert measure_groups(table, groups).alignment == pytest.approx(expected, rel=1e-5)


def test_one_group_alone_has_no_outliers() -> None:
    told = evaluate_vectors([vectors()], groups={"up": GROUPS["up"]})["groups"]
    assert (told["outlier_accuracy"], told["outlier_tests"]) == ([None], 0)


def test_several_sources_are_compared_on_what_all_know() -> None:
    first, second = vectors(0), vectors(1, noise=1.0, without="大")
    told = evaluate_vectors([first, second], groups=GROUPS, analogies=[Analogy("s", ("涨", "跌", "升", "降"))])
    assert told["groups"]["coverage"]["used"] == 3
    assert told["groups"]["coverage"]["missing"] == [1, 3]
    assert [row["name"] for row in told["groups"]["by_group"]] == ["up"]
    assert len(told["groups"]["by_group"][0]["cohesion"]) == 2
    assert told["analogies"]["candidates"] == len({*TOKENS[2:]} - {"大"})
    assert told["analogies"]["accuracy"][0] == 1.0


def test_questions_count_where_all_four_words_have_vectors() -> None:
    questions = [
        Analogy("one", ("涨", "跌", "升", "降")),
        Analogy("one", ("涨", "跌", "升", "龘")),
        Analogy("two", ("甲", "乙", "丙", "丁")),
    ]
    told = evaluate_vectors([vectors()], analogies=questions)["analogies"]
    assert (told["questions"], told["asked"], told["correct"]) == (3, 1, [1])
    assert told["by_section"] == [
        {"name": "one", "questions": 2, "asked": 1, "accuracy": [1.0]},
        {"name": "two", "questions": 1, "asked": 0, "accuracy": [None]},
    ]


def test_words_that_are_all_unknown_are_refused() -> None:
    with pytest.raises(VectorError, match=r"none of the 2 terms of the groups has a vector in table 0, the first of them '甲'"):
        evaluate_vectors([vectors()], groups={"a": ("甲", "乙")})
    with pytest.raises(VectorError, match="none of the 2 groups has two terms with vectors"):
        evaluate_vectors([vectors()], groups={"a": ("涨", "乙"), "b": ("跌", "甲")})
    with pytest.raises(VectorError, match=r"none of the 1 analogies has four words with vectors \(3 of 4 words have one\)"):
        evaluate_vectors([vectors()], analogies=[Analogy("", ("涨", "跌", "升", "甲"))])
