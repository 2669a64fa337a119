"""What moved: against tables whose moves are known, and bounded in time and memory."""

from __future__ import annotations

import json
import time
import tracemalloc
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from paddlenlp_embtune.embeddings.metrics import cosine_drift
from paddlenlp_embtune.embeddings.metrics._frequency_buckets import drift_by_frequency
from paddlenlp_embtune.embeddings.metrics._group_measures import measure_groups
from paddlenlp_embtune.embeddings.metrics._neighbours import nearest
from paddlenlp_embtune.embeddings.metrics._term_groups import compare_groups, term_vectors
from paddlenlp_embtune.embeddings.metrics._term_map import principal_axes, special_rows
from paddlenlp_embtune.embeddings.metrics.drift_report import describe_drift
from paddlenlp_embtune.errors import VectorError
from tests.embeddings.tables import gaussian

Table = npt.NDArray[np.float32]
TOKENS = ("[PAD]", "[UNK]", *"降准加息增持减回购")
GROUPS = {"easing": ("降准", "降息"), "buying": ("增持", "回购", "购"), "alone": ("息",), "nobody": ("龘龘",)}


def pair(rows: int = len(TOKENS), *, moved: tuple[int, ...] = (3, 5, 8)) -> tuple[Table, Table]:
    start = gaussian(rows)
    end = start.copy()
    for place, row in enumerate(moved, start=1):
        end[row] += np.float32(place) * gaussian(1, seed=row)[0]
    return start, end


def found(**options: Any) -> dict[str, Any]:
    start, end = pair()
    return describe_drift(start, end, TOKENS, GROUPS, **{"k": 3, **options})


def test_it_is_plain_json() -> None:
    told = found(counts=np.arange(len(TOKENS)))
    assert json.loads(json.dumps(told, ensure_ascii=False, allow_nan=False)) == told


def test_the_rows_that_moved_are_counted_and_listed_most_first() -> None:
    start, end = pair()
    told = found(counts=np.arange(len(TOKENS)))
    drift = cosine_drift(start, end)
    order = sorted((3, 5, 8), key=lambda row: -drift[row])
    assert (told["rows"], told["dimension"], told["rows_moved"]) == (len(TOKENS) - 2, 8, 3)
    assert [row["term"] for row in told["tokens"]] == [TOKENS[row] for row in order]
    assert [row["count"] for row in told["tokens"]] == order
    assert told["drift_mean"] == pytest.approx(drift[[3, 5, 8]].mean(), abs=1e-6)
    assert told["drift_p95"] == pytest.approx(np.percentile(drift[[3, 5, 8]], 95), abs=1e-6)


def test_neighbours_are_those_of_the_tables_without_special_tokens() -> None:
    start, end = pair()
    start[0] = end[0] = start[3]
    start[1] = end[1] = end[3]
    told = describe_drift(start, end, TOKENS, {}, k=3)
    row = next(row for row in told["tokens"] if row["term"] == TOKENS[3])
    for side, table in (("before", start), ("after", end)):
        near = nearest(table[2:], [1], k=3)
        assert [name for name, _ in row[side]] == [TOKENS[2 + other] for other in near.ids[0]]
        np.testing.assert_allclose([cosine for _, cosine in row[side]], near.cosines[0], atol=1e-4)
    both = {name for name, _ in row["before"]} & {name for name, _ in row["after"]}
    assert row["kept"] == pytest.approx(len(both) / 3, abs=1e-4)


def test_special_tokens_are_left_out_even_when_they_move_most() -> None:
    start, end = pair()
    end[:2] *= -1
    told = describe_drift(start, end, TOKENS, {})
    assert told["rows_moved"] == 3
    assert not {"[PAD]", "[UNK]"} & {row["term"] for row in told["tokens"]}
    names = ["[PAD]", "[unused7]", "<s>", "</s>", "[cls]", "[x]", "<b>", "s"]
    assert special_rows(names).tolist() == [0, 1, 2, 3, 4]


def test_terms_are_the_mean_of_their_rows_and_have_neighbours_among_terms() -> None:
    start, end = pair()
    told = found()
    terms = ["降准", "降息", "增持", "回购", "购", "息"]
    rows = [[TOKENS.index(letter) for letter in term] for term in terms]
    drift = cosine_drift(term_vectors(start, rows), term_vectors(end, rows))
    assert {row["term"] for row in told["terms"]} == set(terms)
    for row in told["terms"]:
        assert row["drift"] == pytest.approx(drift[terms.index(row["term"])], abs=1e-5)
        assert {name for name, _ in row["before"]} <= set(terms) - {row["term"]}
    assert told["terms"][0]["drift"] == max(row["drift"] for row in told["terms"])
    assert told["missing"] == ["龘龘"]


def test_a_term_that_is_a_token_is_that_token_and_rows_can_be_given() -> None:
    start, end = pair(4, moved=(3,))
    told = describe_drift(start, end, ["[PAD]", "降", "准", "降准"], {"a": ("降准", "降")})
    assert told["terms"][0]["term"] == "降准"
    end[0] *= -1  # the row of a special token counts for no term
    other = describe_drift(
        start, end, ["[PAD]", "降", "准", "降准"], {"a": ("降准", "降")}, rows_of=lambda term: [0, len(term)]
    )
    assert all(row["drift"] == 0 for row in other["terms"])


