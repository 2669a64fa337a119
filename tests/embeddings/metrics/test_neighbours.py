from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from paddlenlp_embtune import VectorError
from paddlenlp_embtune.embeddings.io import VectorTable, read_lac
from paddlenlp_embtune.embeddings.metrics._neighbours import (
    Neighbours,
    kept_share,
    most_changed,
    nearest,
    neighbourhood_overlap,
)
from tests.embeddings.tables import gaussian

Table = npt.NDArray[np.float32]


def moved(table: Table, *, by: float, seed: int = 1) -> Table:
    return table + np.float32(by) * gaussian(*table.shape, seed=seed)


def slow_nearest(table: Table, row: int, k: int) -> tuple[list[int], npt.NDArray[np.float64]]:
    wide = table.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1)
    cosine = wide @ wide[row] / np.where(norms * norms[row] > 0, norms * norms[row], 1)
    cosine[row] = -np.inf
    order = np.argsort(-cosine, kind="stable")[:k]
    return order.tolist(), cosine[order]


def slow_kept(start: Table, now: Table, rows: npt.NDArray[np.int64], k: int) -> list[float]:
    pairs = ((slow_nearest(start, row, k)[0], slow_nearest(now, row, k)[0]) for row in rows)
    return [len(set(before) & set(after)) / k for before, after in pairs]


