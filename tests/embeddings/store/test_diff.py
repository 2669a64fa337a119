"""Two versions side by side, and rows carried from one into the other."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from paddlenlp_embtune.embeddings.metrics.drift_report import describe_drift
from paddlenlp_embtune.embeddings.store.diff import compare_versions
from paddlenlp_embtune.embeddings.store.row_selection import (
    check_same_space,
    group_tokens,
    replace_rows,
    rows_of_tokens,
    shared_rows,
)
from paddlenlp_embtune.errors import VectorError
from tests.embeddings.tables import gaussian

Table = npt.NDArray[np.float32]
TOKENS = ("[PAD]", "[UNK]", *"降准加息增持减回购")
GROUPS = {"easing": ("降准", "降息"), "buying": ("增持", "回购", "购")}


def moved(rows: tuple[int, ...] = (3, 5, 8)) -> tuple[Table, Table]:
    start = gaussian()
    end = start.copy()
    for place, row in enumerate(rows, start=1):
        end[row] += np.float32(place) * gaussian(1, seed=row)[0]
    return start, end


def told(**options: Any) -> dict[str, Any]:
    start, end = moved()
    return compare_versions((TOKENS, start), (TOKENS, end), GROUPS, **{"k": 3, **options})


def test_of_one_vocabulary_it_is_the_movement() -> None:
    start, end = moved()
    expected = describe_drift(start, end, TOKENS, GROUPS, k=3)
    found = told()
    assert {name: found[name] for name in expected if name != "map"} == {
        name: value for name, value in expected.items() if name != "map"
    }
    assert (found["shared"], found["same_bits"], found["rows_moved"]) == (len(TOKENS), len(TOKENS) - 3, 3)
    assert found["only_before"] == found["only_after"] == found["not_finite"] == {"count": 0, "tokens": []}
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_of_two_vocabularies_it_is_that_of_the_tokens_in_both() -> None:
    start, end = moved()
    order = np.random.default_rng(1).permutation(len(TOKENS))
    tokens = [*(TOKENS[row] for row in order if TOKENS[row] != "加"), "龘", "新"]
    table = np.concatenate([end[[row for row in order if TOKENS[row] != "加"]], gaussian(2, seed=9)])
    found = compare_versions((TOKENS, start), (tokens, table), GROUPS, k=3)
    kept = [row for row in range(len(TOKENS)) if TOKENS[row] != "加"]
    expected = describe_drift(start[kept], end[kept], [TOKENS[row] for row in kept], GROUPS, k=3)
    assert found["tokens"] == expected["tokens"]
    assert found["groups"] == expected["groups"]
    assert found["shared"] == len(TOKENS) - 1
    assert found["only_before"] == {"count": 1, "tokens": ["加"]}
    assert found["only_after"] == {"count": 2, "tokens": ["龘", "新"]}


def test_broken_rows_are_named_and_left_out() -> None:
    start, end = moved()
    end[4, 2], start[6, 0] = np.nan, np.inf
    found = compare_versions((TOKENS, start), (TOKENS, end), GROUPS, k=3)
    assert found["not_finite"] == {"count": 2, "tokens": [TOKENS[4], TOKENS[6]]}
    assert found["rows"] == len(TOKENS) - 4
    assert found["rows_moved"] == 3
    assert not {TOKENS[4], TOKENS[6]} & {name for row in found["tokens"] for name, _ in row["before"]}
    with pytest.raises(VectorError, match="all 11 rows that the versions share hold NaN"):
        compare_versions((TOKENS, start), (TOKENS, np.full_like(start, np.nan)), GROUPS)


def test_a_sign_of_zero_is_a_difference_of_bits_and_no_movement() -> None:
    start = gaussian()
    start[3] = 0.0
    end = start.copy()
    end[3] = -0.0
    found = compare_versions((TOKENS, start), (TOKENS, end), {})
    assert (found["same_bits"], found["rows_moved"]) == (len(TOKENS) - 1, 0)


def test_nothing_differs() -> None:
    found = compare_versions((TOKENS, gaussian()), (TOKENS, gaussian()), GROUPS)
    assert (found["same_bits"], found["rows_moved"], found["tokens"]) == (len(TOKENS), 0, [])


def test_counts_sort_the_drift_and_a_tokenizer_cuts_the_terms() -> None:
    found = told(counts={TOKENS[3]: 50, TOKENS[5]: 5}, cut=lambda term: [part for part in term if part != "降"])
    assert [band["rows_touched"] for band in found["bands"]] == [1, 1, 1, 0]
    assert {row["term"]: row["count"] for row in found["tokens"]} == {TOKENS[3]: 50, TOKENS[5]: 5, TOKENS[8]: 0}
    (easing,) = [row for row in found["terms"] if row["term"] == "降准"]
    (token,) = [row for row in found["tokens"] if row["term"] == "准"]
    assert easing["drift"] == token["drift"]


def test_widths_that_differ_are_refused_with_what_only_one_has() -> None:
    with pytest.raises(VectorError, match=r"\(11, 8\), the other \(11, 4\); expected one width.*embtune evaluate$"):
        compare_versions((TOKENS, gaussian()), (TOKENS, gaussian(width=4)), {})
    with pytest.raises(VectorError, match=r"\(1 tokens only in the one: 购; 1 tokens only in the other: 龘\)"):
        compare_versions((TOKENS, gaussian()), ((*TOKENS[:-1], "龘"), gaussian(width=4)), {})


def test_no_token_in_both() -> None:
    with pytest.raises(VectorError, match=r"share no token \(1 tokens only in the one: a; 1 tokens only in the other: b\)"):
        compare_versions((("a",), gaussian(1)), (("b",), gaussian(1)), {})


@pytest.mark.parametrize("options", [{"k": 0}, {"count": 0}, {"count": 101}])
def test_options_that_are_not_legal(options: dict[str, int]) -> None:
    with pytest.raises(VectorError, match="expected a token for each row"):
        told(**options)


def test_only_the_first_hundred_tokens_are_listed() -> None:
    tokens = [f"t{row}" for row in range(300)]
    found = compare_versions((tokens, gaussian(300)), (tokens[:50], gaussian(300)[:50]), {})
    assert found["only_before"] == {"count": 250, "tokens": tokens[50:150]}


# Choosing rows


def test_a_token_that_stands_there_twice_counts_with_its_last_row() -> None:
    tokens = ["a", "$", "b", "$"]
    np.testing.assert_array_equal(rows_of_tokens(tokens, ["$", "a"], where="x"), [3, 0])
    one, other = shared_rows(tokens, ["$", "x", "$", "a"])
    np.testing.assert_array_equal(one, [0, 3])
    np.testing.assert_array_equal(other, [3, 2])
    np.testing.assert_array_equal(shared_rows(tokens, tokens), [[0, 1, 2, 3]] * 2)
    assert shared_rows(["a"], ["b"])[0].shape == (0,)


def test_an_unknown_token_names_the_nearest() -> None:
    with pytest.raises(VectorError, match=r"the table has no row for 'helo' among its 3 tokens; did you mean 'hello'\?"):
        rows_of_tokens(["hello", "world", "x"], ["x", "helo"], where="the table")


def test_terms_of_groups_as_tokens() -> None:
    assert group_tokens(GROUPS, ["buying", "easing"], TOKENS) == ["增", "持", "回", "购", "降", "准", "息"]
    assert group_tokens(GROUPS, ["easing"], [*TOKENS, "降准"]) == ["降准", "降", "息"]
    assert group_tokens(GROUPS, ["easing"], TOKENS, cut=lambda term: ["[UNK]", term[0]]) == ["降"]
    with pytest.raises(VectorError, match=r"no group of terms 'esing'; did you mean 'easing'\? Expected buying or easing"):
        group_tokens(GROUPS, ["esing"], TOKENS)
    with pytest.raises(VectorError, match=r"no term of the group 'odd' \(龘龘\) has a row among 11 tokens"):
        group_tokens({"odd": ["龘龘"]}, ["odd"], TOKENS)


def test_taking_rows_leaves_both_tables_alone() -> None:
    table, other = gaussian(5), gaussian(9, seed=1)
    before = table.copy()
    mixed = replace_rows(table, np.array([1, 3]), other, np.array([8, 0]))
    np.testing.assert_array_equal(mixed, [table[0], other[8], table[2], other[0], table[4]])
    np.testing.assert_array_equal(table, before)
    with pytest.raises(VectorError, match="rows of width 4 cannot go into a table of width 8"):
        replace_rows(table, np.array([0]), gaussian(width=4), np.array([0]))


def test_rows_of_another_space_are_not_mixed() -> None:
    generator = np.random.default_rng(0)
    tokens = [f"t{number}" for number in range(40)]
    table = generator.normal(size=(40, 16)).astype(np.float32)
    turned = (table @ np.linalg.qr(generator.normal(size=(16, 16)))[0]).astype(np.float32)
    tuned = table + generator.normal(0, 0.3, table.shape).astype(np.float32)
    check_same_space(tokens, table, tokens[::-1], tuned[::-1])
    with pytest.raises(VectorError, match=r"on 40 tokens that both have, the median cosine .* different spaces"):
        check_same_space(tokens, table, tokens[::-1], turned[::-1])
    check_same_space(tokens[:5], table[:5], tokens, turned)  # too few to tell


@pytest.mark.parametrize(
    "cut", [None, lambda term: [part if part in TOKENS else "[UNK]" for part in term]], ids=["none", "cut"]
)
def test_a_term_with_a_part_that_has_no_row_is_missing(cut: Any) -> None:
    start, end = moved()
    groups = {"easing": ("降准", "降龘"), "buying": ("增持", "龘")}
    found = compare_versions((TOKENS, start), (TOKENS, end), groups, cut=cut, k=3)
    assert found["missing"] == ["降龘", "龘"]
    assert {row["term"] for row in found["terms"]} <= {"降准", "增持"}
    rows = {token: row for row, token in enumerate(TOKENS)}
    by_rows = describe_drift(start, end, TOKENS, groups, rows_of=lambda term: [rows.get(part, 1) for part in term])
    assert by_rows["missing"] == found["missing"]
