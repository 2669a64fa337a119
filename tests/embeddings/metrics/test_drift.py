from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from paddlenlp_embtune.embeddings.metrics import cosine_drift, norm_drift, row_norms

Table = npt.NDArray[np.float32]


def tables(seed: int, *, scale: float = 1.0, move: float = 1.0) -> tuple[Table, Table]:
    generator = np.random.default_rng(seed)
    start = generator.normal(0, scale, (50, 24))
    now = start + generator.normal(0, scale * move, start.shape)
    return start.astype(np.float32), now.astype(np.float32)


def slow_norm(row: Table) -> float:
    return math.sqrt(math.fsum(float(value) ** 2 for value in row))


def slow_cosine_drift(start: Table, now: Table) -> list[float]:
    drifts = []
    for before, after in zip(start, now, strict=True):
        scale = slow_norm(before) * slow_norm(after)
        dot = math.fsum(float(a) * float(b) for a, b in zip(before, after, strict=True))
        drifts.append(1 - dot / scale if scale else 0.0)
    return drifts


CASES = pytest.mark.parametrize(
    ("scale", "move"), [(1.0, 1.0), (0.1, 0.1), (1e-3, 1.0), (1e4, 1.0), (1.0, 100.0)], ids=lambda value: f"{value:g}"
)


@CASES
def test_against_a_float64_loop(scale: float, move: float) -> None:
    start, now = tables(0, scale=scale, move=move)
    norms = [slow_norm(row) for row in start]
    changes = [(slow_norm(row) - norm) / norm for row, norm in zip(now, norms, strict=True)]
    np.testing.assert_allclose(row_norms(start), norms, rtol=1e-5)
    np.testing.assert_allclose(cosine_drift(start, now), slow_cosine_drift(start, now), atol=2e-6)
    np.testing.assert_allclose(norm_drift(start, now), changes, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("function", [cosine_drift, norm_drift])
def test_one_float32_per_row(function: object) -> None:
    assert callable(function)
    result = function(*tables(1))
    assert result.shape == (50,)
    assert result.dtype == np.float32


def test_identical_tables_have_not_moved() -> None:
    start, _ = tables(2)
    np.testing.assert_allclose(cosine_drift(start, start.copy()), 0.0, atol=1e-6)
    np.testing.assert_array_equal(norm_drift(start, start.copy()), 0.0)


def test_zero_rows_have_not_moved_and_warn_of_nothing() -> None:
    start, now = tables(3)
    start[0], now[0] = 0, 0
    start[1] = 0
    now[2] = 0
    assert cosine_drift(start, now)[:3].tolist() == [0.0, 0.0, 0.0]
    assert norm_drift(start, now)[:3].tolist() == [0.0, 0.0, -1.0]
    assert row_norms(start)[:2].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(("factor", "cosine", "norm"), [(3.0, 0.0, 2.0), (0.5, 0.0, -0.5), (-1.0, 2.0, 0.0), (-2.0, 2.0, 1.0)])
def test_scaled_rows(factor: float, cosine: float, norm: float) -> None:
    start, _ = tables(4)
    now = (start * factor).astype(np.float32)
    drift = cosine_drift(start, now)
    np.testing.assert_allclose(drift, cosine, atol=1e-6)
    assert drift.min() >= 0
    assert drift.max() <= 2
    np.testing.assert_allclose(norm_drift(start, now), norm, atol=1e-5)


def test_right_angle() -> None:
    start, now = np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32)[::-1]
    assert cosine_drift(start, now).tolist() == [1.0, 1.0]


def test_arguments_are_left_alone() -> None:
    start, now = tables(5)
    copies = start.copy(), now.copy()
    cosine_drift(start, now)
    norm_drift(start, now)
    np.testing.assert_array_equal(start, copies[0])
    np.testing.assert_array_equal(now, copies[1])
