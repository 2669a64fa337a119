"""Reading untrusted zip files with memory bounded by the file size."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from paddlenlp_embtune.utils.json_yaml import shorten

__all__ = ["MAX_EXPANSION", "ZipError", "open_zip", "read_member", "read_member_into"]

MAX_EXPANSION = 16
"""Maximum ratio of the total size of all members to the size of the file; up to ``_FREE`` bytes are always allowed."""

_FREE = 64 << 20
_MAX_DIRECTORY_BYTES = 8 << 20
_STEP = 1 << 20
ZipError = zipfile.BadZipFile
"""Raised if a zip file is damaged, or needs more memory than is allowed for its size."""

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class _Guarded(io.BufferedReader):
    """A file that limits reads while ``zipfile`` reads the directory, whose size the file itself declares."""

    limit: int | None = _MAX_DIRECTORY_BYTES

    def read(self, size: int | None = -1, /) -> bytes:
        if self.limit is not None and size is not None and size > self.limit:
            raise ZipError(f"its directory has more than {self.limit:,} bytes")
        return super().read(-1 if size is None else size)


@contextmanager
def open_zip(path: Path, *, max_expansion: int = MAX_EXPANSION) -> Iterator[zipfile.ZipFile]:
    """Open a zip file whose members are stored or deflated and have unique names.

    Args:
        path: the file.
        max_expansion: maximum ratio of the total size of all members to the size of the file; 64 MB are always allowed.
    Raises:
        ZipError: the file is damaged or not such a zip file.
        OSError: the file cannot be read.
    """
    with _Guarded(io.FileIO(path)) as stream:
        try:
            archive = zipfile.ZipFile(stream)
        except OSError:
            raise
        except Exception as fault:  # many types: zipfile trusts the directory
            raise ZipError(_reason(fault)) from None
        stream.limit = None
        with archive:
            _check(archive, path.stat().st_size, max_expansion)
            yield archive


def _check(archive: zipfile.ZipFile, size: int, max_expansion: int) -> None:
    members = archive.infolist()
    if len({member.filename for member in members}) < len(members):
        raise ZipError("it has two members of the same name")
    if odd := [member for member in members if member.compress_type not in _METHODS or member.flag_bits & 1]:
        raise ZipError(f"its member {shorten(odd[0].filename)} is encrypted, or neither stored nor deflated")
    total = sum(member.file_size for member in members)
    if total > max(_FREE, max_expansion * size):
        raise ZipError(f"its members claim {total:,} bytes, but the file has only {size:,}")


def read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, *, max_bytes: int) -> bytes:
    """Return the content of a member of at most ``max_bytes``.

    Raises:
        ZipError: it is larger, has another size than the directory says, or is damaged.
    """
    if member.file_size > max_bytes:
        raise ZipError(f"its member {shorten(member.filename)} has {member.file_size:,} bytes; the limit is {max_bytes:,}")
    content = bytearray(member.file_size)
    read_member_into(archive, member, memoryview(content))
    return bytes(content)


def read_member_into(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: memoryview) -> None:
    """Read a whole member into a buffer of exactly its size.

    Raises:
        ZipError: it has another size, or is damaged.
    """
    try:
        with archive.open(member) as stream:
            at = 0
            while part := stream.read(_STEP):
                if at + len(part) > len(target):
                    raise ZipError("it has more bytes than the directory says")
                target[at : at + len(part)] = part
                at += len(part)
        if at != len(target):
            raise ZipError(f"it has {at:,} bytes, expected {len(target):,}")
    except OSError:
        raise
    except Exception as fault:  # many types: zipfile, zlib, struct
        raise ZipError(f"its member {shorten(member.filename)} cannot be read: {_reason(fault)}") from None


def _reason(fault: Exception) -> str:
    return " ".join(str(fault).split())[:200] or type(fault).__name__
