"""Which rows a cell learns from, and which it is measured on."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

from paddlenlp_embtune.data import Examples, read_examples, text_key
from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.experiments.arms import weight_column_of
from paddlenlp_embtune.experiments.cell import Cell

__all__ = ["CellRows", "rows_of", "subset"]

_FIRST_PER_LABEL = 3

CellRows = tuple[Examples, Examples | None, Examples]
"""Training rows, development rows or None to hold some out, and the rows that are measured."""


def rows_of(cell: Cell) -> CellRows:
    """Read the rows of a cell, with weights where its arm learns with some; metrics count every row once.

    With a size, the development rows are held out of these rows too: labels that a run stops on have their price as well.

    Raises:
        DataError: a file cannot be read, or there are too few rows.
    """
    reading, weights = cell.data.reading(), weight_column_of(cell.arm)
    train = read_examples(cell.data.train, **reading, weight_column=weights)
    dev = read_examples(cell.data.dev, **reading, weight_column=weights) if cell.data.dev is not None else None
    if cell.fold is not None:
        train, test = _fold(train, *cell.fold)
    elif cell.data.test is not None:
        test = read_examples(cell.data.test, **reading)
    else:
        raise DataError(f"the data set {cell.data.name} has no test rows; give some, or folds")
    if cell.size is not None:
        train, dev = subset(train, cell.size, seed=cell.seed), None
    return train, dev, test


def subset(rows: Examples, size: int, *, seed: int) -> Examples:
    """Draw rows, three of each label first; a smaller draw with the same seed is part of a larger one.

    Raises:
        DataError: there are fewer rows.
    """
    if size > len(rows):
        raise DataError(f"{size} rows of {rows.source} are asked for, which has {len(rows)}; expected a smaller size, or all")
    order = list(range(len(rows)))
    random.Random(seed).shuffle(order)
    seen: dict[str, int] = defaultdict(int)
    turns: dict[int, int] = {}
    for index in order:
        seen[rows.labels[index]] += 1
        turns[index] = min(seen[rows.labels[index]], _FIRST_PER_LABEL + 1)
    return rows.take(sorted(sorted(order, key=turns.__getitem__)[:size]), rows.source)


def _fold(rows: Examples, number: int, folds: int) -> tuple[Examples, Examples]:
    """Split rows into all folds but one, and this one; every label is spread evenly, and copies of a text stay together."""
    fold_of: dict[str, int] = {}
    by_label: dict[str, list[str]] = defaultdict(list)
    for text, label in zip(rows.texts, rows.labels, strict=True):
        key = text_key(text)
        if key not in fold_of:
            fold_of[key] = -1
            by_label[label].append(key)
    dealt = 0
    for label in sorted(by_label):
        keys = by_label[label]
        random.Random(folds).shuffle(keys)
        for key in keys:
            fold_of[key] = dealt % folds
            dealt += 1
    inside: list[int] = []
    outside: list[int] = []
    for index, text in enumerate(rows.texts):
        (inside if fold_of[text_key(text)] == number else outside).append(index)
    _check_folds(rows, inside, outside, folds)
    return rows.take(outside, rows.source), rows.take(inside, f"{rows.source} (fold {number + 1} of {folds})")


def _check_folds(rows: Examples, inside: Sequence[int], outside: Sequence[int], folds: int) -> None:
    if not inside or {rows.labels[index] for index in inside} - {rows.labels[index] for index in outside}:
        raise DataError(f"{rows.source} has too few rows of some label for {folds} folds; take fewer folds, or give test rows")
