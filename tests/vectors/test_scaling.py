from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from paddlenlp_embtune import VectorError
from paddlenlp_embtune.vectors import match_scale, row_norms
from paddlenlp_embtune.vectors.scaling import mean_at_norm

Table = npt.NDArray[np.float32]


def gaussian(rows: int, width: int, *, seed: int = 0) -> Table:
    return np.random.default_rng(seed).standard_normal((rows, width), dtype=np.float32)


def size(table: Table) -> float:
    return float(np.sqrt(np.mean(row_norms(table).astype(np.float64) ** 2)))


@pytest.mark.parametrize("width", [3, 8, 50])
def test_one_factor_brings_rows_to_the_size_of_others(width: int) -> None:
    table, reference = gaussian(40, 8) * np.float32(30), gaussian(60, width, seed=1) * np.float32(0.02)
    table[0] = 0
    found = match_scale(table, reference)
    assert found.dtype == np.float32
    assert size(found[1:]) == pytest.approx(size(reference), rel=1e-5)
    assert not found[0].any()
    np.testing.assert_allclose(found[1:] / table[1:], found[1, 0] / table[1, 0], rtol=1e-5)


def test_special_rows_of_the_reference_can_be_left_out() -> None:
    reference = gaussian(10, 4)
    reference[0] = 0
    reference[1] *= 100
    found = match_scale(gaussian(5, 4, seed=2), reference, reference_rows=range(2, 10))
    assert size(found) == pytest.approx(size(reference[2:]), rel=1e-5)


def test_tables_without_a_scale_are_refused() -> None:
    with pytest.raises(VectorError, match="all 3 rows of table are zero"):
        match_scale(np.zeros((3, 2), np.float32), gaussian(3, 2))
    with pytest.raises(VectorError, match="all 1 rows of reference are zero"):
        match_scale(gaussian(3, 2), np.zeros((4, 2), np.float32), reference_rows=[1])
    with pytest.raises(VectorError, match="reference_rows holds 9"):
        match_scale(gaussian(3, 2), gaussian(4, 2), reference_rows=[9])


@pytest.mark.parametrize("count", [1, 2, 9])
def test_a_mean_is_as_long_as_its_rows(count: int) -> None:
    rows = gaussian(count, 64)
    found = mean_at_norm(rows)
    assert found.dtype == np.float32
    assert np.linalg.norm(found) == pytest.approx(float(row_norms(rows).mean()), rel=1e-5)
    plain = rows.mean(axis=0)
    assert found @ plain == pytest.approx(np.linalg.norm(found) * np.linalg.norm(plain), rel=1e-5)


def test_rows_that_cancel_out_give_zero() -> None:
    rows = gaussian(1, 5)
    assert not mean_at_norm(np.concatenate([rows, -rows])).any()
