"""Hard negatives: rows that lie near and do not belong together, found with the model of the epoch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["MinedRows"]


class MinedRows:
    """Hard negatives of rows, mined anew in every epoch; ``rows`` is (N, n) int64, or None before the first time."""

    def __init__(self) -> None:
        self.rows: npt.NDArray[np.int64] | None = None

    def of(self, rows: Sequence[int]) -> list[int]:
        """Return the negatives of some rows, each once, without the rows themselves."""
        if self.rows is None:
            return []
        return [row for row in dict.fromkeys(self.rows[list(rows)].ravel().tolist()) if row not in rows]
