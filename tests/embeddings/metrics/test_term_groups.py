from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest

from paddlenlp_embtune import VectorError
from paddlenlp_embtune.embeddings.io import VectorTable, read_lac
from paddlenlp_embtune.embeddings.metrics._term_groups import compare_groups, group_geometry, term_vectors
from tests.embeddings.tables import gaussian

Table = npt.NDArray[np.float32]

AXES = np.array([[0, 0], [1, 0], [2, 0], [0, 1], [0, 3], [-1, 0]], np.float32)


def cosine(one: Table, other: Table) -> float:
    dot = math.fsum(float(a) * float(b) for a, b in zip(one, other, strict=True))
    return dot / math.sqrt(math.fsum(float(a) ** 2 for a in one) * math.fsum(float(b) ** 2 for b in other))


def test_a_term_is_the_mean_of_its_rows() -> None:
    found = term_vectors(AXES, [[1], [1, 3], [4, 4, 0], [1, 5]])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[1, 0], [0.5, 0.5], [0, 2], [0, 0]])


def test_a_term_may_be_anything_that_a_function_knows() -> None:
    ids = {"涨": 1, "停": 3}
    found = term_vectors(AXES, ["涨停", "涨"], rows_of=lambda term: [ids[character] for character in term])
    np.testing.assert_allclose(found, [[0.5, 0.5], [1, 0]])


def test_rows_may_come_as_arrays() -> None:
    np.testing.assert_allclose(term_vectors(AXES, [np.array([1, 3]), (4,)]), [[0.5, 0.5], [0, 3]])


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ([], "there are no terms"),
        ([[1], []], r"term \[\] is float64 of shape \(0,\)"),
        ([[1], [6]], r"term \[6\] holds 6; expected 0 to 5"),
        ([[-1]], "holds -1"),
        (["涨"], "term '涨' is <U1"),
    ],
    ids=["none", "empty", "outside", "negative", "text"],
)
def test_terms_without_rows_are_refused(terms: list[object], message: str) -> None:
    with pytest.raises(VectorError, match=message):
        term_vectors(AXES, terms)


def test_groups_on_two_axes() -> None:
    found = group_geometry(AXES, {"x": [[1], [2]], "y": [[3], [4]]})
    assert found.cohesion == {"x": 1.0, "y": 1.0}
    assert found.separation == {("x", "y"): 1.0}
    assert found.silhouette == {"x": 1.0, "y": 1.0}


def test_opposite_groups_and_groups_that_cancel_out() -> None:
    found = group_geometry(AXES, {"right": [[1], [2]], "left": [[5], [5]], "both": [[1], [5]]})
    assert found.cohesion == {"right": 1.0, "left": 1.0, "both": -1.0}
    assert found.separation == {("right", "left"): 2.0, ("right", "both"): 1.0, ("left", "both"): 1.0}
    assert found.silhouette["right"] == 1.0
    assert found.silhouette["both"] == pytest.approx(-1.0)  # 2 from its own, 0 from another group


def test_terms_without_direction_are_left_out() -> None:
    whole = group_geometry(AXES, {"x": [[1], [2]], "y": [[3], [1, 4]]})
    padded = group_geometry(AXES, {"x": [[1], [2], [0], [1, 5]], "y": [[3], [1, 4]]})
    assert padded == whole
    empty = group_geometry(AXES, {"x": [[0], [0]], "y": [[3], [1, 4]]})
    assert (empty.cohesion["x"], empty.separation["x", "y"], empty.silhouette) == (0.0, 1.0, {"x": 0.0, "y": 0.0})
    nothing = group_geometry(np.zeros_like(AXES), {"x": [[1], [2]], "y": [[3], [4]]})
    assert nothing.cohesion == nothing.silhouette == {"x": 0.0, "y": 0.0}


def test_one_group_has_cohesion_only() -> None:
    found = group_geometry(AXES, {"x": [[1], [1, 3]]})
    assert found.cohesion["x"] == pytest.approx(math.sqrt(0.5))
    assert (found.separation, found.silhouette) == ({}, {"x": 0.0})


def test_equal_terms_everywhere_are_on_no_side() -> None:
    assert group_geometry(AXES, {"x": [[1], [2]], "y": [[1], [2]]}).silhouette == {"x": 0.0, "y": 0.0}


