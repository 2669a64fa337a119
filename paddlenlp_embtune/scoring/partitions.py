"""Partitions of data files: ranges of rows that one worker scores, and that are written whole or not at all."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from paddlenlp_embtune.data import count_parquet_rows, stream_rows
from paddlenlp_embtune.errors import EmbtuneError
from paddlenlp_embtune.utils.text_files.read_options import ReadOptions

__all__ = ["Partition", "UnreadableFile", "partitions_of"]

Rows = tuple[tuple[str, Mapping[str, Any]], ...]


@dataclasses.dataclass(frozen=True)
class Partition:
    """Consecutive rows of one file.

    Args:
        number: within the job, from 0.
        file: where they stand.
        start: the first row of the file, from 0.
        count: number of rows.
        rows: texts and rows that the worker gets; None where it reads them itself, from Parquet.
    """

    number: int
    file: Path
    start: int
    count: int
    rows: Rows | None = dataclasses.field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The partition, for messages; rows count from 1 there."""
        return f"rows {self.start + 1:,} to {self.start + self.count:,} of {self.file}"


@dataclasses.dataclass(frozen=True)
class UnreadableFile:
    """A file that cannot be read on: the rest of its rows has no partition.

    Args:
        file: its path.
        start: the first row that is lost, from 0, at the granularity of partitions.
        error: why.
    """

    file: Path
    start: int
    error: EmbtuneError


def partitions_of(
    files: Sequence[Path],
    *,
    rows: int,
    text_column: str,
    options: ReadOptions,
    notes: list[str],
) -> Iterator[Partition | UnreadableFile]:
    """Yield the partitions of files, in order; a file that cannot be read does not keep the others from being scored.

    Parquet is divided by its row counts, and workers read it themselves; the rows of other formats are read here, and travel
    to the workers.

    Args:
        files: in the order of the answers.
        rows: of a partition, at most.
        text_column: column or key of the text.
        options: how the files are read.
        notes: gets what a user may want to know about how files were read.
    """
    numbers = itertools.count()
    for file in files:
        start = 0
        try:
            if file.suffix.lower() == ".parquet":
                whole = min(count_parquet_rows(file), options.limit or 1 << 62)
                for start in range(0, whole, rows):
                    yield Partition(next(numbers), file, start, min(rows, whole - start))
                continue
            source = stream_rows(file, text_column=text_column, options=options, notes=notes)
            while batch := tuple(itertools.islice(source, rows)):
                yield Partition(next(numbers), file, start, len(batch), batch)
                start += len(batch)
        except EmbtuneError as fault:
            yield UnreadableFile(file, start, fault)
