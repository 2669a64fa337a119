"""Maps between widths, against numpy's own decompositions and maps that are known beforehand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from paddlenlp_embtune import VectorError
from paddlenlp_embtune.embeddings.init.projection import (
    LinearMap,
    fit_linear,
    fit_orthonormal,
    fit_pca,
    fit_width,
    shared_nonzero_rows,
)
from paddlenlp_embtune.embeddings.io import VectorTable, read_lac
from tests.embeddings.tables import gaussian

Table = npt.NDArray[np.float32]


def named(table: Table, *, first: int = 0, source: str = "test vectors") -> VectorTable:
    return VectorTable({f"w{first + row}": row for row in range(len(table))}, table, source)


def distances(table: Table) -> npt.NDArray[np.float64]:
    wide = table.astype(np.float64)
    found: npt.NDArray[np.float64] = np.linalg.norm(wide[:, None] - wide[None], axis=2)
    return found


def skewed(rows: int = 400, width: int = 12) -> Table:
    """Rows that differ much in some directions, and have a mean."""
    turned = gaussian(rows, width) * np.linspace(3, 0.1, width, dtype=np.float32) @ gaussian(width, width, seed=1)
    return (turned + 2).astype(np.float32)


# --- principal components -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1, 4, 11, 12])
@pytest.mark.parametrize("rows", [5, 400, 3000])
def test_the_best_approximation_of_the_rows(rows: int, width: int) -> None:
    """By singular values: no other directions leave less of the rows out."""
    table = skewed(rows)
    change = fit_pca(table, width)
    matrix = change.matrix
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(width), atol=1e-10)
    wide = table.astype(np.float64)
    values = np.linalg.svd(wide, compute_uv=False)
    left_out = np.square(wide - wide @ matrix @ matrix.T).sum()
    assert left_out == pytest.approx(np.square(values[width:]).sum(), rel=1e-6, abs=1e-6 * np.square(values).sum())
    mapped = change.apply(table)
    assert mapped.dtype == np.float32
    np.testing.assert_allclose(mapped, wide @ matrix, rtol=1e-4, atol=1e-4)
    kept = mapped.astype(np.float64).var(axis=0).sum() / wide.var(axis=0).sum()
    assert change.report["explained_variance"] == pytest.approx(kept, abs=1e-5)
    assert change.report == fit_pca(table, width).report
    assert (change.report["kind"], change.report["from"], change.report["to"]) == ("pca", 12, width)


def test_the_whole_width_turns_rows_only() -> None:
    table = skewed(50)
    change = fit_pca(table, 12)
    np.testing.assert_allclose(distances(change.apply(table)), distances(table), rtol=1e-4, atol=1e-3)
    assert change.report["explained_variance"] == pytest.approx(1.0)


def test_zero_rows_do_not_count_and_directions_have_a_sign() -> None:
    table = skewed(100)
    padded = np.concatenate([np.zeros((30, 12), np.float32), table])
    one, other = fit_pca(table, 5), fit_pca(padded, 5)
    np.testing.assert_allclose(one.matrix, other.matrix, atol=1e-8)
    assert one.report == other.report
    assert not other.apply(padded)[:30].any()
    np.testing.assert_allclose(abs(fit_pca(-table, 5).matrix - one.matrix), 0, atol=1e-8)


@pytest.mark.parametrize("width", [0, -1, 13])
def test_illegal_widths_are_refused(width: int) -> None:
    with pytest.raises(VectorError, match=rf"width must be 1 to 12, got {width}"):
        fit_pca(skewed(), width)


@pytest.mark.parametrize("rows", [0, 1, 4])
def test_rows_that_do_not_differ_are_refused(rows: int) -> None:
    table = np.zeros((6, 3), np.float32)
    table[:rows] = [1, 2, 3]
    with pytest.raises(VectorError, match=f"the {rows} non-zero rows are all equal"):
        fit_pca(table, 2)


# --- orthonormal --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [7, 8, 33])
def test_a_larger_width_keeps_lengths_angles_and_distances(target: int) -> None:
    table = skewed(60, 7)
    change = fit_orthonormal(7, target, seed=4)
    wide = change.apply(table)
    assert wide.shape == (60, target)
    np.testing.assert_allclose(distances(wide), distances(table), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(wide, axis=1), np.linalg.norm(table, axis=1), rtol=1e-5)
    assert (abs(wide).max(axis=0) > 1e-3).all()  # every value is in use
    np.testing.assert_array_equal(change.matrix, fit_orthonormal(7, target, seed=4).matrix)
    assert not np.allclose(change.matrix, fit_orthonormal(7, target, seed=5).matrix)


def test_a_smaller_width_keeps_distances_on_average() -> None:
    table = gaussian(40, 400)
    narrow = fit_orthonormal(400, 200).apply(table)
    ratio = distances(narrow)[np.triu_indices(40, 1)] / distances(table)[np.triu_indices(40, 1)]
    assert ratio.mean() == pytest.approx(1.0, abs=0.02)
    assert ratio.std() < 0.06


@pytest.mark.parametrize(("source", "target"), [(0, 3), (3, 0), (-1, 2)])
def test_widths_below_one_are_refused(source: int, target: int) -> None:
    with pytest.raises(VectorError, match=f"both widths must be 1 or more, got {source} and {target}"):
        fit_orthonormal(source, target)


@pytest.mark.parametrize(
    ("width", "projection", "kind"),
    [
        (5, "pca", "pca"),
        (12, "pca", "pca"),
        (20, "pca", "orthonormal"),
        (5, "orthonormal", "orthonormal"),
    ],
)
def test_fit_width_chooses(width: int, projection: str, kind: str) -> None:
    assert fit_width(skewed(), width, projection=projection).report["kind"] == kind


def test_an_unknown_projection_is_refused() -> None:
    with pytest.raises(VectorError, match=r"invalid projection 'pac'; did you mean 'pca'\? Expected orthonormal or pca"):
        fit_width(skewed(), 5, projection="pac")


def test_a_map_refuses_other_widths_and_broken_tables() -> None:
    change = fit_pca(skewed(), 5)
    with pytest.raises(VectorError, match="the width of the table must be 12, as for the map, got 5"):
        change.apply(gaussian(3, 5))
    broken = skewed()
    broken[2, 2] = np.nan
    with pytest.raises(VectorError, match="row 2 of table"):
        change.apply(broken)


def test_a_large_table_is_mapped_block_by_block() -> None:
    table = gaussian(5000, 6)
    change = LinearMap(gaussian(6, 3, seed=1).astype(np.float64), np.array([1.0, 2.0, 3.0]), {})
    np.testing.assert_allclose(change.apply(table), table @ change.matrix + change.offset, rtol=1e-4, atol=1e-5)


# --- learned maps -------------------------------------------------------------------------------------------------------


def test_a_linear_relation_is_found() -> None:
    table, matrix, offset = gaussian(300, 8), gaussian(8, 5, seed=1), gaussian(1, 5, seed=2)
    change = fit_linear(named(table), named(table @ matrix + offset), ridge=0.0)
    np.testing.assert_allclose(change.matrix, matrix, atol=1e-5)
    np.testing.assert_allclose(change.offset, offset[0], atol=1e-5)
    np.testing.assert_allclose(change.apply(gaussian(9, 8, seed=3)), gaussian(9, 8, seed=3) @ matrix + offset, atol=1e-4)
    assert change.report["r2"] == pytest.approx(1.0)
    assert change.report["cosine"] == pytest.approx(1.0)
    assert change.report["cosine_of_mean"] < 0.9
    assert (change.report["shared"], change.report["held_out"]) == (300, 30)


@pytest.mark.parametrize("ridge", [0.0, 0.1, 10.0])
def test_ridge_against_the_augmented_system(ridge: float) -> None:
    """Hoerl and Kennard's ridge is least squares with rows added that pull towards zero."""
    one, other = skewed(100, 6), gaussian(100, 4, seed=1)
    change = fit_linear(named(one), named(other), ridge=ridge)
    centred, goal = one.astype(np.float64) - one.mean(axis=0, dtype=np.float64), other - other.mean(axis=0, dtype=np.float64)
    strength = np.sqrt(ridge * np.square(centred).sum() / 6)
    rows = np.concatenate([centred, strength * np.eye(6)])
    expected = np.linalg.lstsq(rows, np.concatenate([goal, np.zeros((6, 4))]), rcond=None)[0]
    np.testing.assert_allclose(change.matrix, expected, rtol=1e-5, atol=1e-8)


