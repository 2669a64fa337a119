"""Counting character n-grams of all lengths in arrays whose size grows only with the texts."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.text.normalization import clean

__all__ = ["BOUNDARY", "MAX_UNITS", "NUMBER", "Ngrams", "count_ngrams"]

# A unit is a Han character or a word of Latin letters and digits. Numbers, spaces and everything else separate terms.
_UNIT = re.compile(r"(?P<han>[\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003134f])|(?P<latin>[A-Za-z0-9]+)|(?P<other>[^\s])|\s")
BOUNDARY, NUMBER = 0, 1
_FIRST = 2
MAX_UNITS = 1 << 24

Ints = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Ngrams:
    """Runs of units at every position of the texts, up to a maximum length.

    Args:
        names: the text of each unit; ``BOUNDARY`` and ``NUMBER`` represent separators.
        units: (N,) the unit at each position.
        numbers: for each length k from 1, (N,) int32: the run of k units that begins at each position, 0 for none.
        counts: for each length k, how often each run occurs in the texts, (M_k,).
        background: the same in the background texts.
        edge: the position where the background begins.
        total, background_total: number of units without separators.
    """

    names: list[str]
    units: npt.NDArray[np.int32]
    numbers: list[npt.NDArray[np.int32]]
    counts: list[Ints]
    background: list[Ints]
    edge: int
    total: int
    background_total: int

    @property
    def max_length(self) -> int:
        """Number of units of the longest counted runs."""
        return len(self.numbers)

    def count(self, length: int, positions: npt.NDArray[np.int64]) -> Ints:
        """Count the occurrences of the runs of ``length`` units that begin at these positions.

        Shapes:
            positions: (P,) int64; returns: (P,) int64
        """
        found: Ints = self.counts[length - 1][self.numbers[length - 1][positions]]
        return found

    def text(self, place: int, length: int) -> str:
        """Return a run as text."""
        return "".join(self.names[unit] for unit in self.units[place : place + length])


def count_ngrams(
    texts: Iterable[str],
    background: Iterable[str] = (),
    *,
    max_length: int,
    min_count: int,
    progress: Callable[[int, int], None] | None = None,
) -> Ngrams:
    """Count the runs of 1 to ``max_length`` units; a run is considered only if both runs one unit shorter are frequent enough.

    Args:
        texts: cleaned and case-folded here.
        background: counted alongside them.
        max_length: maximum number of units of a run.
        min_count: rarer runs of the texts are not counted.
        progress: called with the steps done and the total.
    Raises:
        DataError: there are more than ``MAX_UNITS`` units.
    """
    names, index = ["", "0"], dict[str, int]()
    units = [BOUNDARY]
    _read(texts, units, names, index)
    edge = len(units)
    _read(background, units, names, index)
    row = np.array(units, dtype=np.int32)
    allowed = np.where(row >= _FIRST, row, 0)
    numbers, counts, others = [allowed], [_counts(allowed[:edge], len(names))], [_counts(allowed[edge:], len(names))]
    while len(numbers) < max_length:
        if progress is not None:
            progress(len(numbers), max_length)
        former = numbers[-1]
        frequent = (former > 0) & (counts[-1][former] >= min_count)
        positions = np.flatnonzero(frequent[:-1] & frequent[1:])
        if not len(positions):
            break
        keys = former[positions].astype(np.int64) * (int(former.max()) + 1) + former[positions + 1]
        _, inverse = np.unique(keys, return_inverse=True)
        found = np.zeros(len(row), dtype=np.int32)
        found[positions] = inverse.reshape(-1) + 1
        size = int(found.max()) + 1
        numbers.append(found)
        counts.append(_counts(found[:edge], size))
        others.append(_counts(found[edge:], size))
    return Ngrams(names, row, numbers, counts, others, edge, int(counts[0].sum()), int(others[0].sum()))


def _read(texts: Iterable[str], units: list[int], names: list[str], index: dict[str, int]) -> None:
    """Append the units of texts; reject too many of them before they are all in memory."""
    for text in texts:
        for match in _UNIT.finditer(clean(text, lowercase=True)):
            kind, unit = match.lastgroup, match[0]
            if kind == "han" or (kind == "latin" and not unit.isdigit()):
                number = index.get(unit)
                if number is None:
                    number = index[unit] = len(names)
                    names.append(unit)
                units.append(number)
            else:
                units.append(NUMBER if kind == "latin" else BOUNDARY)
        units.append(BOUNDARY)
        if len(units) > MAX_UNITS:
            raise DataError(f"the texts must have at most {MAX_UNITS} characters, got more; pass a sample of them")


def _counts(numbers: npt.NDArray[np.int32], size: int) -> Ints:
    counts: Ints = np.bincount(numbers, minlength=size)
    counts[0] = 0
    return counts
