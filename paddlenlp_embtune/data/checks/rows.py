"""Labelled rows as the checks see them: every row of every file with its place, also those that training would refuse."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

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
        labels: N labels, without white space at their ends.
        file_of: index of each row's file.
        numbers: number of each row in its file.
        records: each row with all its columns.
    """

    files: tuple[CheckedFile, ...]
    texts: tuple[str, ...]
    labels: tuple[str, ...]
    file_of: tuple[int, ...]
    numbers: tuple[int, ...]
    records: tuple[Mapping[str, Any], ...]

    def __len__(self) -> int:
        return len(self.texts)

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
    read, records = list[CheckedFile](), list[Mapping[str, Any]]()
    texts, labels, file_of, numbers = list[str](), list[str](), list[int](), list[int]()
    for index, (split, path) in enumerate(files):
        source = Records(path, (text_column, label_column), options=options)
        left: dict[str, list[int]] = {"blank": [], "empty": [], "unlabelled": []}
        before = len(texts)
        for number, (place, record) in enumerate(source, start=1):
            names = [source.roles[column] for column in (text_column, label_column)]
            text, label = (_text(record[name], name, f"{place} of {path}") for name in names)
            label = label.strip()
            if (why := _left_out(record, text, label)) is not None:
                left[why].append(number)
                continue
            texts.append(text)
            labels.append(label)
            file_of.append(index)
            numbers.append(number)
            records.append(record)
        if len(texts) == before:
            raise DataError(f"{path} holds no row with a text and a label; expected a header and at least one labelled text")
        read.append(
            CheckedFile(
                path=str(path),
                split=split,
                rows=len(texts) - before,
                columns=source.columns,
                text_column=source.roles[text_column],
                label_column=source.roles[label_column],
                blank=tuple(left["blank"]),
                empty=tuple(left["empty"]),
                unlabelled=tuple(left["unlabelled"]),
                notes=tuple(dict.fromkeys(source.notes)),
            )
        )
    return CheckedRows(tuple(read), tuple(texts), tuple(labels), tuple(file_of), tuple(numbers), tuple(records))


def _text(value: Any, column: str, where: str) -> str:
    return "" if value is None else text_of(value, f"{column!r} in {where}")


def _left_out(record: Mapping[str, Any], text: str, label: str) -> str | None:
    if is_blank(text):
        return "blank" if not any(record.values()) else "empty"
    return None if label else "unlabelled"
