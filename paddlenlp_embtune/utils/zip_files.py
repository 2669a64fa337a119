"""Opening zip files from outside, and reading members of them in memory that the file's own size bounds."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from paddlenlp_embtune.utils.json_yaml import shorten

__all__ = ["MAX_EXPANSION", "ZipError", "open_zip", "read_member", "read_member_into"]

MAX_EXPANSION = 16
"""All members together may have so many times the bytes of the file, or ``_FREE`` if that is more."""

_FREE = 64 << 20
_MOST_DIRECTORY = 8 << 20
_STEP = 1 << 20
ZipError = zipfile.BadZipFile
"""What is raised where a zip file is damaged, or asks for more memory than a file of its size may."""

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class _Guarded(io.BufferedReader):
    """A file that is not read in large pieces while ``zipfile`` reads the directory, whose size the file itself states."""

    most: int | None = _MOST_DIRECTORY

    def read(self, size: int | None = -1, /) -> bytes:
        if self.most is not None and size is not None and size > self.most:
            raise ZipError(f"its directory has more than {self.most:,} bytes")
        return super().read(-1 if size is None else size)


@contextmanager
def open_zip(path: Path, *, max_expansion: int = MAX_EXPANSION) -> Iterator[zipfile.ZipFile]:
    """Open a zip file whose members are stored or deflated, each under a name of its own.

    Args:
        path: the file.
        max_expansion: the bytes of all members together are at most so many times those of the file, or 64 MB.
    Raises:
        ZipError: it is something else.
        OSError: the file cannot be read.
    """
    with _Guarded(io.FileIO(path)) as stream:
        try:
            archive = zipfile.ZipFile(stream)
        except OSError:
            raise
        except Exception as fault:  # of many kinds: zipfile takes what the directory says
            raise ZipError(_reason(fault)) from None
        stream.most = None
        with archive:
            _check(archive, path.stat().st_size, max_expansion)
            yield archive


def _check(archive: zipfile.ZipFile, size: int, max_expansion: int) -> None:
    members = archive.infolist()
    if len({member.filename for member in members}) < len(members):
        raise ZipError("it has two members of one name")
    if odd := [member for member in members if member.compress_type not in _METHODS or member.flag_bits & 1]:
        raise ZipError(f"its member {shorten(odd[0].filename)} is encrypted, or neither stored nor deflated")
    total = sum(member.file_size for member in members)
    if total > max(_FREE, max_expansion * size):
        raise ZipError(f"its members say that they have {total:,} bytes, and the file has {size:,}")


def read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, *, max_bytes: int) -> bytes:
    """Return a member, which has at most so many bytes.

    Raises:
        ZipError: it has more, or not as many as the directory says, or is damaged.
    """
    if member.file_size > max_bytes:
        raise ZipError(f"its member {shorten(member.filename)} has {member.file_size:,} bytes, and {max_bytes:,} are the most")
    content = bytearray(member.file_size)
    read_member_into(archive, member, memoryview(content))
    return bytes(content)


def read_member_into(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: memoryview) -> None:
    """Read a whole member into memory of exactly its size.

    Raises:
        ZipError: it has not as many bytes, or is damaged.
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
    except Exception as fault:  # of many kinds: zipfile, zlib, struct
        raise ZipError(f"its member {shorten(member.filename)} cannot be read: {_reason(fault)}") from None


def _reason(fault: Exception) -> str:
    return " ".join(str(fault).split())[:200] or type(fault).__name__
