"""Labelled rows as the checks see them: every row of every file with its place, also those that training would refuse."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from paddlenlp_embtune.data._label_sets import LabelSets, joined
from paddlenlp_embtune.data._records import Records, text_of
from paddlenlp_embtune.data.validation import text_key
from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.text import is_blank
from paddlenlp_embtune.utils.text_files.read_options import ReadOptions

__all__ = ["CheckedFile", "CheckedRows", "Place", "read_checked_rows"]


@dataclasses.dataclass(frozen=True, order=True)
class Place:
    """Where a row is.

    Args:
        file: its path, as given.
        row: its number, counted from 1 below the header; blank rows count.
    """

    file: str
    row: int


@dataclasses.dataclass(frozen=True)
class CheckedFile:
    """What was read from one file.

    Args:
        path: as given.
        split: what the file is for: ``train``, ``dev``, ``test`` or a name of its own.
        rows: rows with a text and a label.
        columns: of its header, or the keys of its first record.
        text_column, label_column: those of them that were taken for the text and the label.
        blank: rows without a character in any field.
        empty: rows with a label and no visible text.
        unlabelled: rows with a text and no label.
        notes: how it was read, where a user may want to know.
    """

    path: str
    split: str
    rows: int
    columns: tuple[str, ...]
    text_column: str
    label_column: str
    blank: tuple[int, ...]
    empty: tuple[int, ...]
    unlabelled: tuple[int, ...]
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class CheckedRows:
    """The rows of one or more files that have a text and a label, in order.

    Args:
        files: what they were read from; the first one is what a model would be trained on.
        texts: N texts.
        labels: N labels, without white space at their ends; of rows that may have several, these in one line.
        file_of: index of each row's file.
        numbers: number of each row in its file.
        records: each row with all its columns.
        label_sets: the labels of each row, where rows may have several, or none; None where each has one.
    """

    files: tuple[CheckedFile, ...]
    texts: tuple[str, ...]
    labels: tuple[str, ...]
    file_of: tuple[int, ...]
    numbers: tuple[int, ...]
    records: tuple[Mapping[str, Any], ...]
    label_sets: tuple[tuple[str, ...], ...] | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def labels_of(self, index: int) -> tuple[str, ...]:
        """Return the labels of a row."""
        return self.label_sets[index] if self.label_sets is not None else (self.labels[index],)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """What rows with the same text have in common, see :func:`paddlenlp_embtune.data.text_key`."""
        return tuple(map(text_key, self.texts))

    def place(self, index: int) -> Place:
        """Return where a row is."""
        return Place(self.files[self.file_of[index]].path, self.numbers[index])

    def split_of(self, index: int) -> str:
        """Return the split of a row."""
        return self.files[self.file_of[index]].split


def read_checked_rows(
    files: Sequence[tuple[str, Path]],
    *,
    text_column: str,
    label_column: str,
    options: ReadOptions | None = None,
) -> CheckedRows:
    """Read files for checking.

    Args:
        files: split and path of each; the first is what a model would be trained on.
        text_column: column or key of the text.
        label_column: column or key of the label.
        options: as for :func:`paddlenlp_embtune.data.read_examples`.
    Raises:
        DataError: a file cannot be read, is given twice, or has no row with a text and a label.
        RecipeError: there is no such encoding, quoting or delimiter.
    """
    paths = [path.resolve() for _, path in files]
    for (_, path), resolved in zip(files, paths, strict=True):
        if paths.count(resolved) > 1:
            raise DataError(f"{path} is given {paths.count(resolved)} times; give each file once")
    parts = [
        _read_file(split, path, text_column=text_column, label_column=label_column, options=options) for split, path in files
    ]
    several = any(part.several for part in parts)
    sets = tuple(labels for part in parts for labels in part.labels)
    return CheckedRows(
        tuple(part.described(several=several) for part in parts),
        tuple(itertools.chain.from_iterable(part.texts for part in parts)),
        tuple(map(joined, sets)),
        tuple(index for index, part in enumerate(parts) for _ in part.texts),
        tuple(itertools.chain.from_iterable(part.numbers for part in parts)),
        tuple(itertools.chain.from_iterable(part.records for part in parts)),
        sets if several else None,
    )


@dataclasses.dataclass
class _FileRows:
    """The rows of one file, and what was left out."""

    file: CheckedFile
    several: bool
    texts: list[str]
    labels: list[tuple[str, ...]]
    numbers: list[int]
    records: list[Mapping[str, Any]]

    def described(self, *, several: bool) -> CheckedFile:
        """Describe the file; where rows may have several labels, none is one of the answers."""
        return dataclasses.replace(self.file, unlabelled=()) if several else self.file


def _read_file(split: str, path: Path, *, text_column: str, label_column: str, options: ReadOptions | None) -> _FileRows:
    """Read one file; rows without a label are kept where rows may have several."""
    source = Records(path, (text_column, label_column), options=options)
    sets = LabelSets(str(path), separator=source.options.label_separator, several=None)
    blank, empty = list[int](), list[int]()
    texts, numbers, records = list[str](), list[int](), list[Mapping[str, Any]]()
    for number, (place, record) in enumerate(source, start=1):
        text_name, label_name = (source.roles[column] for column in (text_column, label_column))
        text = _text(record[text_name], text_name, f"{place} of {path}")
        if is_blank(text):
            (empty if any(record.values()) else blank).append(number)
            continue
        sets.add("" if record[label_name] is None else record[label_name], label_name, place)
        texts.append(text)
        numbers.append(number)
        records.append(record)
    found = sets.sets_or_none(source.notes, headerless=source.is_headerless(label_column)) if texts else None
    labels = list(found) if found is not None else sets.rows
    unlabelled = [number for number, own in zip(numbers, labels, strict=True) if not own]
    if found is None:
        kept = [at for at, own in enumerate(labels) if own]
        texts, numbers = [texts[at] for at in kept], [numbers[at] for at in kept]
        records, labels = [records[at] for at in kept], [labels[at] for at in kept]
    if not texts:
        raise DataError(f"{path} holds no row with a text and a label; expected a header and at least one labelled text")
    described = CheckedFile(
        path=str(path),
        split=split,
        rows=len(texts),
        columns=source.columns,
        text_column=source.roles[text_column],
        label_column=source.roles[label_column],
        blank=tuple(blank),
        empty=tuple(empty),
        unlabelled=tuple(unlabelled),
        notes=tuple(dict.fromkeys(source.notes)),
    )
    return _FileRows(described, found is not None, texts, labels, numbers, records)


def _text(value: Any, column: str, where: str) -> str:
    return "" if value is None else text_of(value, f"{column!r} in {where}")
