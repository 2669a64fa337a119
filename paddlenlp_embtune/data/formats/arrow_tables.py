"""Columnar files by pyarrow: Parquet, and Arrow's IPC files and streams (Feather), a batch at a time."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from paddlenlp_embtune.errors import DataError, MissingDependencyError

__all__ = ["arrow_records", "count_parquet_rows", "parquet_slices"]

_BATCH_ROWS = 4096


def arrow_records(path: Path, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield place and record of each row.

    Args:
        path: of the file.
        kind: ``Parquet`` or ``Arrow``.
    Raises:
        DataError: it cannot be read as such a file.
        MissingDependencyError: pyarrow is not installed.
    """
    arrow, parquet = _packages(path, kind)
    number = 0
    with _told(path, kind, arrow):
        for batch in _parquet_batches(path, parquet) if kind == "Parquet" else _ipc_batches(path, arrow):
            for record in batch.to_pylist():
                number += 1
                yield f"row {number}", record


def count_parquet_rows(path: Path) -> int:
    """Return the number of rows, which the end of the file states.

    Raises:
        DataError: it cannot be read as Parquet.
        MissingDependencyError: pyarrow is not installed.
    """
    arrow, parquet = _packages(path, "Parquet")
    with _told(path, "Parquet", arrow), parquet.ParquetFile(path) as file:
        return int(file.metadata.num_rows)


def parquet_slices(path: Path, *, start: int, count: int, rows: int) -> Iterator[Any]:
    """Yield record batches of some rows of a file; row groups before and after them are not read.

    Args:
        path: of the file.
        start: the first row, from 0.
        count: number of rows.
        rows: of a batch, at most.
    Raises:
        DataError: it cannot be read as Parquet.
        MissingDependencyError: pyarrow is not installed.
    """
    arrow, parquet = _packages(path, "Parquet")
    with _told(path, "Parquet", arrow), parquet.ParquetFile(path) as file:
        first, groups, at = start, list[int](), 0
        for group in range(file.metadata.num_row_groups):
            size = file.metadata.row_group(group).num_rows
            if at < start + count and at + size > start:
                groups.append(group)
            elif at + size <= start:
                first -= size
            at += size
        left = count
        for batch in file.iter_batches(batch_size=rows, row_groups=groups):
            part = batch.slice(first, left)
            first = max(0, first - batch.num_rows)
            left -= part.num_rows
            if part.num_rows:
                yield part
            if left == 0:
                return


def _packages(path: Path, kind: str) -> tuple[Any, Any]:
    try:
        arrow: Any = importlib.import_module("pyarrow")
        importlib.import_module("pyarrow.ipc")
        return arrow, importlib.import_module("pyarrow.parquet")
    except ModuleNotFoundError:
        raise MissingDependencyError(
            f'{path} is a {kind} file, which needs pyarrow; install it with: pip install "paddlenlp-embtune[files]"'
        ) from None


@contextlib.contextmanager
def _told(path: Path, kind: str, arrow: Any) -> Iterator[None]:
    """Raise what pyarrow says of a file as our error."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (arrow.ArrowException, OSError) as fault:
        raise DataError(f"cannot read {path} as {kind}: {str(fault).splitlines()[0]}; write the file again") from None


def _parquet_batches(path: Path, parquet: Any) -> Iterator[Any]:
    with parquet.ParquetFile(path) as file:
        yield from file.iter_batches(batch_size=_BATCH_ROWS)


def _ipc_batches(path: Path, arrow: Any) -> Iterator[Any]:
    """A file of Arrow's may be a random access file, which Feather 2 is, or a stream, which datasets' cache is."""
    with arrow.OSFile(str(path), "rb") as source:
        head = source.read(6)
        source.seek(0)
        if head == b"ARROW1":
            with arrow.ipc.open_file(source) as reader:
                for at in range(reader.num_record_batches):
                    yield reader.get_batch(at)
        else:
            with arrow.ipc.open_stream(source) as reader:
                yield from reader
