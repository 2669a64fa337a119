"""A table of vectors with the tokens they belong to."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.errors import VectorError

__all__ = ["VectorTable"]


@dataclasses.dataclass(frozen=True)
class VectorTable:
    """Pretrained vectors.

    Args:
        rows: token to row number.
        table: (N, D) float32.
        source: where the vectors came from, for reports and bundles.
        unknown_row: the row that the source used for tokens it did not know; None if it has none.
    Raises:
        VectorError: the table is not two-dimensional, is empty, or holds NaN or infinite values.
    """

    rows: Mapping[str, int]
    table: npt.NDArray[np.float32]
    source: str
    unknown_row: int | None = None

    def __post_init__(self) -> None:
        if self.table.ndim != 2 or not self.table.size:
            raise VectorError(f"vectors from {self.source} have the shape {self.table.shape}; legal: (rows, width), not empty")
        broken = np.flatnonzero(~np.isfinite(self.table).all(axis=1))
        if broken.size:
            raise VectorError(
                f"{broken.size} rows of {self.source} hold NaN or infinite values, row {broken[0]} first; "
                "repair or drop those rows"
            )

        outside = next((token for token, row in self.rows.items() if not 0 <= row < len(self.table)), None)
        if outside is not None:
            raise VectorError(
                f"{outside!r} is given row {self.rows[outside]} of {self.source}, which has {len(self.table)} rows"
            )

    @property
    def dimension(self) -> int:
        """Width D of a vector."""
        return int(self.table.shape[1])
