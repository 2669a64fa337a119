"""Operating system errors as one line that names the file and the next step."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["describe_os_error", "naming", "next_step"]

_ELSEWHERE = "or choose another location"
_STEPS = {
    errno.ENOSPC: f"free some disk space, {_ELSEWHERE}",
    errno.EDQUOT: f"free some of your quota, {_ELSEWHERE}",
    errno.EFBIG: f"raise the limit on the size of files (ulimit -f), {_ELSEWHERE}",
    errno.EACCES: f"check the permissions of the path and its folders, {_ELSEWHERE}",
    errno.EPERM: f"check the permissions of the path and its folders, {_ELSEWHERE}",
    errno.EROFS: "choose a writable location",
    errno.EMFILE: "raise the limit on open files (ulimit -n), and try again",
    errno.ENFILE: "close some programs that hold files open, and try again",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOENT: "check the path; its folder may have been moved or replaced",
    errno.ENOTDIR: "check the path; a folder in it is a file",
    errno.EISDIR: "pass the path of a file",
    errno.EEXIST: "choose another location, or move the existing one",
    errno.ENOTEMPTY: "choose another location, or move the existing one",
    errno.ELOOP: "check the links in the path",
    errno.EXDEV: "choose a location on another file system",
    errno.EBUSY: "try again when nothing else is using it",
    errno.EIO: f"check the disk, {_ELSEWHERE}",
    errno.ESTALE: "remount the file system, and try again",
    errno.ENOLCK: "choose a location on a file system that supports locks",
    errno.ENOTSUP: "choose a location on another file system",
    errno.ENOSYS: "choose a location on another file system",
    errno.ENOMEM: "free some memory, and try again",
    errno.EPIPE: "the program that read the output has ended",
}


def next_step(error: OSError) -> str:
    """Return what to do about an operating system error."""
    return _STEPS.get(error.errno or 0, f"check the path, {_ELSEWHERE}")


def describe_os_error(error: OSError) -> str:
    """Describe an operating system error: the file or folder, the fault, and the next step.

    Errors with an unknown number, such as those that a library raised with its own text, are returned as they are.
    """
    if error.errno is None or error.errno not in _STEPS:
        return " ".join(str(error).split())
    name = error.filename if error.filename is not None else "the output"
    where = os.fsdecode(name) if isinstance(name, (str, bytes)) else str(name)
    return f"{where}: {error.strerror or os.strerror(error.errno)}; {next_step(error)}"


@contextlib.contextmanager
def naming(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Make operating system errors that name no file, or a temporary one, name the path being written.

    Args:
        path: the path being written.
        temporary: the temporary file or folder used until it is complete.
    """
    try:
        yield
    except OSError as error:
        held = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else None
        if error.errno is not None and held is None:
            error.filename = str(path)
        elif held is not None and temporary is not None and (held + os.sep).startswith(str(temporary) + os.sep):
            error.filename = str(path) + held[len(str(temporary)) :]
        if error.errno is not None and held is not None and error.filename2 is not None:
            error.filename2 = None  # of a rename: the target of the temporary file
        raise
