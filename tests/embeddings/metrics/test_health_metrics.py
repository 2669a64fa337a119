"""One look at a table: the same figures as its single measures, and probes that tell right rows from wrong ones."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest

from paddlenlp_embtune.embeddings.io import VectorTable, read_lac
from paddlenlp_embtune.embeddings.metrics import _frequency_buckets, _isotropy, _neighbours, _term_groups
from paddlenlp_embtune.embeddings.metrics.drift import cosine_drift, norm_drift, row_norms
from paddlenlp_embtune.embeddings.metrics.health_metrics import (
    PROBES,
    TermRows,
    drift_metrics,
    geometry_metrics,
    group_drift,
    probe_cohesion,
    zero_share,
)

Table = npt.NDArray[np.float32]


def pair(rows: int = 60, width: int = 8) -> tuple[Table, Table]:
    """A table, and the same with its even rows moved."""
    generator = np.random.default_rng(0)
    start = generator.standard_normal((rows, width)).astype(np.float32)
    now = start.copy()
    now[::2] += generator.standard_normal((len(now[::2]), width)).astype(np.float32)
    return start, now


def test_movement_is_what_the_single_measures_say_about_the_rows_that_moved() -> None:
    start, now = pair()
    now[5] = 0.0
    counts = np.arange(60)
    found = drift_metrics(start, now, counts)
    moved = np.flatnonzero((start != now).any(axis=1))
    drift = cosine_drift(start[moved], now[moved])
    assert found["rows_moved"] == len(moved) == 31
    assert found["untouched_share"] == pytest.approx(29 / 60)
    assert found["cosine_drift_mean"] == pytest.approx(drift.mean())
    assert [found[f"cosine_drift_{end}"] for end in ("p50", "p95", "max")] == pytest.approx(
        [*np.percentile(drift, [50, 95]), drift.max()]
    )
    assert found["norm_drift_mean"] == pytest.approx(norm_drift(start[moved], now[moved]).mean(), rel=1e-5)
    assert found["norm_mean"] == pytest.approx(row_norms(now).mean(), rel=1e-5)
    assert found["norm_max"] == pytest.approx(row_norms(now).max())
    assert found["norm_ratio"] == pytest.approx(row_norms(now).mean() / row_norms(start).mean(), rel=1e-5)
    assert found["update_ratio"] == pytest.approx(_isotropy.update_ratio(start, now), rel=1e-6)
    assert found["zero_share"] == pytest.approx(1 / 59)
    assert found["bands"] == [dataclasses.asdict(band) for band in _frequency_buckets.drift_by_frequency(start, now, counts)]


def test_a_table_at_rest_has_not_moved_and_a_zero_table_is_no_error() -> None:
    start, _ = pair()
    at_rest = drift_metrics(start, start.copy())
    assert at_rest["rows_moved"] == at_rest["cosine_drift_mean"] == at_rest["cosine_drift_max"] == 0
    assert at_rest["norm_ratio"] == at_rest["untouched_share"] == 1.0
    assert "bands" not in at_rest
    nothing = drift_metrics(np.zeros_like(start), np.zeros_like(start))
    assert nothing["zero_share"] == 1.0
    assert all(np.isfinite(value) for value in nothing.values())


def test_zero_rows_are_counted_but_for_the_first() -> None:
    table = np.ones((5, 3), dtype=np.float32)
    assert zero_share(table) == 0.0
    table[0] = 0
    assert zero_share(table) == 0.0
    table[3] = 0
    assert zero_share(table) == 0.25
    assert zero_share(table[:1]) == 0.0


def test_geometry_is_what_the_single_measures_say() -> None:
    start, now = pair()
    terms = {"up": [[1], [2], [3, 4]], "down": [[5], [6]], "lonely": [[7]]}
    found = geometry_metrics(start, now, TermRows(groups=terms, seed=3))
    assert found["mean_cosine"] == _isotropy.mean_cosine(now)
    assert found["mean_cosine_change"] == _isotropy.mean_cosine(now) - _isotropy.mean_cosine(start)
    shares = [_isotropy.first_direction_share(table, seed=3).value for table in (start, now)]
    assert found["first_direction_share"] == shares[1]
    assert found["first_direction_change"] == shares[1] - shares[0]
    assert found["partition_ratio"] == _isotropy.partition_ratio(now, seed=3)
    assert found["effective_rank"] == _isotropy.effective_rank(now, seed=3).value
    assert found["uniformity"] == _isotropy.uniformity(now, seed=3).value
    overlap = _neighbours.neighbourhood_overlap(start, now, k=10, max_rows=64, seed=3)
    assert found["neighbourhood_overlap"] == overlap.value
    assert found["neighbourhood_overlap_error"] == pytest.approx((overlap.interval[1] - overlap.interval[0]) / 2)
    shift = _term_groups.compare_groups(start, now, {name: terms[name] for name in ("up", "down")})
    assert found["groups"]["cohesion"] == {
        name: [shift.start.cohesion[name], shift.now.cohesion[name]] for name in ("up", "down")
    }
    assert found["groups"]["separation"]["up/down"] == [
        shift.start.separation["up", "down"],
        shift.now.separation["up", "down"],
    ]
    pairs = np.array([[1, 2], [5, 6]])
    assert found["alignment"] == pytest.approx(_isotropy.alignment(now, pairs, seed=3).value)
    assert "probe_cohesion" not in found


@pytest.mark.parametrize("rows", [2, 11, 21])
def test_the_geometry_of_a_small_table_is_finite(rows: int) -> None:
    start, now = pair(rows)
    assert all(np.isfinite(value) for value in geometry_metrics(start, now, TermRows()).values())


# --- probes -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lac() -> VectorTable:
    return read_lac()


@pytest.fixture(scope="module")
def probes(lac: VectorTable) -> dict[str, list[int]]:
    return {name: [lac.rows[each] for each in probe if each in lac.rows] for name, probe in PROBES.items()}


def test_probes_find_real_rows_where_they_belong(lac: VectorTable, probes: dict[str, list[int]]) -> None:
    assert probe_cohesion(lac.table, probes) > 10


@pytest.mark.parametrize("by", [1, -1, 7, 1000])
def test_probes_find_a_shifted_table_out(lac: VectorTable, probes: dict[str, list[int]], by: int) -> None:
    assert abs(probe_cohesion(np.roll(lac.table, by, axis=0), probes)) < 3


def test_probes_find_shuffled_tables_out(lac: VectorTable, probes: dict[str, list[int]]) -> None:
    found = [probe_cohesion(np.random.default_rng(seed).permutation(lac.table), probes) for seed in range(50)]
    assert max(np.abs(found)) < 3
    assert abs(np.mean(found)) < 1


def test_fewer_than_two_probes_say_nothing() -> None:
    start, _ = pair()
    assert probe_cohesion(start, {}) == 0.0
    assert probe_cohesion(start, {"a": [1, 2, 3], "b": [4]}) == 0.0


def test_too_few_probes_are_left_out_of_the_geometry() -> None:
    start, now = pair()
    assert "probe_cohesion" not in geometry_metrics(start, now, TermRows(probes={"movement": [1, 2]}))


def test_the_drift_of_a_group_is_that_of_its_terms() -> None:
    start = np.eye(4, dtype=np.float32)
    now = start.copy()
    now[0] = start[1]  # a quarter turn
    now[2] *= 3.0  # twice its length more
    found = group_drift(start, now, {"turned": [[0], [1]], "grown": [[2], [3]], "both": [[0, 2]]})
    assert found["turned"] == {"cosine": pytest.approx(0.5), "norm": pytest.approx(0.0)}
    assert found["grown"] == {"cosine": pytest.approx(0.0), "norm": pytest.approx(1.0)}
    assert found["both"]["cosine"] == pytest.approx(1 - 3 / np.sqrt(20), rel=1e-5)
