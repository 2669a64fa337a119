from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from paddlenlp_embtune import VectorError
from paddlenlp_embtune.embeddings.metrics.sampling import (
    Estimate,
    blocks,
    check_ids,
    check_pair,
    check_table,
    draw_sample,
    estimate_mean,
    estimate_moments,
    unit_rows,
)
from tests.embeddings.tables import gaussian

Table = npt.NDArray[np.float32]


@pytest.mark.parametrize(("degrees", "quantile"), [(8, 2.306), (15, 2.1314), (31, 2.0395), (63, 1.9983), (10**6, 1.95997)])
def test_the_interval_is_students(degrees: int, quantile: float) -> None:
    low, high = Estimate(1.0, 0.1, 32, 100, degrees).interval
    assert high - 1 == pytest.approx(0.1 * quantile, abs=0.0006)
    assert 1 - low == pytest.approx(high - 1)


def test_an_exact_estimate_has_no_width() -> None:
    estimate = estimate_mean([1.0, 2.0, 6.0], population=3)
    assert estimate.exact
    assert estimate.interval == (3.0, 3.0)


def test_small_populations_are_read_whole() -> None:
    assert draw_sample(100, max_rows=100, seed=0) is None
    assert draw_sample(5, max_rows=32, seed=0) is None


def test_a_draw_is_without_replacement_and_follows_its_seed() -> None:
    rows = draw_sample(10_000, max_rows=500, seed=3)
    assert rows is not None
    assert rows.dtype == np.int64
    assert len(np.unique(rows)) == 500
    assert rows.min() >= 0
    assert rows.max() < 10_000
    np.testing.assert_array_equal(rows, draw_sample(10_000, max_rows=500, seed=3))
    assert (rows != draw_sample(10_000, max_rows=500, seed=4)).any()


def test_each_stretch_of_a_draw_is_a_sample() -> None:
    means = []
    for seed in range(200):
        rows = draw_sample(1000, max_rows=100, seed=seed)
        assert rows is not None
        means.append(rows[:10].mean())
    error = math.sqrt((1000**2 / 12) / 10 / 200)
    assert np.mean(means) == pytest.approx(499.5, abs=4 * error)


def test_all_rows_are_drawn_alike() -> None:
    hits = np.zeros(50)
    for seed in range(2000):
        hits[draw_sample(50, max_rows=32, seed=seed)] += 1
    np.testing.assert_allclose(hits / 2000, 32 / 50, atol=5 * math.sqrt(0.64 * 0.36 / 2000))


@pytest.mark.parametrize(
    ("most", "seed", "message"), [(31, 0, "at most 31 rows; expected 32"), (32, -1, "seed is -1; expected 0")]
)
def test_an_illegal_draw_is_refused(most: int, seed: int, message: str) -> None:
    with pytest.raises(VectorError, match=message):
        draw_sample(1000, max_rows=most, seed=seed)


def test_the_error_of_a_mean_by_hand() -> None:
    estimate = estimate_mean([1.0, 3.0], population=4)
    assert estimate.value == 2.0
    assert estimate.standard_error == pytest.approx(math.sqrt(2) / math.sqrt(2) * math.sqrt(1 - 2 / 4))
    assert (estimate.sampled, estimate.population, estimate.degrees, estimate.exact) == (2, 4, 1, False)
    assert estimate_mean([7.0], population=1).value == 7.0


@pytest.mark.parametrize(("count", "population"), [(0, 0), (0, 5), (1, 5), (6, 5)])
def test_too_few_or_too_many_values_are_refused(count: int, population: int) -> None:
    with pytest.raises(VectorError, match=f"{count} values stand for a population of {population}"):
        estimate_mean(np.ones(count), population=population)


def standardised(estimates: list[Estimate], truth: float) -> tuple[float, float]:
    """Return the share of intervals that hold the truth, and the mean square of the misses in standard errors."""
    inside = [low <= truth <= high for low, high in (estimate.interval for estimate in estimates)]
    misses = [(estimate.value - truth) / estimate.standard_error for estimate in estimates]
    return float(np.mean(inside)), float(np.mean(np.square(misses)))


@pytest.mark.parametrize("most", [100, 400, 900], ids=["a tenth", "two fifths", "nine tenths"])
def test_the_interval_of_a_mean_holds_the_mean(most: int) -> None:
    values = np.random.default_rng(0).gamma(2.0, size=1000)
    samples = [draw_sample(1000, max_rows=most, seed=seed) for seed in range(1000)]
    coverage, misses = standardised([estimate_mean(values[rows], population=1000) for rows in samples], values.mean())
    assert 0.93 < coverage < 0.97
    assert 0.85 < misses < 1.15


def first_share(moments: npt.NDArray[np.float64]) -> float:
    return float(moments[0, 0] / np.trace(moments[:-1, :-1]))


def test_moments_of_a_whole_table() -> None:
    table = gaussian(5000, 3)
    seen: list[npt.NDArray[np.float64]] = []
    estimate_moments(table, lambda moments: seen.append(moments) or 0.0, max_rows=5000, seed=0)  # type: ignore[func-returns-value]
    wide = table.astype(np.float64)
    np.testing.assert_allclose(seen[0][:-1, :-1], wide.T @ wide)
    np.testing.assert_allclose(seen[0][-1], [*wide.sum(axis=0), 5000])


def test_moments_about_a_row() -> None:
    table = gaussian(100, 3)
    seen: list[npt.NDArray[np.float64]] = []
    estimate_moments(table, lambda moments: seen.append(moments) or 0.0, about_row=4, max_rows=100, seed=0)  # type: ignore[func-returns-value]
    wide = table.astype(np.float64) - table[4]
    np.testing.assert_allclose(seen[0][:-1, :-1], wide.T @ wide)


