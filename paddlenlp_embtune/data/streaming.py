"""Unlabelled texts, streamed, so that a file may be larger than memory."""

from __future__ import annotations

import io
import itertools
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from paddlenlp_embtune.data._records import Records, line_reader, text_of
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.utils.text_files.decoding import BLOCK
from paddlenlp_embtune.utils.text_files.read_options import ReadOptions, check_read_options

__all__ = ["read_texts", "stream_standard_input", "stream_texts"]

_logger = logging.getLogger(__name__)


def stream_texts(
    path: str | Path,
    *,
    text_column: str,
    options: ReadOptions | None = None,
    notes: list[str] | None = None,
) -> Iterator[str]:
    """Yield texts without labels: as many as the file has rows, blank ones too, so that answers line up with it.

    A ``.txt`` file has one text per line; other formats are those of :func:`paddlenlp_embtune.data.read_examples`.
    All but ``.json`` and workbooks are read lazily.

    Args:
        path: of the file; a pipe will do.
        text_column: column or key of the text; null is an empty text.
        options: as for :func:`paddlenlp_embtune.data.read_examples`.
        notes: gets, at the end of the file, what a user may want to know about how it was read; None logs it.
    Raises:
        DataError: as :func:`paddlenlp_embtune.data.read_examples`, but for empty texts and labels; a wrong line is reported
            when it is reached.
        RecipeError: there is no such encoding or quoting.
    """
    path = Path(path)
    records = Records(path, (text_column,), options=options)
    if path.suffix.lower() == ".txt":
        yield from itertools.islice(records.lines(), None if options is None else options.limit)
    else:
        for place, record in records:
            name = records.roles[text_column]
            yield "" if record[name] is None else text_of(record[name], f"{name!r} in {place} of {path}")
    if notes is not None:
        notes += records.notes
        return
    for note in records.notes:
        _logger.warning("%s", note)


def read_texts(path: str | Path, *, text_column: str, options: ReadOptions | None = None) -> list[str]:
    """Read all that :func:`stream_texts` yields."""
    return list(stream_texts(path, text_column=text_column, options=options))


def stream_standard_input(*, encoding: str | None = None) -> Iterator[str]:
    """Yield the lines of stdin as they come.

    Raises:
        DataError: the encoding of stdin cannot be detected, or a line is too long.
        RecipeError: there is no such encoding.
    """
    declared = check_read_options(ReadOptions(encoding=encoding), where="--", error=RecipeError).encoding
    stdin = cast(io.BufferedReader, sys.stdin.buffer)
    blocks = iter(lambda: stdin.read1(BLOCK), b"")
    for line, _ in line_reader(blocks, "stdin", declared):
        yield line
