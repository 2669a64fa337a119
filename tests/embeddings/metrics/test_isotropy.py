from __future__ import annotations

import itertools
import math
import tracemalloc
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from paddlenlp_embtune import VectorError
from paddlenlp_embtune.embeddings.io import read_lac
from paddlenlp_embtune.embeddings.metrics import _isotropy
from paddlenlp_embtune.embeddings.metrics._isotropy import (
    alignment,
    effective_rank,
    first_direction_share,
    mean_cosine,
    partition_ratio,
    uniformity,
    untouched_share,
    update_ratio,
)
from paddlenlp_embtune.embeddings.metrics.sampling import Estimate
from tests.embeddings.tables import gaussian

Table = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

PAIRS = [(0, 1), (2, 1)]
ALONE: dict[str, Callable[[Table], float | Estimate]] = {
    "mean_cosine": mean_cosine,
    "partition_ratio": partition_ratio,
    "effective_rank": effective_rank,
    "first_direction_share": first_direction_share,
    "alignment": lambda table: alignment(table, PAIRS),
    "uniformity": uniformity,
    "update_ratio": lambda table: update_ratio(table, table),
    "untouched_share": lambda table: untouched_share(table, table),
}
EACH = pytest.mark.parametrize("measure", ALONE.values(), ids=ALONE.keys())


def value_of(found: float | Estimate) -> float:
    return found.value if isinstance(found, Estimate) else found


def orthogonal(rows: int, width: int, *, seed: int = 0) -> Floats:
    """Columns of length one at right angles, (rows, width)."""
    return np.asarray(np.linalg.qr(np.random.default_rng(seed).standard_normal((rows, width)))[0])


def table_of(singular: list[float], rows: int = 3000) -> Table:
    width = len(singular)
    return (orthogonal(rows, width) * singular @ orthogonal(width, width, seed=1).T * 50).astype(np.float32)


def units(table: Table) -> Floats:
    wide = table[table.any(axis=1)].astype(np.float64)
    return np.asarray(wide / np.linalg.norm(wide, axis=1, keepdims=True))


def slow_cosines(table: Table) -> Floats:
    unit = units(table)
    return (unit @ unit.T)[np.triu_indices(len(unit), 1)]


def coverage(estimate: Callable[[int], Estimate], truth: float, *, seeds: int = 300) -> float:
    inside = [low <= truth <= high for low, high in (estimate(seed).interval for seed in range(seeds))]
    return float(np.mean(inside))


# What all have in common


@EACH
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_broken_values_are_refused_wherever_they_are(measure: Callable[[Table], float], value: float) -> None:
    table = gaussian(5000, 4)
    table[4321, 2] = value
    with pytest.raises(VectorError, match=r"row 4321 of (table|start) holds NaN or infinite"):
        measure(table)


@EACH
@pytest.mark.parametrize(
    "table", [np.zeros((4, 3)), np.zeros((0, 3), np.float32), np.zeros(4, np.float32)], ids=["wide", "empty", "flat"]
)
def test_other_kinds_of_table_are_refused(measure: Callable[[Table], float], table: Table) -> None:
    with pytest.raises(VectorError, match=r"expected a numpy array, float32 of \(rows, width\)"):
        measure(table)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mean_cosine", 0),
        ("partition_ratio", 1),
        ("effective_rank", 0),
        ("first_direction_share", 0),
        ("alignment", 0),
        ("uniformity", 0),
        ("update_ratio", 0),
        ("untouched_share", 1),
    ],
)
def test_a_table_of_zeros(name: str, expected: float) -> None:
    assert value_of(ALONE[name](np.zeros((5, 3), np.float32))) == expected


@EACH
def test_some_zero_rows_are_no_trouble(measure: Callable[[Table], float | Estimate]) -> None:
    table = gaussian(50, 4)
    table[[0, 7, 49]] = 0
    assert math.isfinite(value_of(measure(table)))


@EACH
def test_the_table_is_left_alone_and_may_lie_in_memory_in_any_way(measure: Callable[[Table], float | Estimate]) -> None:
    table = gaussian(3000, 4)
    copy = table.copy()
    first = measure(table)
    np.testing.assert_array_equal(table, copy)
    assert measure(table) == first
    assert value_of(measure(np.asfortranarray(table))) == pytest.approx(value_of(first), abs=1e-9, rel=1e-4)
    assert value_of(measure(np.repeat(table, 2, axis=0)[::2])) == pytest.approx(value_of(first), abs=1e-9, rel=1e-4)


