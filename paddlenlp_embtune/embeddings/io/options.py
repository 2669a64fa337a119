"""Options for reading vectors, and the interface of format readers."""

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
    """Which rows of a vector file to read, and how to handle bad rows.

    Args:
        format: name of the format; None detects it from the content.
        keep: filter on tokens. It is called once per row with a token, in file order, so it may keep state. None keeps all.
        vocabulary: file with the tokens of arrays that have none, one per line, UTF-8, split at line feeds only.
        tensor: name of the table among several arrays; None chooses the only candidate.
        duplicates: which row of a repeated token to keep: ``first``, ``last``, or ``refuse``.
        damaged: ``refuse``, or ``skip`` rows of another width, with NaN or infinite values, or with undecodable tokens; skipped
            rows are counted in the notes of the table, and never become zero rows.
        progress: called with the bytes of the (possibly compressed) file read so far, and its size.
    Raises:
        VectorError: ``duplicates`` or ``damaged`` has another value.
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
    """Detects whether a file or folder has a format."""

    def __call__(self, path: Path, head: bytes, /) -> bool:
        """Check the path and its first bytes, decompressed; empty for a folder."""


@dataclasses.dataclass(frozen=True)
class VectorFormat:
    """A reader together with its format detector.

    Args:
        read: the reader.
        detects: whether a file has the format.
    """

    read: Callable[[str, ReadOptions], VectorTable]
    detects: Detector

    def __call__(self, source: str, options: ReadOptions | None = None, /) -> VectorTable:
        """Read the vectors of ``source``."""
        return self.read(source, options or ReadOptions())
