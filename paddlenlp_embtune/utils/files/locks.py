"""One lock per output path, between processes and between threads.

The lock of ``FOLDER/NAME`` is ``flock`` on the hidden file ``FOLDER/.NAME.lock``, where ``FOLDER`` and ``NAME`` are those of
the resolved path: every spelling of a path, and every link to it, shares one lock, whether the path exists or not. The kernel
releases it when its process ends, however it ends.

The holder removes the lock file before releasing the lock. A file that was opened and then locked may therefore have been
removed in between: the lock counts only if the path still names the same file; otherwise the next attempt opens the new one.

Reading takes no lock.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from paddlenlp_embtune.errors import EmbtuneError
from paddlenlp_embtune.utils.files.advisory_locks import OPEN_FLAGS, lock_descriptor
from paddlenlp_embtune.utils.files.os_errors import naming

__all__ = ["WAIT_SECONDS", "exclusive_lock", "hidden_name"]

WAIT_SECONDS = 600.0
"""Seconds that a writer waits for another one."""

_SAY_AFTER_SECONDS = 1.0
_PAUSES = (0.002, 0.2)
_MAX_NAME_BYTES = 200
_log = logging.getLogger(__name__)


@dataclasses.dataclass
class _Held:
    descriptor: int
    depth: int


_held: dict[tuple[str, int], _Held] = {}
"""Locks held by this process, by resolved path and thread."""


def hidden_name(name: str, ending: str) -> str:
    """Return the name of a hidden sibling, short enough for a file system if ``name`` is."""
    content = os.fsencode(name)
    if len(content) > _MAX_NAME_BYTES:
        name = f"{name[:40]}-{hashlib.sha256(content).hexdigest()[:16]}"
    return f".{name}{ending}"


@contextlib.contextmanager
def exclusive_lock(
    target: Path,
    *,
    wait_seconds: float = WAIT_SECONDS,
    error: type[EmbtuneError] = EmbtuneError,
    refusal: str | None = None,
) -> Iterator[None]:
    """Exclude all other writers of a path until the block ends; blocks may nest within one thread.

    Args:
        target: the path to be written; its folder is created if needed.
        wait_seconds: how long to wait for another writer; 0 tries once.
        error: the exception to raise.
        refusal: its message; None names the writing process and the time waited.
    Raises:
        EmbtuneError: of the type given; another process or thread is writing to it.
        OSError: the folder cannot be written.
    """
    target = target.resolve()
    key = (str(target), threading.get_ident())
    held = _held.get(key)
    if held is None:
        lock = target.with_name(hidden_name(target.name, ".lock"))
        with naming(target, lock):
            target.parent.mkdir(parents=True, exist_ok=True)
            held = _held[key] = _Held(_wait(lock, target, wait_seconds, error, refusal), 0)
    else:
        lock = None
    held.depth += 1
    try:
        yield
    finally:
        held.depth -= 1
        if lock is not None and _held.get(key) is held:  # false in a child that was forked inside the block
            del _held[key]
            _let_go(lock, held.descriptor)


def _wait(lock: Path, target: Path, wait_seconds: float, error: type[EmbtuneError], refusal: str | None) -> int:
    """Acquire a lock, logging a longer wait; return its descriptor."""
    started, pause, said = time.monotonic(), _PAUSES[0], False
    while (descriptor := _try(lock)) is None:
        waited = time.monotonic() - started
        if waited >= wait_seconds:
            message = f"another process{_holder(lock)} has been writing {target} for more than {wait_seconds:g} seconds"
            raise error(refusal or f"{message}; wait until it has ended, then try again")
        if not said and waited >= _SAY_AFTER_SECONDS:
            said = True
            _log.warning(
                "waiting for another process%s that is writing %s, for at most %g seconds", _holder(lock), target, wait_seconds
            )
        time.sleep(min(pause, wait_seconds - waited))
        pause = min(pause * 1.5, _PAUSES[1])
    return descriptor


def _try(lock: Path) -> int | None:
    """Try to acquire a lock once, retrying while its file is being removed; return None if another process holds it."""
    while True:
        descriptor = _open(lock)
        try:
            lock_descriptor(descriptor)
            current = _is_current(descriptor, lock)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:
            os.close(descriptor)
            raise
        if current:
            with contextlib.suppress(OSError):  # only for messages
                os.ftruncate(descriptor, 0)
                os.write(descriptor, str(os.getpid()).encode("ascii"))
            return descriptor
        os.close(descriptor)


def _open(lock: Path) -> int:
    flags = OPEN_FLAGS
    try:
        return os.open(lock, flags | os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        # Another user's lock file in a shared folder: read access is enough to lock it.
        if error.errno == errno.EACCES:
            with contextlib.suppress(OSError):
                return os.open(lock, flags | os.O_RDONLY)
        raise


def _is_current(descriptor: int, lock: Path) -> bool:
    try:
        there = lock.lstat()
    except FileNotFoundError:
        return False
    mine = os.fstat(descriptor)
    return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)


def _let_go(lock: Path, descriptor: int) -> None:
    try:
        with contextlib.suppress(OSError):
            if _is_current(descriptor, lock):  # otherwise its folder was replaced, and the file with it
                lock.unlink()
    finally:
        os.close(descriptor)


def _holder(lock: Path) -> str:
    with contextlib.suppress(OSError, ValueError):
        return f" ({int(lock.read_text(encoding='ascii'))})"
    return ""


def _forget() -> None:
    """In a forked child, close inherited lock descriptors: they would keep the parent's locks beyond its end."""
    for held in _held.values():
        with contextlib.suppress(OSError):
            os.close(held.descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