@EACH
def test_extra_memory_is_bounded(measure: Callable[[Table], float | Estimate]) -> None:
    table = gaussian(150_000, 64)
    tracemalloc.start()
    try:
        measure(table)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < table.nbytes / 3


# Mean cosine


@pytest.mark.parametrize("mean", [0.0, 0.3, 3.0])
def test_mean_cosine_against_all_pairs(mean: float) -> None:
    table = gaussian(400, 6, mean=mean)
    table[[3, 50]] = 0
    assert mean_cosine(table) == pytest.approx(slow_cosines(table).mean(), abs=1e-12)


def test_mean_cosine_of_an_isotropic_table_is_about_zero() -> None:
    cosine = mean_cosine(gaussian(20_000, 64))
    assert abs(cosine) < 5 * math.sqrt(2 / 64) / 20_000  # one over D for each of n * n / 2 pairs


def test_mean_cosine_of_hand_made_tables() -> None:
    assert mean_cosine(np.eye(5, dtype=np.float32)) == 0.0
    assert mean_cosine(np.outer([1, 2, 7], [3, 4]).astype(np.float32)) == pytest.approx(1.0)
    assert mean_cosine(np.outer([1, -1, 5, -5], [3, 4]).astype(np.float32)) == pytest.approx(-1 / 3)
    assert mean_cosine(np.array([[1, 0], [1, 1]], np.float32)) == pytest.approx(math.sqrt(0.5))


@pytest.mark.parametrize("zeros", [0, 3])
def test_mean_cosine_of_one_row_is_zero(zeros: int) -> None:
    assert mean_cosine(np.eye(1 + zeros, 2, dtype=np.float32) * np.eye(1 + zeros, 1, dtype=np.float32)) == 0.0


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1e4, 1e30])
def test_mean_cosine_does_not_depend_on_length(scale: float) -> None:
    table = gaussian(100, 5, mean=1.0)
    assert mean_cosine((table * np.float32(scale)).astype(np.float32)) == pytest.approx(mean_cosine(table), rel=1e-5)


# Partition ratio


def slow_partition_ratio(table: Table) -> float:
    wide = table.astype(np.float64)
    directions = np.linalg.eigh(wide.T @ wide)[1]
    sums = np.exp(wide @ np.concatenate([directions, -directions], axis=1)).sum(axis=0)
    return float(sums.min() / sums.max())


@pytest.mark.parametrize(("scale", "mean"), [(0.1, 0.0), (1.0, 0.0), (0.5, 0.5), (2.0, 1.0)])
def test_partition_ratio_against_float64(scale: float, mean: float) -> None:
    table = gaussian(5000, 6) * np.float32(scale) * np.linspace(1, 2, 6, dtype=np.float32) + np.float32(mean)
    assert partition_ratio(table) == pytest.approx(slow_partition_ratio(table), rel=1e-4)


def test_partition_ratio_of_an_isotropic_table_is_near_one() -> None:
    assert partition_ratio(gaussian(20_000, 32) * np.float32(0.1)) > 0.99


@pytest.mark.parametrize("length", [0.5, 2.0, 20.0, 300.0])
def test_partition_ratio_of_a_collapsed_table(length: float) -> None:
    """All rows are c: the partition functions along c and against it are n exp(|c|) and n exp(-|c|)."""
    table = np.tile(np.array([0.6, 0.8, 0.0], np.float32) * np.float32(length), (100, 1))
    assert partition_ratio(table) == pytest.approx(math.exp(-2 * length), rel=1e-3)