@pytest.mark.parametrize("groups", [{}, {"x": [[1]]}, {"x": [[1], [2]], "y": []}], ids=["none", "one term", "empty"])
def test_too_small_groups_are_refused(groups: dict[str, list[list[int]]]) -> None:
    with pytest.raises(VectorError, match="expected one group or more, of two terms or more"):
        group_geometry(AXES, groups)


def slow_silhouette(groups: dict[str, Table], name: str) -> float:
    scores = []
    for place, term in enumerate(groups[name]):
        own = np.mean([1 - cosine(term, other) for at, other in enumerate(groups[name]) if at != place])
        others = min(
            float(np.mean([1 - cosine(term, other) for other in group])) for key, group in groups.items() if key != name
        )
        scores.append((others - own) / max(own, others))
    return float(np.mean(scores))


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_against_loops_over_pairs(shift: float) -> None:
    table = gaussian(60, 8)
    table[:20] += np.float32(shift)
    groups = {"a": [[0, 1], [2], [3, 4, 5], [6]], "b": [[30], [31, 32]], "c": [[40, 2], [41], [42]]}
    found = group_geometry(table, groups)
    terms = {name: term_vectors(table, rows) for name, rows in groups.items()}
    centroids = {name: np.mean([term / np.linalg.norm(term) for term in vectors], axis=0) for name, vectors in terms.items()}
    for name, vectors in terms.items():
        pairs = [cosine(one, other) for one, other in itertools.combinations(vectors, 2)]
        assert found.cohesion[name] == pytest.approx(np.mean(pairs), abs=1e-6)
        assert found.silhouette[name] == pytest.approx(slow_silhouette(terms, name), abs=1e-6)
    assert list(found.separation) == [("a", "b"), ("a", "c"), ("b", "c")]
    for (one, other), apart in found.separation.items():
        assert apart == pytest.approx(1 - cosine(centroids[one], centroids[other]), abs=1e-6)


def test_start_and_now() -> None:
    start = gaussian(40, 8)
    now = start.copy()
    now[:10] += np.float32(2) * gaussian(1, 8, seed=5)
    now[10:20] -= np.float32(2) * gaussian(1, 8, seed=5)
    groups = {"up": [[row] for row in range(10)], "down": [[row] for row in range(10, 20)]}
    found = compare_groups(start, now, groups)
    assert found.start == group_geometry(start, groups)
    assert found.now == group_geometry(now, groups)
    for name in groups:
        assert found.now.cohesion[name] > found.start.cohesion[name] + 0.3
        assert found.now.silhouette[name] > found.start.silhouette[name] + 0.3
    assert found.now.separation["up", "down"] > found.start.separation["up", "down"]


def test_broken_tables_are_refused() -> None:
    broken = AXES.copy()
    broken[3, 1] = np.inf
    with pytest.raises(VectorError, match="row 3 of now"):
        compare_groups(AXES, broken, {"x": [[1], [2]]})
    with pytest.raises(VectorError, match="and now"):
        compare_groups(AXES, AXES[:4], {"x": [[1], [2]]})
    with pytest.raises(VectorError, match="row 3 of table"):
        group_geometry(broken, {"x": [[1], [2]]})


@pytest.fixture(scope="module")
def lac() -> VectorTable:
    return read_lac()


def test_real_terms_of_a_kind_keep_together(lac: VectorTable) -> None:
    """Rise and fall are said of one thing in one place, so a table that knows no finance puts them together."""

    def rows_of(term: str) -> list[int]:
        return [lac.rows[character] for character in term]

    groups = {"moves": "涨跌升降", "seasons": "春夏秋冬", "digits": "一二三四五"}
    found = group_geometry(lac.table, groups, rows_of=rows_of)
    generator = np.random.default_rng(0)
    common = np.array([row for token, row in lac.rows.items() if "\u4e00" <= token <= "\u9fff"])
    chance = group_geometry(
        lac.table, {str(number): [[row] for row in generator.choice(common, 4, replace=False)] for number in range(300)}
    )
    for name in groups:
        assert found.cohesion[name] > max(chance.cohesion.values())
        assert found.silhouette[name] > max(chance.silhouette.values())
    assert min(found.separation.values()) > 0.5


def test_real_terms_of_several_characters(lac: VectorTable) -> None:
    found = group_geometry(
        lac.table,
        {"up": ["上涨", "大涨", "涨停"], "court": ["立案", "起诉", "诉讼"]},
        rows_of=lambda term: [lac.rows[character] for character in term],
    )
    assert min(found.silhouette.values()) > 0
