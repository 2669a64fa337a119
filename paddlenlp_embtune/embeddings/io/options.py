"""How vectors are read, and what a reader of a format is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from paddlenlp_embtune.embeddings.io.vector_table import VectorTable
from paddlenlp_embtune.errors import VectorError, expected_names

__all__ = ["Detector", "ReadOptions", "Reader", "VectorFormat"]

_DUPLICATES = ("first", "last", "refuse")
_DAMAGED = ("refuse", "skip")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """What to read of a file of vectors, and what to do about bad rows.

    Args:
        format: name of the format; None finds it from the content.
        keep: only rows whose token it is true for are kept. It is called once a row that has a token, in the order of the
            file, so it may remember what it has seen. None keeps all.
        vocabulary: tokens for arrays that carry none, one a line, UTF-8, split at line feeds only.
        tensor: name of the table among several arrays; None takes the one that can only be meant.
        duplicates: which row of a token that comes more than once is kept: ``first``, ``last``, or ``refuse``.
        damaged: ``refuse``, or ``skip`` rows of another width, with NaN or infinite values, or whose token cannot be decoded;
            rows that are skipped are counted in the notes of the table, and never become zero rows.
        progress: called with the bytes of the file that have been read, compressed ones where it is compressed, and its size.
    Raises:
        VectorError: ``duplicates`` or ``damaged`` is none of these words.
    """

    format: str | None = None
    keep: Callable[[str], bool] | None = None
    vocabulary: Path | None = None
    tensor: str | None = None
    duplicates: str = "first"
    damaged: str = "refuse"
    progress: Callable[[int, int], object] | None = None

    def __post_init__(self) -> None:
        for name, allowed in (("duplicates", _DUPLICATES), ("damaged", _DAMAGED)):
            if (value := getattr(self, name)) not in allowed:
                raise VectorError(f"{name} of the vectors is {value!r}; {expected_names(str(value), allowed)}")


class Reader(Protocol):
    """Reads one format; a reader may have an attribute ``detects``, a :class:`Detector`."""

    def __call__(self, source: str, options: ReadOptions, /) -> VectorTable:
        """Read the vectors of ``source``."""


class Detector(Protocol):
    """Says whether a file or folder is of a format."""

    def __call__(self, path: Path, head: bytes, /) -> bool:
        """Look at the first bytes, decompressed; of a folder, there are none."""


@dataclasses.dataclass(frozen=True)
class VectorFormat:
    """A reader together with its way to recognise files.

    Args:
        read: the reader.
        detects: whether a file is of the format.
    """

    read: Callable[[str, ReadOptions], VectorTable]
    detects: Detector

    def __call__(self, source: str, options: ReadOptions | None = None, /) -> VectorTable:
        """Read the vectors of ``source``."""
        return self.read(source, options or ReadOptions())
