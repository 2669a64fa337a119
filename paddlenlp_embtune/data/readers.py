"""Reading labelled rows from TSV, CSV, JSON and JSON lines."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from paddlenlp_embtune.data._records import Records, text_of
from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.text import is_blank
from paddlenlp_embtune.utils.json_yaml import shorten

__all__ = ["Examples", "read_examples"]

_MOST_WEIGHT = 1_000_000
_SURROGATE = re.compile(r"[\ud800-\udfff]")


@dataclasses.dataclass(frozen=True)
class Examples:
    """Labelled texts in the order of their file.

    Args:
        texts: N texts.
        labels: N labels.
        source: the path they came from.
        skipped_empty: rows that were left out because their text was empty.
        skipped_blank: rows without a character in any field, as spreadsheets leave behind; they are skipped.
        notes: what a user may want to know about how the file was read.
        weights: N weights, above 0; None where all rows weigh the same.
    """

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    source: str
    skipped_empty: int = 0
    skipped_blank: int = 0
    notes: tuple[str, ...] = ()
    weights: tuple[float, ...] | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: Sequence[int], source: str) -> Examples:
        """Return some of the rows under another name."""
        weights = None if self.weights is None else tuple(self.weights[i] for i in indices)
        return Examples(tuple(self.texts[i] for i in indices), tuple(self.labels[i] for i in indices), source, weights=weights)

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
    encoding: str | None = None,
    quoting: str = "auto",
) -> Examples:
    """Read labelled rows; the format follows from the file's ending.

    Args:
        path: a ``.tsv``, ``.csv``, ``.json`` or ``.jsonl`` file, with a header where the format has one.
        text_column: column or key of the text.
        label_column: column or key of the label; numbers are taken as their decimal text.
        weight_column: column or key of the weight of a row, above 0 and at most 1,000,000; None reads none.
        skip_empty: leave rows with an empty text out instead of refusing the file.
        encoding: of the file; None takes UTF-8, what a byte order mark says, or GB18030, Big5 or UTF-16 where it is plain.
        quoting: ``auto``, ``csv`` or ``none``: whether double quotes stand around fields, or are text. A CSV file has them
            around fields, a TSV file where all its quotes are such.
    Raises:
        DataError: the file is missing, empty or in another encoding; a column is missing; a text or a label is empty; a
            weight is no such number.
        RecipeError: there is no such encoding or quoting.
    """
    path = Path(path)
    texts: list[str] = []
    labels: list[str] = []
    weights: list[float] = []
    empty: list[str] = []
    blank = 0
    columns = (text_column, label_column, *([] if weight_column is None else [weight_column]))
    records = Records(path, columns, encoding=encoding, quoting=quoting)
    for place, record in records:
        if records.is_table and not any(record.values()):
            blank += 1
            continue
        text = text_of(record[text_column], f"{text_column!r} in {place} of {path}")
        label = text_of(record[label_column], f"{label_column!r} in {place} of {path}").strip()
        if is_blank(text):
            empty.append(place)
            continue
        if not label:
            raise DataError(f"{place} of {path} has no label in column {label_column!r}; give it one, or remove the row")
        if _SURROGATE.search(label):
            raise DataError(f"{place} of {path} has the label {label!r}, which holds half a character; correct the label")
        if weight_column is not None:
            weights.append(_weight_of(record[weight_column], f"{place} of {path}", weight_column))
        texts.append(text)
        labels.append(label)
    if empty and not skip_empty:
        raise DataError(
            f"{len(empty)} rows of {path} have an empty text, {empty[0]} first; expected at least one visible character; "
            "remove them, or leave them out with --skip-empty (data.skip_empty: true)"
        )
    if not texts:
        raise DataError(f"{path} holds no rows; expected a header and at least one labelled text")
    weighed = None if weight_column is None else tuple(weights)
    return Examples(tuple(texts), tuple(labels), str(path), len(empty), blank, tuple(records.notes), weighed)


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