def test_nothing_is_learned_where_nothing_is_related() -> None:
    report = fit_linear(named(gaussian(4000, 8)), named(gaussian(4000, 8, seed=1) + 1)).report
    assert abs(report["r2"]) < 0.05
    assert report["cosine"] == pytest.approx(report["cosine_of_mean"], abs=0.03)


def test_a_rotation_is_found() -> None:
    table = gaussian(200, 10)
    turn = fit_orthonormal(10, 10, seed=3).matrix
    change = fit_linear(named(table), named((table @ turn).astype(np.float32)), method="orthogonal")
    np.testing.assert_allclose(change.matrix, turn, atol=1e-5)
    assert not change.offset.any()
    noisy = (table @ turn + 0.3 * gaussian(200, 10, seed=5)).astype(np.float32)
    found = fit_linear(named(table), named(noisy), method="orthogonal")
    np.testing.assert_allclose(found.matrix.T @ found.matrix, np.eye(10), atol=1e-10)
    np.testing.assert_allclose(distances(found.apply(table)), distances(table), rtol=1e-4, atol=1e-4)


def test_only_shared_tokens_that_are_not_zero_count() -> None:
    one, other = gaussian(100, 4), gaussian(100, 3, seed=1)
    one[50] = 0
    other[20] = 0
    source, target = named(one), named(other, first=40)
    ours, theirs = shared_nonzero_rows(source, target)
    assert ours.tolist() == [row for row in range(40, 100) if row not in (50, 60)]
    assert theirs.tolist() == [row - 40 for row in ours]
    assert fit_linear(source, target).report["shared"] == 58


