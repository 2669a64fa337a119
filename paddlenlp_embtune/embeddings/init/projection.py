"""Linear maps between widths: principal components, random orthonormal maps, and maps learned from shared tokens."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from paddlenlp_embtune.embeddings.io.vector_table import VectorTable
from paddlenlp_embtune.embeddings.metrics import sampling
from paddlenlp_embtune.embeddings.metrics.sampling import Floats, Ids, Table
from paddlenlp_embtune.errors import VectorError, expected_names

__all__ = ["PROJECTIONS", "LinearMap", "fit_linear", "fit_orthonormal", "fit_pca", "fit_width", "shared_nonzero_rows"]

PROJECTIONS = ("pca", "orthonormal")
METHODS = ("ridge", "orthogonal")
_HELD_OUT = 10


@dataclasses.dataclass(frozen=True)
class LinearMap:
    """A map from rows of one width to rows of another: ``row @ matrix + offset``.

    Args:
        matrix: (S, T) float64.
        offset: (T,) float64.
        report: method and quality, as plain values.
    """

    matrix: Floats
    offset: Floats
    report: Mapping[str, Any]

    def apply(self, table: Table) -> Table:
        """Map every row.

        Shapes:
            table: (V, S) float32; returns: (V, T) float32
        Raises:
            VectorError: the table has another width.
        """
        sampling.check_table(table)
        if table.shape[1] != len(self.matrix):
            raise VectorError(f"the width of the table must be {len(self.matrix)}, as for the map, got {table.shape[1]}")
        mapped = np.empty((len(table), len(self.offset)), dtype=np.float32)
        at = 0
        for block in sampling.blocks(table):
            mapped[at : at + len(block)] = block @ self.matrix + self.offset
            at += len(block)
        return mapped


def fit_width(table: Table, width: int, *, projection: str = "pca", seed: int = 0) -> LinearMap:
    """Fit a map of rows to a given width.

    Args:
        table: (V, S) float32, the rows to fit.
        width: T, the target width, 1 or more.
        projection: ``pca`` uses principal components, or ``orthonormal`` if the width grows; ``orthonormal`` uses random
            directions.
        seed: seed for the directions.
    Raises:
        VectorError: the table, the width or the name is invalid.
    """
    if projection not in PROJECTIONS:
        raise VectorError(f"invalid projection {projection!r}; {expected_names(str(projection), PROJECTIONS)}")
    if projection == "pca" and width <= table.shape[1]:
        return fit_pca(table, width)
    return fit_orthonormal(table.shape[1], width, seed=seed)


def fit_pca(table: Table, width: int) -> LinearMap:
    """Fit the map onto the directions that preserve most of the rows.

    Rows are not centred: their common component affects cosines, so it is kept. (Of the ten nearest neighbours of 4,729
    characters at 200 dimensions, 82% remain at 128 this way; 80% with directions from centred rows, 74% with the mean
    subtracted, 66% along random directions.) Of all bases of these directions, the one nearest to the first axes is used: the
    components themselves are reordered and rotated by every added or removed row, so that tables of two vocabularies from one
    space could not be compared or mixed.

    Args:
        table: (V, S) float32; zero rows are ignored.
        width: T, 1 to S.
    Returns:
        a map whose report has ``explained_variance``, the fraction of the variance about the mean that is kept, 0 to 1
    Raises:
        VectorError: the width is invalid, or all rows are equal.
    Source:
        Eckart and Young (1936), "The approximation of one matrix by another of lower rank"; Jolliffe (2002), Principal
        Component Analysis, section 14.2.3, for components without centring; Schönemann (1966) for the nearest basis
    """
    sampling.check_table(table)
    if not 1 <= width <= table.shape[1]:
        raise VectorError(f"width must be 1 to {table.shape[1]}, got {width}; use fit_orthonormal for larger widths")
    rows = np.flatnonzero(table.any(axis=1))
    products, total = np.zeros((table.shape[1], table.shape[1])), np.zeros(table.shape[1])
    for block in sampling.blocks(table, rows):
        products += block.T @ block
        total += block.sum(axis=0)
    scatter = products - np.outer(total, total) / max(1, rows.size)
    variance = float(np.trace(scatter))
    if not variance > 1e-12 * float(np.trace(products)):
        raise VectorError(f"the {rows.size} non-zero rows are all equal, so there are no principal components")
    directions = np.linalg.eigh(products)[1][:, ::-1][:, :width]
    left, _, right = np.linalg.svd(directions[:width].T)
    matrix = directions @ (left @ right)
    kept = min(1.0, float(np.einsum("sk,st,tk->", matrix, scatter, matrix)) / variance)
    return LinearMap(matrix, np.zeros(width), _report("pca", matrix, rows=int(rows.size), explained_variance=round(kept, 6)))


def fit_orthonormal(source: int, target: int, *, seed: int = 0) -> LinearMap:
    """Return a map along random orthonormal directions.

    To a larger width, all norms, angles and distances are preserved, and every value of the wider row is in use from the
    start, unlike with zero padding. To a smaller width, they are preserved approximately.

    Args:
        source: S, 1 or more.
        target: T, 1 or more.
        seed: seed for the directions; 0 or more.
    Raises:
        VectorError: a width is invalid.
    Source:
        Mezzadri (2007), "How to generate random matrices from the classical compact groups", by QR with signs; to a smaller
        width scaled by sqrt(S / T), as Johnson and Lindenstrauss (1984)
    """
    if min(source, target) < 1:
        raise VectorError(f"both widths must be 1 or more, got {source} and {target}")
    tall = np.random.default_rng(seed).standard_normal((max(source, target), min(source, target)))
    directions, upper = np.linalg.qr(tall)
    directions *= np.where(np.diag(upper) < 0, -1.0, 1.0)
    matrix = directions.T if target >= source else directions * np.sqrt(source / target)
    return LinearMap(np.ascontiguousarray(matrix), np.zeros(target), _report("orthonormal", matrix))


def shared_nonzero_rows(source: VectorTable, target: VectorTable) -> tuple[Ids, Ids]:
    """Return the rows of shared tokens that are zero in neither table, in the order of the source."""
    ours, theirs = sampling.pair_rows(source.rows, target.rows)
    there = source.table[ours].any(axis=1) & target.table[theirs].any(axis=1)
    return ours[there], theirs[there]


def fit_linear(
    source: VectorTable, target: VectorTable, *, method: str = "ridge", ridge: float = 0.1, seed: int = 0
) -> LinearMap:
    """Learn a map from one space into another from shared tokens.

    First a tenth of these tokens is held out to measure the quality; then the map is learned from all of them.

    Args:
        source: the vectors to map, of width S.
        target: the target space, of width T.
        method: ``ridge`` fits centred rows by least squares and shrinks mapped rows. ``orthogonal`` only rotates
            and reflects, which preserves norms and angles, and needs equal widths.
        ridge: strength of the penalty, 0 or more, in mean variances of a source dimension; 0.1 was better than less in both
            directions between two tables of characters.
        seed: determines the held-out tokens.
    Returns:
        a map whose report has the number of ``shared`` tokens and, for those held out, ``r2`` (fraction of explained variance),
        ``cosine`` (mean, between predicted and true rows) and ``cosine_of_mean`` (the same for predicting the mean)
    Raises:
        VectorError: fewer than 2 S tokens are shared, or an option is invalid.
    Source:
        Mikolov, Le and Sutskever (2013), "Exploiting similarities among languages for machine translation"; Hoerl and Kennard
        (1970) for ridge; Schönemann (1966), "A generalized solution of the orthogonal Procrustes problem"
    """
    _check_options(source, target, method, ridge)
    ours, theirs = shared_nonzero_rows(source, target)
    needed = 2 * source.dimension
    if len(ours) < needed:
        raise VectorError(
            f"{source.source} and {target.source} share {len(ours)} tokens; {needed} or more are needed, twice the width "
            "of the former; read more of its rows, or reduce its width with pca"
        )
    order = np.random.default_rng(seed).permutation(len(ours))
    held, rest = np.split(order, [-(-len(ours) // _HELD_OUT)])
    one, other = source.table[ours].astype(np.float64), target.table[theirs].astype(np.float64)
    trial = _solve(one[rest], other[rest], method, ridge)
    quality = _quality(one[held] @ trial[0] + trial[1], other[held], other[rest].mean(axis=0))
    matrix, offset = _solve(one, other, method, ridge)
    return LinearMap(matrix, offset, _report(method, matrix, shared=len(ours), held_out=len(held), **quality))


def _check_options(source: VectorTable, target: VectorTable, method: str, ridge: float) -> None:
    if method not in METHODS:
        raise VectorError(f"invalid method {method!r}; {expected_names(str(method), METHODS)}")
    if not 0 <= ridge < np.inf:
        raise VectorError(f"ridge must be finite and 0 or more, got {ridge}")
    if method == "orthogonal" and source.dimension != target.dimension:
        raise VectorError(
            f"an orthogonal map needs equal widths, got {source.dimension} for {source.source} and {target.dimension} for "
            f"{target.source}; use the method ridge, or change one of the widths first"
        )


def _solve(one: Floats, other: Floats, method: str, ridge: float) -> tuple[Floats, Floats]:
    """Return matrix and offset."""
    if method == "orthogonal":
        left, _, right = np.linalg.svd(one.T @ other)
        return left @ right, np.zeros(other.shape[1])
    start, end = one.mean(axis=0), other.mean(axis=0)
    products = (one - start).T @ (one - start)
    penalty = ridge * np.trace(products) / len(products) * np.eye(len(products))
    matrix: Floats = np.linalg.lstsq(products + penalty, (one - start).T @ (other - end), rcond=None)[0]
    return matrix, end - start @ matrix


def _quality(predicted: Floats, true: Floats, mean: Floats) -> dict[str, float]:
    missed, spread = np.square(true - predicted).sum(), np.square(true - mean).sum()
    unit = sampling.unit_rows(true)
    return {
        "r2": round(1.0 - float(missed / spread), 6) if spread > 0 else 0.0,
        "cosine": round(float(np.einsum("vd,vd->v", sampling.unit_rows(predicted), unit).mean()), 6),
        "cosine_of_mean": round(float((unit @ sampling.unit_rows(mean[None])[0]).mean()), 6),
    }


def _report(kind: str, matrix: Floats, **figures: float) -> dict[str, Any]:
    return {"kind": kind, "from": matrix.shape[0], "to": matrix.shape[1], **figures}