def test_partition_ratio_of_orthogonal_rows() -> None:
    """Two rows of opposite sign along each axis: cosh of their length is the same everywhere, short and long axes apart."""
    table = np.array([[1, 0], [-1, 0], [0, 2], [0, -2]], np.float32)
    assert partition_ratio(table) == pytest.approx((2 + 2 * math.cosh(1)) / (2 + 2 * math.cosh(2)), rel=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_partition_ratio_of_a_large_table_is_close_to_that_of_all_directions(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    table = gaussian(20_000, 24) * np.linspace(0.2, 0.6, 24, dtype=np.float32) + np.float32(0.1)
    whole = partition_ratio(table)
    monkeypatch.setattr(_isotropy, "EXACT_ROWS", 4_000)
    assert partition_ratio(table, seed=seed) == pytest.approx(whole, rel=0.02)


def test_partition_ratio_of_monstrous_rows() -> None:
    assert partition_ratio(np.full((4, 3), 1e30, np.float32)) == 0.0
    with pytest.raises(VectorError, match="too long for exp"):
        partition_ratio(np.full((4, 3), 1e37, np.float32))


# Effective rank


def slow_effective_rank(table: Table) -> float:
    singular = np.linalg.svd(table.astype(np.float64), compute_uv=False)
    share = singular[singular > 0] / singular.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


@pytest.mark.parametrize("rank", [1, 2, 5, 8])
def test_effective_rank_of_equal_directions_is_their_number(rank: int) -> None:
    table = table_of([1.0] * rank + [0.0] * (8 - rank))
    assert effective_rank(table).value == pytest.approx(rank, rel=1e-4)


def test_effective_rank_by_hand() -> None:
    """Singular values 3 and 1: entropy of (3/4, 1/4)."""
    table = np.diag(np.array([3, 1], np.float32))
    assert effective_rank(table).value == pytest.approx(math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25)))


@pytest.mark.parametrize("mean", [0.0, 5.0])
@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e15])
def test_effective_rank_against_the_singular_values(mean: float, scale: float) -> None:
    table = (gaussian(3000, 12, mean=mean) * np.float32(scale)).astype(np.float32)
    found = effective_rank(table)
    assert found.exact
    assert found.value == pytest.approx(slow_effective_rank(table), rel=1e-6)


def test_effective_rank_is_not_moved_by_zero_rows() -> None:
    table = gaussian(300, 6)
    padded = np.concatenate([table, np.zeros((100, 6), np.float32)])
    assert effective_rank(padded).value == pytest.approx(effective_rank(table).value)


def test_the_interval_of_effective_rank() -> None:
    table = table_of([8, 4, 4, 2, 1, 1, 0.5, 0.5]) + gaussian(3000, 8, seed=9) * np.float32(0.2)
    truth = effective_rank(table)
    assert truth.exact
    share = coverage(lambda seed: effective_rank(table, max_rows=320, seed=seed), truth.value)
    assert 0.90 < share < 0.99


def test_effective_rank_of_a_sample_of_an_isotropic_table_is_not_biased() -> None:
    """As it stands, the rank of 500 rows is about 0.2 lower than that of all."""
    table = gaussian(5000, 32)
    truth = effective_rank(table).value
    found = [effective_rank(table, max_rows=500, seed=seed).value for seed in range(20)]
    assert np.mean(found) == pytest.approx(truth, abs=0.03)
    assert slow_effective_rank(table[:500]) < truth - 0.15


# First direction


def test_first_direction_share_of_a_line_is_one() -> None:
    steps = np.random.default_rng(0).normal(size=(500, 1))
    table = (steps @ np.array([[1.0, 2.0, -1.0]]) + np.array([5.0, 0.0, 3.0])).astype(np.float32)
    assert first_direction_share(table).value == pytest.approx(1.0, abs=1e-9)


def test_first_direction_share_of_equal_rows_is_zero() -> None:
    assert first_direction_share(np.tile(gaussian(1, 7), (500, 1))).value == 0.0
    assert first_direction_share(gaussian(1, 7)).value == 0.0


def test_first_direction_share_by_hand() -> None:
    table = np.array([[3, 0], [-3, 0], [0, 1], [0, -1]], np.float32) + np.float32(10)
    assert first_direction_share(table).value == pytest.approx(0.9)


@pytest.mark.parametrize("mean", [0.0, 1.0, 1000.0])
def test_first_direction_share_against_the_covariance(mean: float) -> None:
    table = gaussian(3000, 6) * np.linspace(1, 2, 6, dtype=np.float32) + np.float32(mean)
    variances = np.linalg.eigvalsh(np.cov(table.astype(np.float64).T))
    assert first_direction_share(table).value == pytest.approx(variances[-1] / variances.sum(), rel=1e-9)


