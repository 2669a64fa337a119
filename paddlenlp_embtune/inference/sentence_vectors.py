"""Sentence vectors: those of a text's windows together, cut to fewer dimensions, and scaled to length 1."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.text import TokenizedTexts

__all__ = ["check_dimensions", "shape_vectors", "unit_vectors"]

Floats = npt.NDArray[np.float32]


def check_dimensions(dimensions: int | None, width: int) -> int:
    """Return how many values of a vector are kept: all where None is asked for.

    Raises:
        DataError: more than there are.
    """
    if dimensions is not None and dimensions > width:
        raise DataError(f"dimensions is {dimensions}; expected 1 to {width}, the values of a vector of this bundle")
    return width if dimensions is None else dimensions


def shape_vectors(windows: Floats, tokenized: TokenizedTexts, *, dimensions: int, normalize: bool) -> Floats:
    """Turn the vectors of windows into those of texts.

    A text that is read in windows gets the mean of theirs, weighted by their tokens. The first ``dimensions`` values are kept,
    and what is left is scaled to length 1: that loses little where a model was trained for it (Matryoshka), and more elsewhere.

    Args:
        windows: W vectors.
        tokenized: which windows belong to which text.
        dimensions: d, at most H.
        normalize: whether each is scaled to length 1.
    Shapes:
        windows: (W, H) float32; returns: (N, d) float32, rows of 0 for texts without a visible character
    Source:
        Kusupati et al. 2022, "Matryoshka Representation Learning", section 3
    """
    first = tokenized.first[:-1]
    lengths = np.array([len(ids) for ids in tokenized.ids], dtype=np.float64)
    if len(first) == len(windows):
        found: npt.NDArray[Any] = windows * (lengths > 0)[:, None]
    else:
        sums = np.add.reduceat(windows * lengths[:, None], first)
        found = sums / np.maximum(np.add.reduceat(lengths, first), 1.0)[:, None]
    kept = found[:, :dimensions].astype(np.float32)
    return unit_vectors(kept) if normalize else kept


def unit_vectors(vectors: Floats) -> Floats:
    """Scale each row of an (N, d) float32 array to length 1; a row of 0 stays one."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=-1, keepdims=True)
    scaled: Floats = (vectors / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)
    return scaled
