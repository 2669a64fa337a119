"""Edit distances of many pairs of texts at once, as far as a limit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.text import code_points

__all__ = ["edit_distances"]

Ints = npt.NDArray[np.int64]

_CELLS = 1 << 22  # of a batch, so that its arrays stay in the cache of a processor or near it
_FAR = np.int16(1 << 14)


def edit_distances(texts: Sequence[str], first: Ints, second: Ints, limits: Ints) -> Ints:
    """Return the edit distance of each pair of texts; one beyond its limit is some number above the limit.

    Args:
        texts: all texts.
        first: (P,) int64 indices of the one text of each pair.
        second: (P,) int64 indices of the other.
        limits: (P,) int64, the largest distance that is wanted exactly.
    Shapes:
        returns: (P,) int64
    Source:
        Ukkonen (1985), "Algorithms for approximate string matching": the band around the diagonal
    """
    found = np.zeros(len(first), dtype=np.int64)
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    order = np.lexsort((limits, np.maximum(lengths[first], lengths[second]))) if len(first) else first
    done = 0
    while done < len(order):
        width = int(max(lengths[first[order[done]]], lengths[second[order[done]]]))
        size = max(1, _CELLS // max(1, 8 * (width + 2 * int(limits[order[done]]))))
        part = order[done : done + size]
        found[part] = _batch([texts[i] for i in first[part]], [texts[i] for i in second[part]], limits[part])
        done += size
    return found


def _batch(ones: Sequence[str], others: Sequence[str], limits: Ints) -> Ints:
    """Distances of some pairs: dynamic programming over the rows of all their bands together."""
    band = int(limits.max())
    width = max(map(len, [*ones, *others]))
    one, one_lengths = _matrix(ones, width, before=0, filler=0xFFFFFFFF)
    other, other_lengths = _matrix(others, width, before=band + 1, filler=0xFFFFFFFE)
    count = len(one)
    steps = np.arange(2 * band + 2, dtype=np.int16)
    # Column d of the band stands for character i + d - band of the other text; the last column stays far.
    costs = np.where((steps >= band) & (steps <= 2 * band), steps - band, _FAR).astype(np.int16)[None].repeat(count, axis=0)
    at_end = np.where(one_lengths == 0, _cell(costs, other_lengths - one_lengths + band), _FAR)
    for row in range(1, int(one_lengths.max()) + 1):
        window = other[:, row : row + 2 * band + 1]
        changed = costs[:, :-1] + (window != one[:, row - 1 : row])
        dropped = costs[:, 1:] + 1
        best = np.minimum(changed, dropped)
        if row <= band:
            best[:, : band - row] = _FAR
            best[:, band - row] = row
        # An insertion costs one more than the cell to its left, however many there are in a row.
        best = np.minimum.accumulate(best - steps[:-1], axis=1) + steps[:-1]
        costs[:, :-1] = best
        ended = np.flatnonzero(one_lengths == row)
        if len(ended):
            at_end[ended] = _cell(costs[ended], (other_lengths - one_lengths + band)[ended])
    return at_end.astype(np.int64)


def _cell(costs: npt.NDArray[np.int16], columns: Ints) -> npt.NDArray[np.int16]:
    inside = (columns >= 0) & (columns < costs.shape[1] - 1)
    return np.where(inside, costs[np.arange(len(costs)), np.clip(columns, 0, costs.shape[1] - 1)], _FAR)


def _matrix(texts: Sequence[str], width: int, *, before: int, filler: int) -> tuple[npt.NDArray[np.uint32], Ints]:
    """Code points (P, before + width + before) uint32 and lengths (P,); ``before`` fillers stand on both sides."""
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    codes = np.full((len(texts), width + 2 * before), filler, dtype=np.uint32)
    inside = np.arange(width)[None] < lengths[:, None]
    codes[:, before : before + width][inside] = code_points(texts)
    return codes, lengths
