"""Columnar files by pyarrow: Parquet, and Arrow's IPC files and streams (Feather), a batch at a time."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from paddlenlp_embtune.errors import DataError, MissingDependencyError

__all__ = ["arrow_records"]

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
    try:
        arrow: Any = importlib.import_module("pyarrow")
        importlib.import_module("pyarrow.ipc")
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ModuleNotFoundError:
        raise MissingDependencyError(
            f'{path} is a {kind} file, which needs pyarrow; install it with: pip install "paddlenlp-embtune[files]"'
        ) from None
    number = 0
    try:
        for batch in _parquet_batches(path, parquet) if kind == "Parquet" else _ipc_batches(path, arrow):
            for record in batch.to_pylist():
                number += 1
                yield f"row {number}", record
    except (arrow.ArrowException, OSError) as fault:
        if isinstance(fault, FileNotFoundError):
            raise
        told = str(fault).splitlines()[0]
        raise DataError(f"cannot read {path} as {kind} after {number:,} rows: {told}; write the file again") from None


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
