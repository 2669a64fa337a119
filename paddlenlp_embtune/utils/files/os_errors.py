"""What the operating system refused, in one line that names the file and the next step."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["describe_os_error", "naming", "next_step"]

_ELSEWHERE = "or choose another place"
_STEPS = {
    errno.ENOSPC: f"free some space there, {_ELSEWHERE}",
    errno.EDQUOT: f"free some of your quota, {_ELSEWHERE}",
    errno.EFBIG: f"raise the limit on the size of files (ulimit -f), {_ELSEWHERE}",
    errno.EACCES: f"see to the permissions of the path and its folders, {_ELSEWHERE}",
    errno.EPERM: f"see to the permissions of the path and its folders, {_ELSEWHERE}",
    errno.EROFS: "choose a place that can be written",
    errno.EMFILE: "raise the limit on open files (ulimit -n), and try again",
    errno.ENFILE: "end some programs that hold files open, and try again",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOENT: "check the path; its folder may have been moved or replaced meanwhile",
    errno.ENOTDIR: "check the path; a folder in it is a file",
    errno.EISDIR: "give the path of a file",
    errno.EEXIST: "choose another place, or move what is there",
    errno.ENOTEMPTY: "choose another place, or move what is there",
    errno.ELOOP: "check the links in the path",
    errno.EXDEV: "choose another place, on a file system of its own",
    errno.EBUSY: "try again when nothing else uses it",
    errno.EIO: f"check the disk, {_ELSEWHERE}",
    errno.ESTALE: "mount the file system anew, and try again",
    errno.ENOLCK: "choose a place on a file system that has locks",
    errno.ENOTSUP: "choose a place on another file system",
    errno.ENOSYS: "choose a place on another file system",
    errno.ENOMEM: "free some memory, and try again",
    errno.EPIPE: "the program that read the output has ended",
}


def next_step(error: OSError) -> str:
    """Say what to do about an error of the operating system."""
    return _STEPS.get(error.errno or 0, f"check the path, {_ELSEWHERE}")


def describe_os_error(error: OSError) -> str:
    """Word an error of the operating system: the file or folder, what is wrong, and the next step.

    Errors whose number is unknown, such as those that a library raised with a text of its own, are given as they are.
    """
    if error.errno is None or error.errno not in _STEPS:
        return " ".join(str(error).split())
    name = error.filename if error.filename is not None else "the output"
    where = os.fsdecode(name) if isinstance(name, (str, bytes)) else str(name)
    return f"{where}: {error.strerror or os.strerror(error.errno)}; {next_step(error)}"


@contextlib.contextmanager
def naming(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Let errors of the operating system that name no file, or a temporary one, name what was to be written.

    Args:
        path: what is written.
        temporary: what stands in for it until it is complete.
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
            error.filename2 = None  # of a rename: where the temporary file was to go
        raise