def test_the_interval_of_first_direction_share() -> None:
    table = gaussian(3000, 8) * np.array([3, 1.5, 1, 1, 1, 1, 1, 0.5], np.float32) + np.float32(2)
    truth = first_direction_share(table).value
    share = coverage(lambda seed: first_direction_share(table, max_rows=320, seed=seed), truth)
    assert 0.90 < share < 0.99


@pytest.mark.parametrize("measure", [effective_rank, first_direction_share, uniformity])
def test_a_sample_says_so_and_follows_its_seed(measure: Callable[..., Estimate]) -> None:
    table = gaussian(2000, 4)
    found = measure(table, max_rows=100, seed=5)
    assert not found.exact
    assert (found.sampled, found.population) == (100, 2000)
    assert found.standard_error > 0
    assert found == measure(table, max_rows=100, seed=5)
    assert found != measure(table, max_rows=100, seed=6)
    with pytest.raises(VectorError, match="at most 31 rows; expected 32"):
        measure(table, max_rows=31)


# Alignment


def test_alignment_by_hand() -> None:
    table = np.array([[2, 0], [0, 3], [-1, 0], [5, 0], [0, 0]], np.float32)
    assert alignment(table, [(0, 1)]).value == pytest.approx(2.0)
    assert alignment(table, [(0, 2)]).value == pytest.approx(4.0)
    assert alignment(table, [(0, 3)]).value == pytest.approx(0.0)
    assert alignment(table, [(0, 1), (0, 2), (0, 3)]).value == pytest.approx(2.0)
    assert alignment(table, [(0, 1), (0, 2)], alpha=1).value == pytest.approx((math.sqrt(2) + 2) / 2)
    assert alignment(table, [(0, 1), (0, 4), (4, 4)]).value == pytest.approx(2.0)
    assert alignment(table, [(0, 4), (4, 4)]).value == 0.0


def test_alignment_of_a_group_is_twice_what_its_mean_cosine_lacks() -> None:
    table = gaussian(60, 5, mean=0.5)
    found = alignment(table, list(itertools.combinations(range(60), 2)))
    assert found.exact
    assert found.value == pytest.approx(2 * (1 - mean_cosine(table)))


def test_the_interval_of_alignment() -> None:
    table = gaussian(500, 4, mean=0.5)
    table[7] = 0
    pairs = np.random.default_rng(1).integers(0, 500, (3000, 2))
    truth = alignment(table, pairs).value
    assert 0.92 < coverage(lambda seed: alignment(table, pairs, max_pairs=300, seed=seed), truth) < 0.98


@pytest.mark.parametrize(
    ("pairs", "alpha", "message"),
    [
        ([(0, 1)], 0.0, "alpha is 0.0"),
        ([(0, 1)], math.nan, "alpha is nan"),
        ([(0, 1)], math.inf, "alpha is inf"),
        ([0, 1], 2.0, r"shape \(2,\); expected"),
        ([(0, 1, 2)], 2.0, r"shape \(1, 3\)"),
        ([(0, 9)], 2.0, "pairs holds 9; expected 0 to 8"),
        (np.zeros((0, 2), np.int64), 2.0, r"pairs is int64 of shape \(0, 2\)"),
        ([(0.0, 1.0)], 2.0, "pairs is float64"),
    ],
    ids=["alpha 0", "alpha nan", "alpha inf", "flat", "triples", "outside", "empty", "floats"],
)
def test_illegal_pairs_are_refused(pairs: npt.ArrayLike, alpha: float, message: str) -> None:
    with pytest.raises(VectorError, match=message):
        alignment(gaussian(9, 2), pairs, alpha=alpha)


# Uniformity


@pytest.mark.parametrize(("t", "mean"), [(2.0, 0.0), (2.0, 1.0), (0.5, 0.0), (10.0, 0.3)])
def test_uniformity_against_all_pairs(t: float, mean: float) -> None:
    table = gaussian(700, 5, mean=mean)
    table[[0, 300]] = 0
    found = uniformity(table, t=t)
    assert found.exact
    assert found.value == pytest.approx(math.log(np.exp(-2 * t * (1 - slow_cosines(table))).mean()), abs=1e-5)


