"""Stretches that many texts begin or end with."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from paddlenlp_embtune.data.checks.rows import CheckedRows

__all__ = ["Boilerplate", "find_boilerplate"]

_END, _LEAST_SHARED, _LEAST_TEXTS, _LEAST_SHARE, _MOST = 8, 6, 10, 0.005, 20
_LONGEST, _GO_ON = 200, 0.9


@dataclasses.dataclass(frozen=True)
class Boilerplate:
    """How many texts begin or end with the same words.

    Args:
        where: ``start`` or ``end``.
        text: what they share.
        rows: number of different texts.
        labels: labels of their rows with counts: a stretch that goes with one label is what a model would learn.
    """

    where: str
    text: str
    rows: int
    labels: dict[str, int]


def find_boilerplate(rows: CheckedRows) -> tuple[Boilerplate, ...]:
    """Find how many texts begin or end alike: 10 different texts or more, and 1 in 200, with 6 characters or more."""
    first_of: dict[str, int] = {}
    labels: dict[str, Counter[str]] = defaultdict(Counter)
    for index, key in enumerate(rows.keys):
        first_of.setdefault(key, index)
        labels[key][rows.labels[index]] += 1
    texts = [(key, rows.texts[index].strip()) for key, index in first_of.items()]
    least = max(_LEAST_TEXTS, int(np.ceil(_LEAST_SHARE * len(texts))))
    found = []
    for where in ("start", "end"):
        turned = [(key, text if where == "start" else text[::-1]) for key, text in texts if len(text) > _END]
        for shared, members in _shared_starts(turned, least):
            counted = Counter[str]()
            for key in members:
                counted.update(labels[key])
            text = shared if where == "start" else shared[::-1]
            found.append(Boilerplate(where, text, len(members), dict(counted.most_common())))
    return tuple(sorted(found, key=lambda each: (-each.rows, each.text))[:_MOST])


def _shared_starts(texts: Sequence[tuple[str, str]], least: int) -> list[tuple[str, list[str]]]:
    """Return the longest starts that at least as many texts share, with the keys of these texts."""
    groups: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for key, text in texts:
        groups[text[:_LEAST_SHARED]].append((key, text))
    found = []
    for start, members in groups.items():
        if len(members) >= least:
            longest = _prolonged(start, members)
            found.append((longest, [key for key, text in members if text.startswith(longest)]))
    return found


def _prolonged(start: str, members: Sequence[tuple[str, str]]) -> str:
    """Lengthen a start as long as nine of ten texts that have it go on alike."""
    texts = [text for _, text in members]
    while len(start) < _LONGEST:
        counts = Counter(text[: len(start) + 1] for text in texts)
        longer, count = counts.most_common(1)[0]
        if longer == start or count < _GO_ON * len(texts):
            break
        start, texts = longer, [text for text in texts if text.startswith(longer)]
    return start
