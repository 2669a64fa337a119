"""Labels: how many rows each has, spellings that may be meant as one, texts with several, and what that costs at most."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict

from paddlenlp_embtune.data.checks.rows import CheckedRows, Place
from paddlenlp_embtune.text import clean

__all__ = ["Balance", "Conflict", "accuracy_ceilings", "find_conflicts", "label_balance", "label_variants"]


@dataclasses.dataclass(frozen=True)
class Conflict:
    """A text with more than one label.

    Args:
        text: of its first row.
        labels: rows of each label, the most frequent first.
        rows: all of them, in order.
        splits: of these rows, each once.
    """

    text: str
    labels: dict[str, int]
    rows: tuple[Place, ...]
    splits: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Balance:
    """How evenly labels are spread.

    Args:
        largest: share of the rows that have the most frequent label, 0 to 1: where a row has one label, the accuracy of a model
            that always answers it.
        ratio: rows of the most frequent label for each row of the rarest.
        rare: labels with fewer than 20 rows in the first split.
        missing: by split, labels that the first split has and this one lacks.
        unseen: by split, labels that this one has and the first split lacks.
    """

    largest: float
    ratio: float
    rare: tuple[str, ...]
    missing: dict[str, tuple[str, ...]]
    unseen: dict[str, tuple[str, ...]]


_FEW = 20


def find_conflicts(rows: CheckedRows) -> tuple[Conflict, ...]:
    """Find texts whose rows have different labels, in one split or over several."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index, key in enumerate(rows.keys):
        groups[key].append(index)
    found = []
    for group in groups.values():
        labels = Counter(rows.labels[index] for index in group)
        if len(labels) > 1:
            splits = tuple(dict.fromkeys(map(rows.split_of, group)))
            found.append(Conflict(rows.texts[group[0]], dict(labels.most_common()), tuple(map(rows.place, group)), splits))
    return tuple(found)


def accuracy_ceilings(rows: CheckedRows) -> dict[str, float]:
    """Return by split the accuracy of always giving a text its most frequent label there, 0 to 1: no model can do better."""
    groups: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for index, (key, label) in enumerate(zip(rows.keys, rows.labels, strict=True)):
        groups[rows.split_of(index), key][label] += 1
    reached, total = Counter[str](), Counter[str]()
    for (split, _), labels in groups.items():
        reached[split] += max(labels.values())
        total[split] += labels.total()
    return {split: reached[split] / count for split, count in total.items()}


def label_balance(rows: CheckedRows) -> Balance:
    """Measure how evenly labels are spread over rows and splits."""
    by_split: dict[str, Counter[str]] = defaultdict(Counter)
    for index in range(len(rows)):
        by_split[rows.split_of(index)].update(rows.labels_of(index))
    (_, first), *others = by_split.items()
    counts = first.most_common()
    return Balance(
        largest=counts[0][1] / rows.files[0].rows,
        ratio=counts[0][1] / counts[-1][1],
        rare=tuple(sorted(label for label, count in counts if count < _FEW)),
        missing={name: lost for name, found in others if (lost := tuple(sorted(first.keys() - found.keys())))},
        unseen={name: new for name, found in others if (new := tuple(sorted(found.keys() - first.keys())))},
    )


def label_variants(rows: CheckedRows) -> tuple[tuple[str, ...], ...]:
    """Return groups of labels that differ in case, width, spaces or invisible characters alone."""
    groups: dict[str, set[str]] = defaultdict(set)
    for label in {label for index in range(len(rows)) for label in rows.labels_of(index)}:
        groups["".join(clean(label, lowercase=True).split())].add(label)
    return tuple(tuple(sorted(group)) for _, group in sorted(groups.items()) if len(group) > 1)