def test_uniformity_by_hand() -> None:
    assert uniformity(np.eye(4, dtype=np.float32)).value == pytest.approx(-4.0)
    assert uniformity(np.array([[1, 0], [-3, 0]], np.float32)).value == pytest.approx(-8.0)
    assert uniformity(np.eye(4, dtype=np.float32), t=0.5).value == pytest.approx(-1.0)
    collapsed = uniformity(np.tile(gaussian(1, 7), (50, 1))).value
    assert collapsed == pytest.approx(0.0, abs=2e-6)
    assert uniformity(np.eye(1, 3, dtype=np.float32)).value == 0.0


def test_uniformity_of_an_isotropic_table() -> None:
    """The mean of exp(4 cos) over the sphere in D dimensions, from the moments 1/D and 3/(D(D+2)) of the cosine."""
    width = 64
    mean = 1 + 16 / 2 / width + 256 / 24 * 3 / (width * (width + 2)) + 4096 / 720 * 15 / (width * (width + 2) * (width + 4))
    found = uniformity(gaussian(20_000, width), max_rows=2000)
    assert found.value == pytest.approx(math.log(mean) - 4, abs=0.01)


def test_uniformity_does_not_underflow() -> None:
    assert uniformity(np.eye(3, dtype=np.float32), t=1e6).value == pytest.approx(-2e6)
    assert uniformity(np.array([[1, 0], [-1, 0]], np.float32), t=1e4).value == pytest.approx(-4e4)


@pytest.mark.parametrize("mean", [0.0, 1.0], ids=["even", "leaning"])
def test_the_interval_of_uniformity(mean: float) -> None:
    table = gaussian(1500, 6, mean=mean)
    table[:50] = 0
    truth = uniformity(table, max_rows=1500).value
    share = coverage(lambda seed: uniformity(table, max_rows=100, seed=seed), truth)
    assert share > 0.90  # where rows are even, the jackknife is cautious


@pytest.mark.parametrize("t", [0.0, -1.0, math.nan, math.inf])
def test_an_illegal_t_is_refused(t: float) -> None:
    with pytest.raises(VectorError, match=f"t is {t}; expected above 0"):
        uniformity(gaussian(9, 2), t=t)


# A table beside its start


def test_update_ratio_by_hand() -> None:
    start = np.array([[3, 0], [0, 4]], np.float32)
    assert update_ratio(start, start + np.array([[0, 0], [0.5, 0]], np.float32)) == pytest.approx(0.1)
    assert update_ratio(start, -start) == pytest.approx(2.0)
    assert update_ratio(np.zeros_like(start), start) == 0.0
    assert update_ratio(start, np.zeros_like(start)) == 1.0


def test_update_ratio_against_the_norms() -> None:
    start, change = gaussian(5000, 7), gaussian(5000, 7, seed=1) * np.float32(1e-3)
    now = start + change
    expected = np.linalg.norm(now.astype(np.float64) - start) / np.linalg.norm(start.astype(np.float64))
    assert update_ratio(start, now) == pytest.approx(expected, rel=1e-9)


def test_untouched_share() -> None:
    start = gaussian(5000, 7)
    now = start.copy()
    now[[0, 2047, 2048, 4999], [0, 1, 6, 6]] += np.float32(1e-3)
    now[17] = np.nextafter(now[17], np.float32(9))
    assert untouched_share(start, now) == pytest.approx(1 - 5 / 5000)
    assert untouched_share(start, start.copy()) == 1.0
    assert untouched_share(start, start + np.float32(1)) == 0.0


@pytest.mark.parametrize("measure", [update_ratio, untouched_share])
def test_tables_of_two_shapes_are_refused(measure: Callable[[Table, Table], float]) -> None:
    with pytest.raises(VectorError, match=r"start has the shape \(3, 2\) and now \(3, 4\)"):
        measure(gaussian(3, 2), gaussian(3, 4))


# A real table


def test_a_real_table_and_a_collapsed_copy_of_it() -> None:
    table = read_lac().table
    collapsed = (table + np.float32(5) * table.mean(axis=0) / np.abs(table.mean(axis=0)).max() * table.std()).astype(np.float32)
    assert 0 < mean_cosine(table) < 0.1 < mean_cosine(collapsed)
    assert 100 < effective_rank(table).value < 128
    assert effective_rank(collapsed).value < effective_rank(table).value
    assert partition_ratio(collapsed) < partition_ratio(table)
    assert uniformity(collapsed).value > uniformity(table).value
    found = uniformity(table, max_rows=500, seed=1)
    low, high = found.interval
    assert low < uniformity(table, max_rows=4000).value < high
