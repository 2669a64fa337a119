"""Pairs of similar texts: MinHash over character pairs finds candidates, the edit distance decides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.data.checks._edit_distance import edit_distances
from paddlenlp_embtune.text import code_points

__all__ = ["LEAST_LENGTH", "similar_pairs"]

LEAST_LENGTH = 10
"""Characters of the shortest texts that are compared: of shorter ones, a single character changes too much."""

Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.uint32]

_BANDS, _ROWS = 40, 4
"""Two texts whose pairs of characters have a Jaccard similarity J meet in a band with the probability 1 - (1 - J ** 4) ** 40:
0.98 for J = 0.55, which 10% of changed characters leave at worst, and 0.004 for J = 0.1."""
_MARGIN = 0.16  # four standard errors of the share of 160 hashes that agree
_PAIRS_AT_ONCE = 1 << 16
_SMALL, _NEXT = 24, 3  # texts of a bucket whose pairs are all compared; texts that follow in larger ones
_LONGEST_EDITED = 250  # characters; edit distances of longer texts take too long
_ESTIMATE = 0.005  # how far an estimate may be too low
_SEED = 0x5EED
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def similar_pairs(texts: Sequence[str], *, similarity: float) -> tuple[Ints, Ints, npt.NDArray[np.float64]]:
    """Find pairs of texts that differ in few characters.

    Args:
        texts: N texts, each once.
        similarity: the least share of equal characters; the number of edits is rounded to the nearest, so that a text of 15
            characters may differ in 2 at 0.9.
    Shapes:
        returns: first (P,) and second (P,) int64 indices of the texts, first < second, in order; similarity (P,) float64
    Source:
        Broder (1997), "On the resemblance and containment of documents"; banding: Leskovec, Rajaraman and Ullman, "Mining of
        Massive Datasets", section 3.4
    """
    long = [number for number, text in enumerate(texts) if len(text) >= LEAST_LENGTH]
    if len(long) < 2:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    compared = [texts[number] for number in long]
    lengths = np.array([len(text) for text in compared], dtype=np.int64)
    signatures = _signatures(compared)
    first, second = _candidates(signatures, lengths, similarity)
    alike = np.zeros(len(first))
    brief = np.maximum(lengths[first], lengths[second]) <= _LONGEST_EDITED
    for chosen, measure in ((brief, _by_edits), (~brief, _by_pairs)):
        alike[chosen] = measure(compared, first[chosen], second[chosen], similarity)
    near = alike > 0
    first, second, alike = first[near], second[near], alike[near]
    numbers = np.array(long, dtype=np.int64)
    return numbers[first], numbers[second], alike


def allowed_edits(lengths: Ints, similarity: float) -> Ints:
    """Return how many edits two texts may be apart, by the length of the longer one."""
    allowed: Ints = np.floor((1.0 - similarity) * lengths + 0.5 + 1e-9).astype(np.int64)
    return allowed


def _by_edits(texts: Sequence[str], first: Ints, second: Ints, similarity: float) -> npt.NDArray[np.float64]:
    """Share of equal characters of each pair (P,), 0 where it is too small."""
    longer = np.array([max(len(texts[i]), len(texts[j])) for i, j in zip(first, second, strict=True)], dtype=np.int64)
    limits = allowed_edits(longer, similarity)
    distances = edit_distances(texts, first, second, limits)
    return np.where(distances <= limits, 1.0 - distances / longer, 0.0)


def _by_pairs(texts: Sequence[str], first: Ints, second: Ints, similarity: float) -> npt.NDArray[np.float64]:
    """The same for long texts, estimated from the pairs of characters that both have."""
    sets = {number: np.unique(_pair_codes([texts[number]])[0]) for number in {*first.tolist(), *second.tolist()}}
    found = np.zeros(len(first))
    for at, (one, other) in enumerate(zip(first.tolist(), second.tolist(), strict=True)):
        both = len(np.intersect1d(sets[one], sets[other], assume_unique=True))
        jaccard = both / (len(sets[one]) + len(sets[other]) - both)
        # An edit breaks two pairs, and makes two new ones.
        alike = 1.0 - (1.0 - jaccard) / (2.0 * (1.0 + jaccard))
        found[at] = alike if alike >= similarity - _ESTIMATE else 0.0
    return found


def _pair_codes(texts: Sequence[str]) -> tuple[npt.NDArray[np.uint64], Ints]:
    """Pairs of neighbouring characters of all texts, one array of numbers, and where each text begins in it.

    The last character of a text pairs with itself, and never with the first of the next text.
    """
    codes = code_points(texts).astype(np.uint64)
    ends = np.cumsum([len(text) for text in texts])
    following = np.roll(codes, -1)
    following[ends - 1] = codes[ends - 1]
    return codes << np.uint64(32) | following, np.concatenate([[0], ends[:-1]])


def _signatures(texts: Sequence[str]) -> npt.NDArray[np.uint32]:
    """MinHash values, (bands x rows, N) uint32: the least of the products of a text's hashed pairs and an odd number."""
    mixed, starts = _pair_codes(texts)
    for factor in _MIX:
        mixed = (mixed ^ (mixed >> np.uint64(31))) * factor
    pairs = (mixed >> np.uint64(32)).astype(np.uint32)
    generator = np.random.default_rng(_SEED)
    factors = generator.integers(0, 1 << 31, size=_BANDS * _ROWS, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    found = np.empty((len(factors), len(texts)), dtype=np.uint32)
    first = 0
    while first < len(texts):  # as many texts at once as a cache of the processor holds
        last = max(first + 1, int(np.searchsorted(starts, starts[first] + _PAIRS_AT_ONCE)))
        part = pairs[starts[first] : starts[last] if last < len(texts) else None]
        places = starts[first:last] - starts[first]
        for row, factor in enumerate(factors):
            found[row, first:last] = np.minimum.reduceat(part * factor, places)
        first = last
    return found


def _candidates(signatures: npt.NDArray[np.uint32], lengths: Ints, similarity: float) -> tuple[Ints, Ints]:
    """Pairs that share a bucket of some band, have similar lengths and agree in enough hashes."""
    count = len(lengths)
    found: Ints = np.zeros(0, dtype=np.int64)
    for band in range(_BANDS):
        rows = signatures[band * _ROWS : (band + 1) * _ROWS].astype(np.uint64)
        keys = rows[0]
        for row in rows[1:]:
            keys = (keys ^ row) * _MIX[1] ^ (keys >> np.uint64(29))
        new = [one * count + other for one, other in _bucket_pairs(keys)]
        if new:
            found = np.unique(np.concatenate([found, *new]))
    first, second = np.divmod(found, count)
    gap = np.abs(lengths[first] - lengths[second])
    fits = gap <= allowed_edits(np.maximum(lengths[first], lengths[second]), similarity)
    first, second = first[fits], second[fits]
    agree = np.zeros(len(first), dtype=np.int16)
    for values in signatures:
        agree += values[first] == values[second]
    longer = np.maximum(lengths[first], lengths[second])
    pairs, broken = longer - 1, 2 * allowed_edits(longer, similarity)  # an edit breaks two pairs of characters
    least = (pairs - broken) / (pairs + broken) - _MARGIN
    enough = agree >= least * len(signatures)
    return first[enough], second[enough]


def _bucket_pairs(keys: npt.NDArray[np.uint64]) -> Iterator[tuple[Ints, Ints]]:
    """Yield pairs (first < second) of equal keys: all of a small bucket, in a large one each text with the next few."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    begins = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    sizes = np.diff(np.append(begins, len(ordered)))
    reach = np.repeat(np.where(sizes <= _SMALL, _SMALL, _NEXT), sizes)
    alive = np.flatnonzero(np.repeat(sizes, sizes) > 1)
    for step in range(1, _SMALL):
        alive = alive[(alive + step < len(order)) & (reach[alive] >= step)]
        alive = alive[ordered[alive] == ordered[alive + step]]
        if not len(alive):
            return
        yield order[alive], order[alive + step]