def test_groups_are_measured_as_the_module_of_groups_does() -> None:
    start, end = pair()
    told = found()
    rows = {"easing": [[2, 3], [2, 5]], "buying": [[6, 7], [9, 10], [10]]}
    shift = compare_groups(start, end, rows)
    assert [(row["name"], row["terms"]) for row in told["groups"]] == [("easing", 2), ("buying", 3)]
    for row in told["groups"]:
        assert row["cohesion"] == pytest.approx([shift.start.cohesion[row["name"]], shift.now.cohesion[row["name"]]], abs=1e-5)
        for side, table in enumerate((start, end)):
            terms = term_vectors(table, [*rows["easing"], *rows["buying"], [5]])  # the last is in a group of its own
            measured = measure_groups(terms, {"easing": [0, 1], "buying": [2, 3, 4]})
            for key, value in measured.group(row["name"]).items():
                assert row[key][side] == pytest.approx(value, abs=1e-5)
    assert told["all_groups"]["agreement_by_chance"] == pytest.approx((2 * 1 / 5 + 3 * 2 / 5) / 5)
    (apart,) = told["separation"]
    assert (apart["one"], apart["other"]) == ("easing", "buying")
    assert apart["after"] == pytest.approx(shift.now.separation["easing", "buying"], abs=1e-5)


def test_bands_leave_leading_special_rows_out() -> None:
    start, end = pair()
    counts = np.arange(len(TOKENS)) * 7
    bands = drift_by_frequency(start[2:], end[2:], counts[2:])
    assert [band["rows"] for band in found(counts=counts)["bands"]] == [band.rows for band in bands]
    assert found()["bands"] is None


def test_both_sides_of_the_map_stand_on_the_same_axes() -> None:
    start, end = pair()
    told = found()["map"]
    names = [point["term"] for point in told["points"]]
    assert len(set(names)) == len(names)
    assert {point["group"] for point in told["points"]} == {"easing", "buying", "alone", None}
    for point in told["points"]:
        still = not {TOKENS.index(letter) for letter in point["term"]} & {3, 5, 8}
        assert still == np.allclose(point["before"], point["after"], atol=1e-4)
    rows = [[TOKENS.index(letter) for letter in name] for name in names]
    vectors = np.concatenate([term_vectors(table, rows) for table in (start, end)]).astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    sides = np.array([point[side] for side in ("before", "after") for point in told["points"]])
    apart = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
    np.testing.assert_allclose(np.linalg.norm(sides[:, None] - sides[None], axis=2), apart, atol=1e-3)
    assert told["explained"] == sorted(told["explained"], reverse=True)
    assert sum(told["explained"]) == pytest.approx(1.0, abs=1e-3)


def test_principal_axes_do_not_depend_on_luck() -> None:
    rows = gaussian(30).astype(np.float64)
    one, shares = principal_axes(rows)
    other, _ = principal_axes(rows * np.array([1.0] * 8))
    np.testing.assert_array_equal(one, other)
    assert (one.shape, shares.shape) == ((30, 8), (8,))
    flat, shares = principal_axes(np.ones((4, 1)))
    assert (flat.shape, shares.tolist()) == ((4, 2), [0.0, 0.0])


def test_of_many_terms_the_map_takes_some_of_every_group() -> None:
    tokens = ["[PAD]", *(f"t{number}" for number in range(600))]
    start, end = pair(601, moved=tuple(range(500, 530)))
    groups = {"large": tokens[1:400], "small": tokens[400:420]}
    points = describe_drift(start, end, tokens, groups)["map"]["points"]
    assert len(points) <= 200
    assert sum(point["group"] == "small" for point in points) == 20
    assert sum(point["group"] is None for point in points) == 20


def test_nothing_moved_and_nothing_to_compare() -> None:
    start, _ = pair()
    told = describe_drift(start, start.copy(), TOKENS, {})
    assert (told["rows_moved"], told["tokens"], told["terms"], told["groups"]) == (0, [], [], [])
    assert told["map"] == {"explained": [], "points": []}
    small = describe_drift(start[:3], -start[:3], TOKENS[:3], {"a": ("降",)})
    assert small["tokens"] == [
        {"term": "降", "group": "a", "count": None, "drift": 2.0, "kept": None, "before": [], "after": []}
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"tokens": TOKENS[:-1]},
        {"end": gaussian(3)},
        {"k": 0},
        {"count": 0},
        {"count": 101},
        {"counts": [1, 2]},
        {"counts": [-1] * len(TOKENS)},
        {"rows_of": lambda term: [99]},
        {"end": np.full((len(TOKENS), 8), np.nan, dtype=np.float32)},
    ],
)
def test_what_does_not_belong_together_is_refused(change: dict[str, Any]) -> None:
    start, end = pair()
    given: dict[str, Any] = {"start": start, "end": end, "tokens": TOKENS, "groups": GROUPS, **change}
    with pytest.raises(VectorError):
        describe_drift(**given)


def test_work_on_many_rows_is_bounded() -> None:
    rows = 200_000
    start = gaussian(rows, 32)
    end = start.copy()
    end[5:60_000] += np.float32(0.3) * gaussian(59_995, 32, seed=1)
    tokens = ["[PAD]", "[UNK]", *(f"t{number}" for number in range(2, rows))]
    counts = np.zeros(rows, dtype=np.int64)
    tracemalloc.start()
    begun = time.perf_counter()
    told = describe_drift(start, end, tokens, {"a": ("t5", "t6"), "b": ("t7", "t8")}, counts=counts)
    seconds, (_, peak) = time.perf_counter() - begun, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert told["rows_moved"] == 59_995
    assert peak < 1.5 * start.nbytes  # neither table is copied; the names of the tokens take most of it
    assert seconds < 20
