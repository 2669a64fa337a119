"""Texts that occur twice: exactly or nearly, within a split or in two of them."""

from __future__ import annotations

import dataclasses
from collections import defaultdict

from paddlenlp_embtune.data.checks._similarity import similar_pairs
from paddlenlp_embtune.data.checks.rows import CheckedRows, Place
from paddlenlp_embtune.text import clean

__all__ = ["Duplicates", "Leak", "NearDuplicates", "Repetitions", "find_repetitions"]

_BySplit = dict[int, list[int]]
"""Rows with the same text, by the number of their split."""


@dataclasses.dataclass(frozen=True)
class Duplicates:
    """Rows of one split with the same text, but for case, width, spaces and punctuation.

    Args:
        split: their split.
        rows: two or more, in order.
        text: of the first.
        identical: whether all texts are equal to the last character.
        same_label: whether all have the same label.
    """

    split: str
    rows: tuple[Place, ...]
    text: str
    identical: bool
    same_label: bool


@dataclasses.dataclass(frozen=True)
class NearDuplicates:
    """Two rows of one split whose texts differ in few characters.

    Args:
        split: their split.
        rows: the two; of several rows with the same text, the first.
        texts: theirs.
        similarity: share of equal characters, estimated for texts of more than 250 characters.
        same_label: whether they have the same label.
    """

    split: str
    rows: tuple[Place, Place]
    texts: tuple[str, str]
    similarity: float
    same_label: bool


@dataclasses.dataclass(frozen=True)
class Leak:
    """A row whose text, or nearly, is in an earlier split too: one for each such split, and each text that is near.

    Args:
        kind: ``exact`` or ``near``.
        row: the row.
        split: its split.
        of: the row of the earlier split.
        of_split: that split.
        text: of the row.
        of_text: of the row of the earlier split.
        similarity: share of equal characters.
        same_label: whether both have the same label.
    """

    kind: str
    row: Place
    split: str
    of: Place
    of_split: str
    text: str
    of_text: str
    similarity: float
    same_label: bool


@dataclasses.dataclass(frozen=True)
class Repetitions:
    """All that occurs twice."""

    duplicates: tuple[Duplicates, ...]
    near_duplicates: tuple[NearDuplicates, ...]
    leaks: tuple[Leak, ...]


def find_repetitions(rows: CheckedRows, *, similarity: float) -> Repetitions:
    """Find texts that occur twice.

    Args:
        rows: of one or more splits, the earlier of which may leak into the later.
        similarity: the least share of equal characters of near-duplicates, above 0.5 and at most 1.
    """
    order = list(dict.fromkeys(each.split for each in rows.files))
    rank = [order.index(each.split) for each in rows.files]
    of_key: dict[str, _BySplit] = defaultdict(lambda: defaultdict(list))
    for index, (key, file) in enumerate(zip(rows.keys, rows.file_of, strict=True)):
        of_key[key][rank[file]].append(index)
    groups = list(of_key.values())
    duplicates = [_duplicates(rows, order[split], found) for group in groups for split, found in group.items() if found[1:]]
    leaks = [leak for group in groups for leak in _leaks(rows, group, group, 1.0, kind="exact")]
    near = list[NearDuplicates]()
    texts = [clean(rows.texts[group[min(group)][0]], lowercase=True) for group in groups]
    first, second, alike = similar_pairs(texts, similarity=similarity)
    for one, other, share in zip(first.tolist(), second.tolist(), alike.round(4).tolist(), strict=True):
        a, b = groups[one], groups[other]
        for split in a.keys() & b.keys():
            pair = sorted((a[split][0], b[split][0]))
            near.append(_near_duplicates(rows, pair[0], pair[1], share))
        leaks += [*_leaks(rows, a, b, share, kind="near"), *_leaks(rows, b, a, share, kind="near")]
    return Repetitions(
        tuple(sorted(duplicates, key=lambda each: each.rows)),
        tuple(sorted(near, key=lambda each: (-each.similarity, each.rows))),
        tuple(
            sorted(leaks, key=lambda each: (order.index(each.split), each.row, order.index(each.of_split), -each.similarity))
        ),
    )


def _leaks(rows: CheckedRows, later: _BySplit, earlier: _BySplit, share: float, *, kind: str) -> list[Leak]:
    """Return a leak for each row and each earlier split that has the other text."""
    return [
        _leak(rows, index, of[0], share, kind=kind)
        for split, found in later.items()
        for before, of in earlier.items()
        if before < split
        for index in found
    ]


def _duplicates(rows: CheckedRows, split: str, found: list[int]) -> Duplicates:
    texts, labels = {rows.texts[i] for i in found}, {rows.labels[i] for i in found}
    return Duplicates(split, tuple(map(rows.place, found)), rows.texts[found[0]], len(texts) == 1, len(labels) == 1)


def _near_duplicates(rows: CheckedRows, one: int, other: int, share: float) -> NearDuplicates:
    return NearDuplicates(
        rows.split_of(one),
        (rows.place(one), rows.place(other)),
        (rows.texts[one], rows.texts[other]),
        share,
        rows.labels[one] == rows.labels[other],
    )


def _leak(rows: CheckedRows, index: int, of: int, share: float, *, kind: str) -> Leak:
    return Leak(
        kind,
        rows.place(index),
        rows.split_of(index),
        rows.place(of),
        rows.split_of(of),
        rows.texts[index],
        rows.texts[of],
        share,
        rows.labels[index] == rows.labels[of],
    )
