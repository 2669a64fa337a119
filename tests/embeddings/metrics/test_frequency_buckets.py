from __future__ import annotations

import tracemalloc

import numpy as np
import numpy.typing as npt
import pytest

from paddlenlp_embtune import VectorError
from paddlenlp_embtune.embeddings.metrics import cosine_drift, norm_drift
from paddlenlp_embtune.embeddings.metrics._frequency_buckets import FrequencyBucket, drift_by_frequency
from tests.embeddings.tables import gaussian

Table = npt.NDArray[np.float32]


def test_by_hand() -> None:
    start = np.tile(np.array([[1, 0]], np.float32), (6, 1))
    now = np.array([[1, 0], [0, 1], [-1, 0], [1, 0], [0, 5], [1, 0]], np.float32)
    found = drift_by_frequency(start, now, [0, 3, 9, 1, 250, 10])
    assert found == (
        FrequencyBucket("never seen", 0, 1, rows=1, rows_touched=0, mean=0.0, p50=0.0, p95=0.0, max=0.0),
        FrequencyBucket("1-9", 1, 10, rows=3, rows_touched=2, mean=1.5, p50=1.5, p95=pytest.approx(1.95), max=2.0),
        FrequencyBucket("10-99", 10, 100, rows=1, rows_touched=0, mean=0.0, p50=0.0, p95=0.0, max=0.0),
        FrequencyBucket("100+", 100, None, rows=1, rows_touched=1, mean=1.0, p50=1.0, p95=1.0, max=1.0),
    )


@pytest.mark.parametrize("drift", [cosine_drift, norm_drift])
@pytest.mark.parametrize("rows", [100, 2048, 5000])
def test_against_masks_over_the_whole_table(rows: int, drift: object) -> None:
    assert callable(drift)
    start = gaussian(rows, 6)
    generator = np.random.default_rng(1)
    now = start + gaussian(rows, 6, seed=2) * generator.integers(0, 2, (rows, 1)).astype(np.float32)
    counts = generator.integers(0, 200, rows)
    found = drift_by_frequency(start, now, counts, edges=(5, 6, 150), drift=drift)
    assert [band.name for band in found] == ["0-4", "5", "6-149", "150+"]
    touched = (start != now).any(axis=1)
    for band in found:
        inside = (counts >= band.least) & (counts < (band.below or np.inf))
        values = drift(start, now)[inside & touched].astype(np.float64)
        assert (band.rows, band.rows_touched) == (inside.sum(), (inside & touched).sum())
        if not values.size:
            continue
        np.testing.assert_allclose([band.mean, band.max], [values.mean(), values.max()], rtol=1e-5)
        np.testing.assert_allclose([band.p50, band.p95], np.percentile(values, [50, 95]), rtol=1e-5)
    assert sum(band.rows for band in found) == rows


def test_an_untouched_table_has_not_moved() -> None:
    start = gaussian(50, 4)
    for band in drift_by_frequency(start, start.copy(), np.arange(50)):
        assert (band.rows_touched, band.mean, band.p50, band.p95, band.max) == (0, 0.0, 0.0, 0.0, 0.0)


def test_zero_rows_that_came_or_went_have_touched_but_not_turned() -> None:
    start, now = gaussian(4, 3), gaussian(4, 3, seed=1)
    start[0] = 0
    now[1] = 0
    start[2] = now[2] = 0
    (band,) = [band for band in drift_by_frequency(start, now, [1, 1, 1, 0]) if band.name == "1-9"]
    assert (band.rows, band.rows_touched, band.max) == (3, 2, 0.0)


@pytest.mark.parametrize(
    ("edges", "names"),
    [
        ((1,), ["never seen", "1+"]),
        ([1, 2, 3], ["never seen", "1", "2", "3+"]),
        ((10, 100), ["0-9", "10-99", "100+"]),
        (np.array([2, 2**40]), ["0-1", f"2-{2**40 - 1}", f"{2**40}+"]),
    ],
    ids=str,
)
def test_names_of_bands(edges: tuple[int, ...], names: list[str]) -> None:
    start = gaussian(5, 2)
    assert [band.name for band in drift_by_frequency(start, start, np.arange(5), edges=edges)] == names


@pytest.mark.parametrize("edges", [(), (0, 1), (-1,), (5, 5), (10, 1), (1.5,), ("1",)], ids=str)
def test_illegal_edges_are_refused(edges: tuple[int, ...]) -> None:
    with pytest.raises(VectorError, match="expected whole numbers from 1, one or more, ascending"):
        drift_by_frequency(gaussian(3, 2), gaussian(3, 2), [0, 1, 2], edges=edges)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([0, 1], r"int64 of shape \(2,\); expected whole numbers of shape \(3,\)"),
        ([[0, 1, 2]], r"shape \(1, 3\)"),
        ([0.0, 1.0, 2.0], "float64"),
        ([True, False, True], "bool"),
        ([3, -2, 0], "row 1 has the count -2; expected 0 or more"),
    ],
    ids=["too few", "two dimensions", "floats", "booleans", "negative"],
)
def test_illegal_counts_are_refused(counts: npt.ArrayLike, message: str) -> None:
    with pytest.raises(VectorError, match=message):
        drift_by_frequency(gaussian(3, 2), gaussian(3, 2), counts)


def test_broken_tables_are_refused() -> None:
    broken = gaussian(3, 2)
    broken[1, 1] = np.nan
    with pytest.raises(VectorError, match="row 1 of now"):
        drift_by_frequency(gaussian(3, 2), broken, [0, 1, 2])
    with pytest.raises(VectorError, match="and now"):
        drift_by_frequency(gaussian(3, 2), gaussian(4, 2), [0, 1, 2])


def test_a_drift_that_is_no_number_is_refused() -> None:
    def drift(start: Table, now: Table) -> Table:
        return np.where(np.arange(len(start)) == 2, np.nan, 0.0).astype(np.float32)

    with pytest.raises(VectorError, match="the drift of row 2 is nan"):
        drift_by_frequency(gaussian(4, 2), gaussian(4, 2), [0, 1, 2, 3], drift=drift)


def test_arguments_are_left_alone_and_extra_memory_is_bounded() -> None:
    start = gaussian(150_000, 64)
    now = start + np.float32(0.5)
    counts = np.random.default_rng(0).zipf(1.3, 150_000).astype(np.int64) - 1
    copies = start[::100].copy(), now[::100].copy(), counts.copy()
    tracemalloc.start()
    try:
        drift_by_frequency(start, now, counts)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < start.nbytes / 3
    for array, copy in zip((start[::100], now[::100], counts), copies, strict=True):
        np.testing.assert_array_equal(array, copy)
