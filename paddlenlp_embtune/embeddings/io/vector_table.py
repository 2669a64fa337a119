"""A table of vectors with the tokens they belong to."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.errors import VectorError

__all__ = ["VectorTable"]

_STEP = 1 << 22


@dataclasses.dataclass(frozen=True)
class VectorTable:
    """Pretrained vectors.

    Args:
        rows: token to row number.
        table: (N, D) float32; N may be 0 where ``compose`` is given.
        source: where the vectors came from, for reports and bundles.
        unknown_row: the row of the source for unknown tokens; None if it has none.
        compose: computes the (D,) float32 vector of a token without a row from its parts, like fastText, or returns None if it
            has no parts either; None if the source cannot.
        notes: what was skipped while reading, such as ``3 duplicate tokens, the first row of each kept``.
    Raises:
        VectorError: the table is not two-dimensional, is empty, or has NaN or infinite values.
    """

    rows: Mapping[str, int]
    table: npt.NDArray[np.float32]
    source: str
    unknown_row: int | None = None
    compose: Callable[[str], npt.NDArray[np.float32] | None] | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.table.ndim != 2 or not self.table.shape[1] or not (len(self.table) or self.compose):
            raise VectorError(
                f"vectors from {self.source} have the shape {self.table.shape}; expected (rows, width), not empty"
            )
        broken = self._broken_rows()
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

    def _broken_rows(self) -> npt.NDArray[np.int64]:
        """Find non-finite rows, in steps: a mask of the whole table would take a quarter of its memory."""
        step = max(1, _STEP // self.dimension)
        parts = [
            np.flatnonzero(~np.isfinite(self.table[at : at + step]).all(axis=1)) + at for at in range(0, len(self.table), step)
        ]
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
