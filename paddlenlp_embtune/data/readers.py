"""Reading labelled rows from files of all formats."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from paddlenlp_embtune.data._label_sets import LabelSets, joined
from paddlenlp_embtune.data._records import Records, text_of
from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.text import is_blank
from paddlenlp_embtune.utils.json_yaml import shorten
from paddlenlp_embtune.utils.text_files.read_options import ReadOptions

__all__ = ["Examples", "ReadOptions", "read_examples"]

_MOST_WEIGHT = 1_000_000


@dataclasses.dataclass(frozen=True)
class Examples:
    """Labelled texts in the order of their file.

    Args:
        texts: N texts.
        labels: N labels; of rows that may have several, these in one line, for messages and counts of combinations.
        source: the path they came from.
        skipped_empty: rows that were left out because their text was empty.
        skipped_blank: rows without a character in any field, as spreadsheets leave behind; they are skipped.
        notes: what a user may want to know about how the file was read.
        weights: N weights, above 0; None where all rows weigh the same.
        label_sets: the labels of each of the N rows, where rows may have several, or none; None where each has one.
    """

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    source: str
    skipped_empty: int = 0
    skipped_blank: int = 0
    notes: tuple[str, ...] = ()
    weights: tuple[float, ...] | None = None
    label_sets: tuple[tuple[str, ...], ...] | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: Sequence[int], source: str) -> Examples:
        """Return some of the rows under another name."""
        weights = None if self.weights is None else tuple(self.weights[i] for i in indices)
        sets = None if self.label_sets is None else tuple(self.label_sets[i] for i in indices)
        texts, labels = tuple(self.texts[i] for i in indices), tuple(self.labels[i] for i in indices)
        return Examples(texts, labels, source, weights=weights, label_sets=sets)

    @property
    def labels_of_rows(self) -> tuple[tuple[str, ...], ...]:
        """The labels of each row: one, or where rows may have several, any number."""
        return self.label_sets if self.label_sets is not None else tuple((label,) for label in self.labels)

    def remarks(self) -> list[str]:
        """Return one line for all that was left out, and for how the file was read."""
        lines = list(self.notes)
        if self.skipped_empty:
            lines.append(f"{self.source}: {self.skipped_empty} rows with an empty text were left out")
        if self.skipped_blank:
            lines.append(f"{self.source}: {self.skipped_blank} rows without any text or label were skipped")
        return lines


def read_examples(
    path: str | Path,
    *,
    text_column: str,
    label_column: str,
    weight_column: str | None = None,
    skip_empty: bool = False,
    options: ReadOptions | None = None,
    several: bool | None = False,
) -> Examples:
    """Read labelled rows; the format follows from the file's ending.

    Args:
        path: a TSV, CSV, JSON, JSON lines, Excel, Parquet, Arrow or CoNLL file, text files also packed by gzip; a folder with
            a file or folder for each label; or a pattern of files, such as ``part-*.csv``. Exports of doccano and Label Studio,
            and fastText's lines, are recognized.
        text_column: column or key of the text; where a file has no ``text``, one that plainly means it, such as 内容.
        label_column: column or key of the label, likewise; numbers are taken as their decimal text.
        weight_column: column or key of the weight of a row, above 0 and at most 1,000,000; None reads none.
        skip_empty: leave rows with an empty text out instead of refusing the file.
        options: how the file is read; None finds all out.
        several: whether a row may have several labels, or none: False refuses that, None finds out.
    Raises:
        DataError: the file is missing, empty or in another encoding; a column is missing; a text or a label is empty; a
            weight is no such number; the file may be understood in several ways.
        RecipeError: there is no such encoding, quoting or delimiter.
        MissingDependencyError: a package that reads the format is not installed.
    """
    path = Path(path)
    texts: list[str] = []
    weights: list[float] = []
    empty: list[str] = []
    blank = 0
    columns = (text_column, label_column, *([] if weight_column is None else [weight_column]))
    records = Records(path, columns, options=options)
    sets = LabelSets(str(path), separator=records.options.label_separator, several=several)
    for place, record in records:
        if records.is_table and not any(record.values()):
            blank += 1
            continue
        names = records.roles
        text = text_of(record[names[text_column]], f"{names[text_column]!r} in {place} of {path}")
        if is_blank(text):
            empty.append(place)
            continue
        sets.add(record[names[label_column]], names[label_column], place)
        if weight_column is not None:
            weights.append(_weight_of(record[names[weight_column]], f"{place} of {path}", weight_column))
        texts.append(text)
    if empty and not skip_empty:
        raise DataError(
            f"{len(empty)} rows of {path} have an empty text, {empty[0]} first; expected at least one visible character; "
            "remove them, or leave them out with --skip-empty (data.skip_empty: true)"
        )
    if not texts:
        raise DataError(f"{path} holds no rows; expected a header and at least one labelled text")
    weighed = None if weight_column is None else tuple(weights)
    found = sets.sets(records.notes, headerless=records.is_headerless(label_column))
    labels = tuple(map(joined, found if found is not None else sets.rows))
    return Examples(tuple(texts), labels, str(path), len(empty), blank, tuple(records.notes), weighed, found)


def _weight_of(value: Any, place: str, column: str) -> float:
    """Return the weight of a row."""
    try:
        weight = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        weight = math.nan
    if not 0 < weight <= _MOST_WEIGHT:
        raise DataError(
            f"{place} has the weight {shorten(value)} in column {column!r}; expected a number above 0, at most "
            f"{_MOST_WEIGHT:,}; correct it, or remove the row"
        )
    return weight