@pytest.mark.parametrize("shared", [0, 1, 15])
def test_too_few_shared_tokens_are_refused(shared: int) -> None:
    source, target = named(gaussian(60, 8), source="A"), named(gaussian(60, 5), first=60 - shared, source="B")
    with pytest.raises(VectorError, match=f"A and B share {shared} tokens; 16 or more are needed"):
        fit_linear(source, target)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "cca"}, "invalid method 'cca'.*xpected orthogonal or ridge"),
        ({"ridge": -0.1}, "ridge must be finite and 0 or more, got -0.1"),
        ({"ridge": float("nan")}, "got nan"),
        ({"ridge": float("inf")}, "got inf"),
        ({"method": "orthogonal"}, "needs equal widths, got 8 for A and 5 for B; use the method ridge"),
    ],
)
def test_illegal_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(VectorError, match=message):
        fit_linear(named(gaussian(60, 8), source="A"), named(gaussian(60, 5), source="B"), **options)  # type: ignore[arg-type]


def test_half_the_width_of_real_vectors() -> None:
    """Components keep more than directions at random do, by their variance and by who stays whose neighbour."""
    table = read_lac().table[:1500]
    pca, chance = fit_pca(table, 64), fit_orthonormal(128, 64)
    assert pca.report["explained_variance"] > 0.6
    assert overlap(table, pca.apply(table)) > overlap(table, chance.apply(table)) + 0.1


@pytest.mark.shared_data
def test_a_map_between_real_tables_predicts_more_than_the_mean(shared_data: Path) -> None:
    lines = (shared_data / "vectors" / "tencent_char.200d.vec").read_text(encoding="utf-8").splitlines()[1:]
    parts = [line.split(" ") for line in lines]
    table = np.array([[float(value) for value in part[1:201]] for part in parts], dtype=np.float32)
    tencent = VectorTable({part[0]: row for row, part in enumerate(parts)}, table, "Tencent")
    report = fit_linear(tencent, read_lac()).report
    assert report["cosine"] > report["cosine_of_mean"] + 0.1
    assert report["r2"] > 0.03
    assert fit_pca(table, 128).report["explained_variance"] > 0.85


def overlap(one: Table, other: Table) -> float:
    lists = []
    for table in (one, other):
        unit = table / np.linalg.norm(table, axis=1, keepdims=True)
        likeness = unit @ unit.T
        np.fill_diagonal(likeness, -2)
        lists.append(np.argsort(-likeness, axis=1)[:, :10])
    return float(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(*lists, strict=True)]))


def test_a_few_rows_more_do_not_turn_the_components() -> None:
    table = (np.random.default_rng(0).standard_normal((3000, 64)) * np.geomspace(8, 1, 64)).astype(np.float32)
    one, other = fit_pca(table[:2900], 32).apply(table), fit_pca(table, 32).apply(table)
    cosines = (one * other).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    assert cosines.mean() > 0.99
