"""Unlabelled texts, streamed, so that a file may be larger than memory."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from paddlenlp_embtune.data._records import Records, line_reader, text_of
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.utils.text_files.decoding import BLOCK
from paddlenlp_embtune.utils.text_files.read_options import check_read_options

__all__ = ["read_texts", "stream_standard_input", "stream_texts"]

_logger = logging.getLogger(__name__)


def stream_texts(
    path: str | Path,
    *,
    text_column: str,
    encoding: str | None = None,
    quoting: str = "auto",
    notes: list[str] | None = None,
) -> Iterator[str]:
    """Yield texts without labels: as many as the file has rows, blank ones too, so that answers line up with it.

    A ``.txt`` file has one text per line; other formats need the column. All but ``.json`` are read lazily.

    Args:
        path: of the file; a pipe will do.
        text_column: column or key of the text; null is an empty text.
        encoding: as for :func:`paddlenlp_embtune.data.read_examples`.
        quoting: as there.
        notes: gets, at the end of the file, what a user may want to know about how it was read; None logs it.
    Raises:
        DataError: as :func:`paddlenlp_embtune.data.read_examples`, but for empty texts and labels; a wrong line is reported
            when it is reached.
        RecipeError: there is no such encoding or quoting.
    """
    path = Path(path)
    records = Records(path, (text_column,), encoding=encoding, quoting=quoting)
    if path.suffix.lower() == ".txt":
        yield from records.lines()
    else:
        for place, record in records:
            value = record[text_column]
            yield "" if value is None else text_of(value, f"{text_column!r} in {place} of {path}")
    if notes is not None:
        notes += records.notes
        return
    for note in records.notes:
        _logger.warning("%s", note)


def read_texts(path: str | Path, *, text_column: str, encoding: str | None = None, quoting: str = "auto") -> list[str]:
    """Read all that :func:`stream_texts` yields."""
    return list(stream_texts(path, text_column=text_column, encoding=encoding, quoting=quoting))


def stream_standard_input(*, encoding: str | None = None) -> Iterator[str]:
    """Yield the lines of stdin as they come.

    Raises:
        DataError: the encoding of stdin cannot be detected, or a line is too long.
        RecipeError: there is no such encoding.
    """
    declared = check_read_options(encoding, "auto", where="--", error=RecipeError)
    stdin = cast(io.BufferedReader, sys.stdin.buffer)
    blocks = iter(lambda: stdin.read1(BLOCK), b"")
    for line, _ in line_reader(blocks, "stdin", declared):
        yield line