def test_the_jackknife_of_a_mean_is_its_usual_error() -> None:
    table = np.random.default_rng(0).gamma(2.0, size=(4000, 1)).astype(np.float32)
    rows = draw_sample(4000, max_rows=1600, seed=1)
    usual = estimate_mean(table[rows, 0], population=4000)
    errors = []
    for seed in range(100):
        found = estimate_moments(table, lambda moments: moments[-1, 0] / moments[-1, -1], max_rows=1600, seed=seed)
        errors.append(found.standard_error)
        assert found.degrees == 15
    same = estimate_moments(table, lambda moments: moments[-1, 0] / moments[-1, -1], max_rows=1600, seed=1)
    assert same.value == pytest.approx(usual.value)
    assert np.mean(errors) == pytest.approx(usual.standard_error, rel=0.1)


def test_the_jackknife_takes_the_bias_out_and_its_interval_holds_the_truth() -> None:
    """The square of a mean, estimated by the square of the sample's, is too large by the variance of that mean."""
    table = gaussian(2000, 1) + np.float32(0.05)
    truth = float(table.mean(dtype=np.float64) ** 2)

    def squared(moments: npt.NDArray[np.float64]) -> float:
        return float((moments[-1, 0] / moments[-1, -1]) ** 2)

    found = [estimate_moments(table, squared, max_rows=160, seed=seed) for seed in range(1000)]
    naive = [float(table[draw_sample(2000, max_rows=160, seed=seed)].mean(dtype=np.float64) ** 2) for seed in range(1000)]
    noise = float(np.std(naive)) / math.sqrt(1000)
    assert np.mean(naive) - truth > 10 * noise
    assert np.mean([one.value for one in found]) - truth == pytest.approx(0, abs=4 * noise)


def test_the_interval_of_a_share_holds_the_share() -> None:
    table = gaussian(2000, 4) * np.array([2, 1, 1, 0.5], dtype=np.float32)
    truth = estimate_moments(table, first_share, max_rows=2000, seed=0)
    assert truth.exact
    found = [estimate_moments(table, first_share, max_rows=320, seed=seed) for seed in range(500)]
    coverage, misses = standardised(found, truth.value)
    assert 0.92 < coverage < 0.98
    assert 0.8 < misses < 1.35  # Student's t with 15 degrees of freedom has 15 / 13


@pytest.mark.parametrize("order", ["C", "F"])
def test_blocks_cover_the_table_in_order(order: str) -> None:
    table = np.asarray(gaussian(5000, 3), order=order)  # type: ignore[call-overload]
    parts = [block.copy() for block in blocks(table)]
    assert all(part.dtype == np.float64 and len(part) <= 2048 for part in parts)
    np.testing.assert_array_equal(np.concatenate(parts), table)
    rows = np.random.default_rng(0).integers(0, 5000, 3000)
    np.testing.assert_array_equal(np.concatenate([block.copy() for block in blocks(table, rows)]), table[rows])


def test_blocks_leave_the_table_alone() -> None:
    table = gaussian(10, 3)
    copy = table.copy()
    for block in blocks(table):
        block[...] = 0
    np.testing.assert_array_equal(table, copy)


@pytest.mark.parametrize("scale", [1e-40, 1e-20, 1.0, 1e20, 3e37])
def test_unit_rows_of_any_size(scale: float) -> None:
    table = (np.array([[3, 4], [0, 0], [-1, 0]]) * scale).astype(np.float32)
    np.testing.assert_allclose(unit_rows(table), [[0.6, 0.8], [0, 0], [-1, 0]], rtol=1e-4)


@pytest.mark.parametrize("table", [np.zeros((3, 2)), np.zeros(3, np.float32), np.zeros((0, 2), np.float32)])
def test_other_tables_are_refused(table: Table) -> None:
    with pytest.raises(VectorError, match=r"it is float.* of shape .*; expected a numpy array, float32 of \(rows, width\)"):
        check_table(table, "it")


@pytest.mark.parametrize("row", [0, 2047, 2048, 4999])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_tables_with_broken_values_are_refused(row: int, value: float) -> None:
    table = gaussian(5000, 2)
    table[row, 1] = value
    with pytest.raises(VectorError, match=f"row {row} of table holds NaN or infinite"):
        check_table(table)


@pytest.mark.parametrize("table", [[[1.0, 2.0]], None, np.float32(3)], ids=["list", "None", "scalar"])
def test_what_is_no_array_is_refused(table: object) -> None:
    with pytest.raises(VectorError, match="expected a numpy array"):
        check_table(table)  # type: ignore[arg-type]


def test_a_pair_of_two_shapes_is_refused() -> None:
    with pytest.raises(VectorError, match=r"start has the shape \(3, 2\) and now \(4, 2\)"):
        check_pair(gaussian(3, 2), gaussian(4, 2))


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([], "ids is float64 of shape"),
        ([0.5], "float64"),
        ([True], "bool"),
        ([0, -1], "holds -1; expected 0 to 4"),
        ([5], "holds 5; expected 0 to 4"),
        (np.array([2**63], dtype=np.uint64), "holds 9223372036854775808"),
    ],
    ids=str,
)
def test_illegal_ids_are_refused(ids: object, message: str) -> None:
    with pytest.raises(VectorError, match=message):
        check_ids(ids, 5, "ids")  # type: ignore[arg-type]


def test_ids_keep_their_shape() -> None:
    found = check_ids(np.array([[1, 2], [3, 4]], dtype=np.uint8), 5)
    assert found.dtype == np.int64
    assert found.tolist() == [[1, 2], [3, 4]]
