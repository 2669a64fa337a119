"""Vector files as streams with progress: plain, gz or bz2."""

from __future__ import annotations

import bz2
import gzip
import zlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, cast

from paddlenlp_embtune.errors import VectorError
from paddlenlp_embtune.utils.memory import available_memory

__all__ = ["HEAD", "Stream", "available_memory", "compression", "plain_file", "read_head"]

HEAD = 1 << 16
"""Number of bytes used for format detection."""

_MAGIC = {b"\x1f\x8b": "gz", b"BZh": "bz2"}
_STEP = 1 << 20


class Stream:
    """A file that is read once from start to end, decompressed on the fly.

    Args:
        path: the file; compression is detected from its content.
        progress: called with the bytes read so far and the file size, at most once per megabyte, and at the end.
    Raises:
        VectorError: there is no such file.
    """

    def __init__(self, path: Path, progress: Callable[[int, int], object] | None = None) -> None:
        _require_file(path)
        self.path = path
        self.size = path.stat().st_size
        self.compression = compression(path)
        self._progress, self._told = progress, 0
        self._raw: IO[bytes] = path.open("rb")
        self._file: IO[bytes] = self._raw
        if self.compression == "gz":
            self._file = cast(IO[bytes], gzip.GzipFile(fileobj=self._raw))
        elif self.compression == "bz2":
            self._file = bz2.BZ2File(self._raw)

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._raw.close()

    @property
    def plain_size(self) -> int | None:
        """Size of the content in bytes; None if compressed."""
        return self.size if self.compression is None else None

    def read(self, size: int) -> bytes:
        """Read up to ``size`` bytes; fewer only at the end.

        Raises:
            VectorError: the compressed data is damaged or truncated.
        """
        try:
            data = self._file.read(size)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise self._broken(error) from None
        except OSError as error:
            if self.compression is None or error.errno is not None:
                raise
            raise self._broken(error) from None
        self._tell(last=len(data) < size)
        return data

    def _tell(self, *, last: bool) -> None:
        if self._progress is None:
            return
        done = self.size if last else self._raw.tell()
        if done - self._told >= _STEP or (last and done != self._told):
            self._told = done
            self._progress(done, self.size)

    def _broken(self, error: Exception) -> VectorError:
        return VectorError(
            f"{self.path} is damaged {self.compression} data, found at byte {self._raw.tell():,} of {self.size:,}: {error}; "
            "fetch the file again"
        )


def compression(path: Path) -> str | None:
    """Return ``gz``, ``bz2``, or None if not compressed."""
    with path.open("rb") as file:
        start = file.read(3)
    return next((name for magic, name in _MAGIC.items() if start.startswith(magic)), None)


def read_head(path: Path) -> bytes:
    """Return the first bytes of a file, decompressed; empty for a folder."""
    if path.is_dir():
        return b""
    with Stream(path) as stream:
        return stream.read(HEAD)


def plain_file(source: str, kind: str) -> Path:
    """Return the path of a file of a format that cannot be compressed because it is memory-mapped.

    Raises:
        VectorError: there is no such file, or it is compressed.
    """
    path = Path(source)
    _require_file(path)
    if (found := compression(path)) is not None:
        tool = {"gz": "gunzip", "bz2": "bunzip2"}[found]
        raise VectorError(f"{path} is compressed, and {kind} is read in place; unpack it first with: {tool} --keep {path}")
    return path


def _require_file(path: Path) -> None:
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise VectorError(f"the vector file {path} {what}; pass the path of a file")
