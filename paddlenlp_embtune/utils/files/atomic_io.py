"""Atomic writes of files and folders: readers never see a partial result, and a killed process loses nothing."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

from paddlenlp_embtune.utils.files.advisory_locks import lock_descriptor
from paddlenlp_embtune.utils.files.folder_swap import (
    leftovers,
    recover,
    recoverable,
    remove_if_dead,
    swap_into_place,
    sweep,
    sync_folder,
    sync_tree,
    temporary_sibling,
)
from paddlenlp_embtune.utils.files.locks import exclusive_lock, hidden_name
from paddlenlp_embtune.utils.files.os_errors import naming

__all__ = [
    "clear_leftovers",
    "replace_file",
    "replace_folder",
    "restore_interrupted",
    "sha256_of",
    "write_blocks",
    "write_text",
]

_RECOVERY_SECONDS = 30.0
_log = logging.getLogger(__name__)


@contextlib.contextmanager
def replace_file(path: Path) -> Iterator[IO[bytes]]:
    """Write to a temporary sibling, and rename it over ``path`` when the block ends; an exception leaves ``path`` as it was.

    A link stays a link: its target is replaced. Anything but a regular file, such as ``/dev/stdout``, is written to directly.
    The temporary file is locked while it is written; leftovers of killed processes for the same path are removed.

    Raises:
        OSError: the file cannot be written; the error names ``path``.
    """
    path = path.resolve()
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file() and not path.is_dir():
            with path.open("wb") as file:
                yield file
            return
        for left in leftovers(path):
            if not left.is_dir():
                remove_if_dead(left)
    descriptor, temporary = _temporary_file(path)
    with naming(path, temporary):
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
                if sys.platform != "win32":
                    os.fchmod(file.fileno(), 0o644)
                    temporary.replace(path)  # while still open, and therefore locked
            if sys.platform == "win32":
                temporary.replace(path)  # an open file cannot be renamed there
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text to a temporary sibling and rename it over ``path``."""
    with replace_file(path) as file:
        file.write(text.encode("utf-8"))


def write_blocks(path: Path, blocks: Iterable[bytes]) -> None:
    """Write bytes to a temporary sibling and rename it over ``path``."""
    with replace_file(path) as file:
        for block in blocks:
            file.write(block)


@contextlib.contextmanager
def replace_folder(path: Path) -> Iterator[Path]:
    """Fill a temporary sibling folder, then replace ``path`` with it in one step.

    The lock of ``path`` is held throughout (see :func:`paddlenlp_embtune.utils.files.locks.exclusive_lock`), so any other
    sibling was left by a killed process: it is removed, or restored if the kill left ``path`` missing. An exception inside
    the block removes the sibling and leaves ``path`` unchanged. A killed process leaves a hidden ``.NAME~XXXX`` folder, never
    a half-written ``path``.

    Raises:
        OSError: the files cannot be written, or ``path`` is a file; the error names ``path``, not the sibling.
        EmbtuneError: another process has been writing there for too long.
    """
    path = path.resolve()  # a link to a folder stays a link: its target is replaced
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    with naming(path), exclusive_lock(path):
        sweep(path)
        with temporary_sibling(path) as temporary, naming(path, temporary):
            yield temporary
            sync_tree(temporary)
            swap_into_place(temporary, path)


def clear_leftovers(path: Path) -> None:
    """Remove or restore what killed processes left beside a path; the caller must hold its lock.

    If the path is missing, only an interrupted rename is restored; nothing is removed, since it may be the only copy.
    """
    path = path.resolve()
    if path.exists() or recover(path):
        sweep(path)


def restore_interrupted(path: Path, *, whole: Callable[[Path], bool] | None = None) -> bool:
    """Restore a path, or a folder above it, after a process was killed between two renames.

    If the process is still alive, wait for its next rename.

    Args:
        path: the missing path.
        whole: whether a hidden folder left beside the path is complete, so that it may replace it; None restores interrupted
            renames only.
    Returns:
        whether there was anything to wait for or to restore
    Raises:
        OSError: the folder cannot be written.
        EmbtuneError: the other process does not finish.
    """
    path = path.resolve()
    for place in (*reversed(path.parents), path):
        if place.exists():
            continue
        if not recoverable(place):
            break
        with exclusive_lock(place, wait_seconds=_RECOVERY_SECONDS):
            if recover(place):
                _log.warning("restored %s, which a killed process had moved aside", place)
    return path.exists() or (whole is not None and _take_whole(path, whole))


def _take_whole(path: Path, whole: Callable[[Path], bool]) -> bool:
    """Replace a missing path with the newest complete folder that a dead process left for it."""
    for left in leftovers(path):
        if left.is_dir() and whole(left):
            with exclusive_lock(path, wait_seconds=0):  # otherwise its process is alive
                if left.is_dir() and not path.exists():
                    swap_into_place(left, path)
                    _log.warning("restored %s from the folder that a killed process had left beside it", path)
            return True
    return False


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _temporary_file(path: Path) -> tuple[int, Path]:
    """Make a hidden file beside a path, locked by this process."""
    while True:
        with naming(path):
            descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=hidden_name(path.name, "~"))
        try:
            lock_descriptor(descriptor)
        except BlockingIOError:
            os.close(descriptor)  # before it was locked, another process took it for a leftover and removed it
            continue
        except OSError:  # no locks here, so no process takes it for a leftover
            return descriptor, Path(name)
        if os.fstat(descriptor).st_nlink:
            return descriptor, Path(name)
        os.close(descriptor)
