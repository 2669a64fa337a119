"""Masking tokens of texts, for masked-language training."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["MaskedBatch", "MaskingSpec", "mask_tokens"]

_SHOWN, _REPLACED = 0.1, 0.1


@dataclasses.dataclass(frozen=True, eq=False)
class MaskingSpec:
    """What of a text is hidden.

    Args:
        mask_id: row of the mask.
        spared: (V,) bool, tokens that are neither hidden nor put in the place of others: padding, markers, the mask.
        share: of the other tokens that are hidden, above 0 and below 1.
    """

    mask_id: int
    excluded: npt.NDArray[np.bool_]
    share: float = 0.15


@dataclasses.dataclass(frozen=True, eq=False)
class MaskedBatch:
    """A batch with masked tokens.

    Args:
        ids: (B, L) int64, with the mask, another token or the token itself where one was chosen.
        places: (M,) int64, where the chosen tokens stand in the flattened batch, ascending.
        tokens: (M,) int64, what stood there.
    """

    ids: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]
    tokens: npt.NDArray[np.int64]


def mask_tokens(
    ids: npt.NDArray[np.int64],
    draws: npt.NDArray[Any],
    masking: MaskingSpec,
) -> MaskedBatch:
    """Choose a share of the tokens; of these, 80% become the mask, 10% another token, 10% stay.

    Args:
        ids: of a batch.
        draws: uniform numbers in 0 to 1: what to choose, what becomes of it, and which other token.
        masking: how. Where no token of the batch is drawn, the one nearest to it is, so that there is a loss.
    Shapes:
        ids: (B, L) int64; draws: (3, B, L), any floating type
    Source:
        Devlin et al. 2019, "BERT", section 3.1, task 1
    """
    excluded = masking.excluded
    free = ~excluded[ids]
    drawn = np.where(free, draws[0], np.inf)
    chosen = drawn < masking.share
    if not chosen.any() and free.any():
        chosen.flat[int(drawn.argmin())] = True
    others = np.flatnonzero(~excluded)
    another = others[np.minimum((draws[2] * len(others)).astype(np.int64), len(others) - 1)]
    hidden = np.where(draws[1] < _SHOWN, ids, np.where(draws[1] < _SHOWN + _REPLACED, another, masking.mask_id))
    places = np.flatnonzero(chosen)
    return MaskedBatch(np.where(chosen, hidden, ids), places, ids.reshape(-1)[places])