@pytest.mark.parametrize(
    ("rows", "k"), [(2, 1), (50, 49), (50, 5), (2047, 10), (2049, 10), (5000, 1), (5000, 40), (5000, 3000), (5000, 4999)]
)
def test_against_a_full_sort(rows: int, k: int) -> None:
    table = gaussian(rows, 5)
    chosen = np.array([0, rows // 2, rows - 1])
    found = nearest(table, chosen, k=k)
    assert found.ids.shape == found.cosines.shape == (3, k)
    assert (found.ids.dtype, found.cosines.dtype) == (np.int64, np.float32)
    for number, row in enumerate(chosen):
        _, cosines = slow_nearest(table, int(row), k)
        np.testing.assert_allclose(found.cosines[number], cosines, atol=1e-6)
        own = table[found.ids[number]].astype(np.float64)
        np.testing.assert_allclose(
            own @ table[row] / np.linalg.norm(own, axis=1) / np.linalg.norm(table[row]), cosines, atol=1e-6
        )
        assert row not in found.ids[number]
        assert len(set(found.ids[number].tolist())) == k


def test_many_rows_in_any_order_and_twice() -> None:
    table = gaussian(3000, 6)
    rows = np.random.default_rng(1).integers(0, 3000, 300)
    found = nearest(table, rows, k=3)
    assert found.ids.tolist() == [slow_nearest(table, int(row), 3)[0] for row in rows]


def test_by_hand() -> None:
    table = np.array([[1, 0], [5, 5], [0, 2], [-1, 0]], np.float32)
    found = nearest(table, [0], k=3)
    assert found.ids.tolist() == [[1, 2, 3]]
    np.testing.assert_allclose(found.cosines, [[np.sqrt(0.5), 0, -1]], atol=1e-7)


def test_duplicates_are_each_others_nearest_and_the_lower_number_comes_first() -> None:
    table = np.zeros((6000, 4), np.float32)
    table[:, 0] = 1.0
    found = nearest(table, [0, 3, 5999], k=4)
    assert found.ids.tolist() == [[1, 2, 3, 4], [0, 1, 2, 4], [0, 1, 2, 3]]
    assert (found.cosines == 1.0).all()


def test_zero_rows_stand_at_a_right_angle_to_all() -> None:
    table = np.array([[0, 0], [1, 0], [1, 1], [-1, 0], [0, 0]], np.float32)
    found = nearest(table, [0, 1], k=4)
    assert found.ids.tolist() == [[1, 2, 3, 4], [2, 0, 4, 3]]
    np.testing.assert_allclose(found.cosines, [[0, 0, 0, 0], [np.sqrt(0.5), 0, 0, -1]], atol=1e-7)
    assert nearest(np.zeros((5000, 3), np.float32), [4000], k=2).ids.tolist() == [[0, 1]]


@pytest.mark.parametrize("scale", [1e-28, 1e-16, 1e16, 1e28])
def test_length_does_not_count(scale: float) -> None:
    table = gaussian(300, 5)
    odd = table.copy()
    odd[::3] *= np.float32(scale)
    rows = np.arange(20)
    same, found = nearest(table, rows), nearest(odd, rows)
    np.testing.assert_array_equal(found.ids, same.ids)
    np.testing.assert_allclose(found.cosines, same.cosines, atol=1e-6)


@pytest.mark.parametrize(
    ("rows", "k", "message"),
    [
        ([0], 0, "k is 0; expected 1 to 8"),
        ([0], 9, "k is 9; expected 1 to 8"),
        ([9], 1, "rows holds 9; expected 0 to 8"),
        ([[0, 1]], 1, r"rows have the shape \(1, 2\); expected one dimension"),
        ([], 1, "rows is float64"),
        ([0.5], 1, "rows is float64"),
    ],
    ids=str,
)
def test_illegal_arguments_are_refused(rows: npt.ArrayLike, k: int, message: str) -> None:
    table = gaussian(9, 3)
    with pytest.raises(VectorError, match=message):
        nearest(table, rows, k=k)
    with pytest.raises(VectorError, match=message):
        neighbourhood_overlap(table, table, rows=rows, k=k)


@pytest.mark.parametrize("measure", [neighbourhood_overlap, most_changed])
def test_illegal_pairs_of_tables_are_refused(measure: Callable[[Table, Table], object]) -> None:
    with pytest.raises(VectorError, match="start has the shape"):
        measure(gaussian(9, 3), gaussian(9, 4))
    broken = gaussian(9, 3)
    broken[4, 1] = np.nan
    with pytest.raises(VectorError, match="row 4 of now holds NaN"):
        measure(gaussian(9, 3), broken)


def test_kept_share_by_hand() -> None:
    cosines = np.zeros((3, 2), np.float32)
    before = Neighbours(np.array([[1, 2], [0, 5], [3, 4]]), cosines)
    after = Neighbours(np.array([[2, 1], [5, 4], [1, 2]]), cosines)
    assert kept_share(before, after).tolist() == [1.0, 0.5, 0.0]
    with pytest.raises(VectorError, match=r"shapes \(3, 2\) and \(3, 1\)"):
        kept_share(before, Neighbours(after.ids[:, :1], cosines[:, :1]))


def test_overlap_against_sets() -> None:
    start = gaussian(500, 6)
    now = moved(start, by=0.3)
    rows = np.array([3, 100, 499, 7])
    found = neighbourhood_overlap(start, now, rows=rows, k=8)
    assert found.value == pytest.approx(np.mean(slow_kept(start, now, rows, 8)))
    assert found.exact
    assert found.interval == (found.value, found.value)
    whole = neighbourhood_overlap(start, now, k=8)
    assert whole.population == 500
    assert whole.value == pytest.approx(np.mean(slow_kept(start, now, np.arange(500), 8)))


def test_overlap_of_a_table_with_itself_turned_and_stretched_is_whole() -> None:
    start = gaussian(1000, 6)
    turn = np.linalg.qr(gaussian(6, 6, seed=3))[0]
    assert neighbourhood_overlap(start, start).value == 1.0
    assert neighbourhood_overlap(start, (3 * start @ turn).astype(np.float32)).value == pytest.approx(1.0, abs=1e-3)


def test_overlap_of_unrelated_tables_is_chance() -> None:
    start, now = gaussian(1000, 20), gaussian(1000, 20, seed=5)
    assert neighbourhood_overlap(start, now, k=100).value == pytest.approx(100 / 999, abs=0.01)


def test_the_interval_of_overlap() -> None:
    start = gaussian(400, 5)
    now = moved(start, by=0.3)
    truth = neighbourhood_overlap(start, now).value
    found = [neighbourhood_overlap(start, now, max_rows=60, seed=seed) for seed in range(200)]
    assert all((one.sampled, one.population) == (60, 400) for one in found)
    assert 0.91 < np.mean([one.interval[0] <= truth <= one.interval[1] for one in found]) < 0.99
    assert found[3] == neighbourhood_overlap(start, now, max_rows=60, seed=3)
    with pytest.raises(VectorError, match="at most 31 rows"):
        neighbourhood_overlap(start, now, max_rows=31)


def test_a_large_table_is_sampled_unasked() -> None:
    table = gaussian(40_000, 4)
    found = neighbourhood_overlap(table, table)
    assert (found.sampled, found.population, found.value) == (2**22 // 40_000, 40_000, 1.0)


def test_the_planted_change_is_found() -> None:
    start = gaussian(3000, 10)
    now = moved(start, by=0.01)
    now[[17, 2500]] = gaussian(2, 10, seed=8)
    found = most_changed(start, now, count=2, k=10)
    assert sorted(found.rows.tolist()) == [17, 2500]
    assert (found.kept < 0.5).all()
    for number, row in enumerate(found.rows):
        assert found.before.ids[number].tolist() == slow_nearest(start, int(row), 10)[0]
        assert found.after.ids[number].tolist() == slow_nearest(now, int(row), 10)[0]


def test_most_changed_comes_in_order_among_the_chosen() -> None:
    start = gaussian(300, 6)
    now = moved(start, by=0.4)
    rows = np.array([5, 9, 200, 3, 3, 77])
    found = most_changed(start, now, rows=rows, k=20, count=50)
    assert sorted(found.rows.tolist()) == [3, 5, 9, 77, 200]
    assert found.kept.tolist() == sorted(found.kept.tolist())
    assert found.kept.tolist() == slow_kept(start, now, found.rows, 20)


def test_of_many_rows_those_that_turned_furthest_are_read() -> None:
    start = gaussian(300, 6)
    now = start.copy()
    now[40:50] = gaussian(10, 6, seed=4)
    found = most_changed(start, now, max_rows=10, count=300)
    assert sorted(found.rows.tolist()) == list(range(40, 50))


def test_where_nothing_changed_all_is_kept() -> None:
    start = gaussian(100, 6)
    assert (most_changed(start, start).kept == 1.0).all()


@pytest.mark.parametrize(("count", "max_rows"), [(0, None), (1, 0)])
def test_an_illegal_number_of_changes_is_refused(count: int, max_rows: int | None) -> None:
    with pytest.raises(VectorError, match=f"count is {count} and max_rows {max_rows}; expected 1 or more"):
        most_changed(gaussian(9, 3), gaussian(9, 3), count=count, max_rows=max_rows, k=2)


@pytest.mark.parametrize("width", [64])
def test_extra_memory_is_bounded(width: int) -> None:
    start = gaussian(150_000, width)
    tracemalloc.start()
    try:
        most_changed(start, start)
        neighbourhood_overlap(start, start)
        nearest(start, np.arange(200))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < start.nbytes / 3


@pytest.fixture(scope="module")
def lac() -> VectorTable:
    return read_lac()


@pytest.mark.parametrize(("token", "neighbour"), [("涨", "跌"), ("跌", "涨"), ("北", "南"), ("春", "秋")])
def test_real_neighbours(lac: VectorTable, token: str, neighbour: str) -> None:
    found = nearest(lac.table, [lac.rows[token]], k=5)
    assert lac.rows[neighbour] in found.ids[0]
    assert (np.diff(found.cosines[0]) <= 0).all()


def test_a_real_table_keeps_fewer_neighbours_the_more_it_is_moved(lac: VectorTable) -> None:
    size = float(lac.table.std())
    kept = [neighbourhood_overlap(lac.table, moved(lac.table, by=by * size), max_rows=64).value for by in (0.01, 0.3, 1.0)]
    assert kept[0] > 0.8 > kept[1] > kept[2] > 0
