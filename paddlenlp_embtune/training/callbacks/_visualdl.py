"""The embedding in VisualDL: histograms at every check, and the projector at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.embeddings.metrics import cosine_drift, row_norms

__all__ = ["draw_table"]

Table = npt.NDArray[np.float32]
_MOST_POINTS = 500


def draw_table(writer: Any, start: Table, now: Table, step: int, *, name_of: Callable[[int], object] | None = None) -> None:
    """Write histograms of the cosine drift of the rows that turned, and of all norms.

    Args:
        writer: a VisualDL ``LogWriter``.
        start: (V, D) float32.
        now: (V, D) float32.
        step: the step they belong to.
        name_of: gives the token of a row: the rows that turned most are also written into the projector; None leaves that out.
    """
    drift = cosine_drift(start, now)
    turned = drift[(start != now).any(axis=1)]
    writer.add_histogram("health/cosine_drift", turned if turned.size else np.zeros(1, dtype=np.float32), step)
    writer.add_histogram("health/norm", row_norms(now), step)
    if name_of is not None:
        chosen = np.argsort(-drift, kind="stable")[:_MOST_POINTS]
        writer.add_embeddings("embedding", mat=now[chosen].tolist(), metadata=[str(name_of(int(row))) for row in chosen])
