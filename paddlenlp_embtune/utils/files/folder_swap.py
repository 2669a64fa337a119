"""Replacing one complete folder with another, so that a kill at any moment leaves one of them complete.

Where the kernel supports it, the two folders are exchanged in one system call. Elsewhere the order of renames serves as the
journal. To replace ``NAME``:

1. the new folder becomes ``.NAME~ready``, once it is complete and on the disk;
2. the old one becomes ``.NAME~former``;
3. ``.NAME~ready`` becomes ``NAME``.

If ``NAME`` is missing and ``.NAME~ready`` exists, step 3 was not reached: :func:`recover` completes it. If only
``.NAME~former`` exists, it is renamed back. Folders that are being filled, and old ones that are being removed, are named
``.NAME~xxxxxxxx``.

Callers of every function here but ``recoverable`` must hold the lock of the path (see ``locks``): then all leftovers belong to
processes that have ended.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from paddlenlp_embtune.utils.files.advisory_locks import OPEN_FLAGS, lock_descriptor
from paddlenlp_embtune.utils.files.locks import hidden_name

__all__ = ["leftovers", "recover", "recoverable", "swap_into_place", "sweep", "sync_folder", "sync_tree", "temporary_sibling"]

_READY, _FORMER = "~ready", "~former"
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_CANNOT = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM, errno.ENOTTY}
"""EPERM: some sandboxes return it for unknown calls; if it is genuine, the plain rename fails the same way."""

_SYNCED = os.O_RDWR if sys.platform == "win32" else os.O_RDONLY
"""Windows flushes only what may be written."""

_in_use: set[Path] = set()
"""Temporary folders of this process."""


def exchange(one: Path, other: Path) -> bool:
    """Exchange two paths in one step; return False if the kernel, the C library or the file system cannot."""
    import ctypes

    if sys.platform == "win32":
        return False
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), ctypes.c_uint(_RENAME_EXCHANGE)) == 0:
        return True
    number = ctypes.get_errno()
    if number in _CANNOT:
        return False
    raise OSError(number, os.strerror(number), str(one), None, str(other))


@contextlib.contextmanager
def temporary_sibling(path: Path) -> Iterator[Path]:
    """Make a hidden folder beside a path; whatever is left of it when the block ends is removed."""
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=hidden_name(path.name, "~")))
    _in_use.add(temporary)
    try:
        temporary.chmod(0o755)
        yield temporary
    finally:
        _remove(temporary)
        _in_use.discard(temporary)


def swap_into_place(temporary: Path, path: Path) -> None:
    """Move a complete folder to a path; the old folder ends up where the new one was, or is removed.

    Raises:
        OSError: the swap failed; the old folder is still in place.
    """
    if not os.path.lexists(path):
        temporary.rename(path)
    elif not exchange(temporary, path):
        _in_three_steps(temporary, path)
    sync_folder(path.parent)


def _in_three_steps(temporary: Path, path: Path) -> None:
    ready, former = _sibling(path, _READY), _sibling(path, _FORMER)
    temporary.rename(ready)
    try:
        sync_folder(path.parent)
        path.rename(former)
        try:
            ready.rename(path)
        except BaseException:
            former.rename(path)
            raise
    except BaseException:
        ready.rename(temporary)
        raise
    sync_folder(path.parent)
    former.rename(temporary)


def recoverable(path: Path) -> bool:
    """Return whether a path is missing because a process is, or was killed, between two renames."""
    return not os.path.lexists(path) and any(_sibling(path, ending).is_dir() for ending in (_READY, _FORMER))


def recover(path: Path) -> bool:
    """Restore what belongs at a path; return whether there was anything to restore."""
    if os.path.lexists(path):
        return False
    for ending in (_READY, _FORMER):
        if (sibling := _sibling(path, ending)).is_dir():
            sibling.rename(path)
            sync_folder(path.parent)
            return True
    return False


def leftovers(path: Path) -> list[Path]:
    """Return the folders and files that unfinished processes left for exactly this path, newest first."""
    pattern = re.compile(re.escape(hidden_name(path.name, "~")) + r"[a-z0-9_]{8}")
    try:
        found = [each for each in path.parent.iterdir() if pattern.fullmatch(each.name) and each not in _in_use]
    except FileNotFoundError:
        return []
    return sorted(found, key=_changed, reverse=True)


def sweep(path: Path) -> None:
    """Restore what belongs at a path, and remove all other leftovers for it."""
    recover(path)
    for left in (*leftovers(path), _sibling(path, _READY), _sibling(path, _FORMER)):
        if left.is_dir():
            _remove(left)
        else:
            remove_if_dead(left)


def remove_if_dead(file: Path) -> None:
    """Remove a temporary file unless its writer, which keeps it locked, is alive or may be."""
    try:
        descriptor = os.open(file, os.O_RDWR | OPEN_FLAGS)
    except OSError:
        return
    try:
        with contextlib.suppress(OSError):
            lock_descriptor(descriptor)
            file.unlink()
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Flush the contents and names of all files below a folder to disk, so that a power cut leaves none of them empty."""
    for place, _, names in os.walk(folder, topdown=False):
        for name in names:
            _sync(Path(place) / name)
        sync_folder(Path(place))


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to disk, if its file system supports that."""
    try:
        _sync(folder)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EACCES):
            raise


def _sync(path: Path) -> None:
    if path.is_symlink():
        return
    descriptor = os.open(path, _SYNCED | OPEN_FLAGS)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sibling(path: Path, ending: str) -> Path:
    return path.with_name(hidden_name(path.name, ending))


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
