"""Parts of a Parquet file with their texts, for workers that read a range of rows each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from paddlenlp_embtune.data._records import text_of
from paddlenlp_embtune.data.formats.arrow_tables import count_parquet_rows, parquet_slices
from paddlenlp_embtune.data.formats.columns import missing_column, resolve_columns

__all__ = ["count_parquet_rows", "parquet_batches"]


def parquet_batches(path: Path, *, text_column: str, start: int, count: int, rows: int) -> Iterator[tuple[Any, list[str]]]:
    """Yield record batches of some rows, and their texts; null is an empty text.

    Args:
        path: of the file.
        text_column: column of the text.
        start: the first row, from 0.
        count: number of rows.
        rows: of a batch, at most.
    Raises:
        DataError: it cannot be read, lacks the column, or a row of the column holds no text.
        MissingDependencyError: pyarrow is not installed.
    """
    name, at = "", start
    for batch in parquet_slices(path, start=start, count=count, rows=rows):
        if not name:
            found = resolve_columns(batch.schema.names, (text_column,), where=str(path))
            if found is None:
                raise missing_column(batch.schema.names, text_column, str(path), (text_column,))
            name = found[text_column]
        column = batch.column(name).to_pylist()
        texts = [
            text if isinstance(text, str) else "" if text is None else text_of(text, f"{name!r} in row {at + place} of {path}")
            for place, text in enumerate(column, 1)
        ]
        yield batch, texts
        at += len(texts)
