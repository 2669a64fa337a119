"""Rows that are in memory, written to a file that a recipe names: a run can then be resumed, repeated and compared."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from paddlenlp_embtune.errors import DataError, RecipeError
from paddlenlp_embtune.utils.files.atomic_io import replace_file
from paddlenlp_embtune.utils.json_yaml import dump_json, shorten

__all__ = ["write_examples"]


def write_examples(
    rows: Any,
    path: str | Path,
    *,
    text_column: str = "text",
    label_column: str = "label",
) -> int:
    """Write rows as JSON lines, all columns kept, for ``data.train`` and ``data.dev`` of a recipe.

    Args:
        rows: a DataFrame of pandas or polars, a ``Dataset`` of Hugging Face's datasets, what PaddleNLP's ``load_dataset``
            returns, or any iterable of mappings, or of pairs of text and label. Numbers that a data set has names for are
            written as the names.
        path: of the file, ``.jsonl``; it appears whole or not at all.
        text_column: column of the text, and its name for pairs.
        label_column: column of the label, and its name for pairs.
    Returns:
        The number of rows.
    Raises:
        DataError: there is no row, a row lacks a column, or a value cannot be written.
        RecipeError: the path does not end in ``.jsonl``.
    """
    path = Path(path)
    if path.suffix.lower() != ".jsonl":
        raise RecipeError(f"path is {str(path)!r}; expected one that ends in .jsonl")
    names = _label_names(rows, label_column)
    count = 0
    with replace_file(path) as file:
        for number, record in enumerate(_records(rows, (text_column, label_column)), 1):
            for column in (text_column, label_column):
                if column not in record:
                    have = ", ".join(repr(str(name)) for name in record)
                    raise DataError(f"row {number} has no column {column!r}, only {have}; state text_column and label_column")
            plain = {str(name): _plain(value, f"{name!r} of row {number}") for name, value in record.items()}
            if names:
                plain[label_column] = _named(plain[label_column], names, f"{label_column!r} of row {number}")
            file.write(dump_json(plain).encode("utf-8") + b"\n")
            count += 1
        if not count:
            raise DataError(f"there are no rows to write to {path}; expected at least one labelled text")
    return count


def _records(rows: Any, columns: Sequence[str]) -> Iterator[Mapping[Any, Any]]:
    """Yield rows as mappings, whatever holds them."""
    source: Iterable[Any]
    if hasattr(rows, "iter_rows"):  # polars
        source = rows.iter_rows(named=True)
    elif hasattr(rows, "itertuples"):  # pandas
        source = (dict(zip(rows.columns, values, strict=True)) for values in rows.itertuples(index=False, name=None))
    elif isinstance(rows, (str, bytes, Mapping)) or not isinstance(rows, Iterable):
        raise DataError(f"rows is {shorten(rows)}; expected a DataFrame, a data set, or an iterable of rows")
    else:
        source = rows
    for number, row in enumerate(source, 1):
        if isinstance(row, Mapping):
            yield row
        elif isinstance(row, Sequence) and not isinstance(row, (str, bytes)) and len(row) == len(columns):
            yield dict(zip(columns, row, strict=True))
        else:
            raise DataError(f"row {number} is {shorten(row)}; expected a mapping, or a pair of text and label")


def _label_names(rows: Any, label_column: str) -> Sequence[str]:
    """Return the names that a data set has for numbers of labels; none for anything else."""
    feature = (getattr(rows, "features", None) or {}).get(label_column)  # Hugging Face's
    feature = getattr(feature, "feature", feature)  # a sequence of labels
    names = getattr(feature, "names", None) or getattr(rows, "label_list", None)  # PaddleNLP's
    return tuple(map(str, names)) if names else ()


def _named(value: Any, names: Sequence[str], where: str) -> Any:
    if isinstance(value, list):
        return [_named(each, names, where) for each in value]
    if isinstance(value, int) and not isinstance(value, bool):
        if not 0 <= value < len(names):
            raise DataError(f"{where} is {value}; expected a number below {len(names)}, one for each name of the data set")
        return names[value]
    return value


def _plain(value: Any, where: str) -> Any:
    """Return what JSON holds for a value; NaN and the like are null."""
    value = value.tolist() if hasattr(value, "tolist") else value  # numpy's
    if isinstance(value, (list, tuple)):
        return [_plain(each, where) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if hasattr(value, "isoformat"):
        text = str(value.isoformat())
        return None if text == "NaT" else text
    if isinstance(value, Mapping):
        return {str(name): _plain(each, where) for name, each in value.items()}
    raise DataError(f"{where} is {shorten(value)}; expected a text, a number, a date or a list of these")
