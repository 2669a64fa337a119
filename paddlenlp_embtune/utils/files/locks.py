"""One lock for each place that is written, between processes and between threads.

The lock of ``FOLDER/NAME`` is ``flock`` on the hidden file ``FOLDER/.NAME.lock``, where ``FOLDER`` and ``NAME`` are those of
the resolved path: every spelling of a path, and every link to it, has the same lock, whether anything stands there or not. The
kernel lets go of it when its process ends, however it ends.

Who lets go of a lock removes its file first. So a file that was opened and then locked may be one that is removed by then: it
counts only if the path still names the same file; else the next try opens, or makes, the one that the path names now.

Reading takes no lock.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from paddlenlp_embtune.errors import EmbtuneError
from paddlenlp_embtune.utils.files.os_errors import naming

__all__ = ["WAIT_SECONDS", "exclusive_lock", "hidden_name"]

WAIT_SECONDS = 600.0
"""How long a writer waits for another one."""

_SAY_AFTER_SECONDS = 1.0
_PAUSES = (0.002, 0.2)
_MOST_BYTES_OF_NAME = 200
_log = logging.getLogger(__name__)


@dataclasses.dataclass
class _Held:
    descriptor: int
    depth: int


_held: dict[tuple[str, int], _Held] = {}
"""By resolved path and thread."""


def hidden_name(name: str, ending: str) -> str:
    """Return the name of a hidden sibling, which is short enough for a file system wherever ``name`` is."""
    content = os.fsencode(name)
    if len(content) > _MOST_BYTES_OF_NAME:
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
    """Keep all other writers from a place until the block ends; within one thread, blocks may be nested.

    Args:
        target: what is written; its folder is made if it is not there.
        wait_seconds: how long to wait for another writer; 0 tries once.
        error: the exception to raise.
        refusal: its message; None says who is writing, and for how long it was waited.
    Raises:
        EmbtuneError: of the type given; another process or thread is writing there.
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
        if lock is not None and _held.get(key) is held:  # not so in a child that was forked inside the block
            del _held[key]
            _let_go(lock, held.descriptor)


def _wait(lock: Path, target: Path, wait_seconds: float, error: type[EmbtuneError], refusal: str | None) -> int:
    """Acquire a lock, and say so where it takes a while; return its descriptor."""
    started, pause, said = time.monotonic(), _PAUSES[0], False
    while (descriptor := _try(lock)) is None:
        waited = time.monotonic() - started
        if waited >= wait_seconds:
            told = f"another process{_holder(lock)} has been writing {target} for more than {wait_seconds:g} seconds"
            raise error(refusal or f"{told}; wait until it has ended, and try again")
        if not said and waited >= _SAY_AFTER_SECONDS:
            said = True
            _log.warning(
                "waiting for another process%s that writes %s, at most %g seconds", _holder(lock), target, wait_seconds
            )
        time.sleep(min(pause, wait_seconds - waited))
        pause = min(pause * 1.5, _PAUSES[1])
    return descriptor


def _try(lock: Path) -> int | None:
    """Try to acquire a lock once, or as often as its file is removed meanwhile; None where another one holds it."""
    while True:
        descriptor = _open(lock)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
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
    flags = os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(lock, flags | os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        # Somebody else's, in a folder that both may write: reading is enough to lock it.
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
            if _is_current(descriptor, lock):  # else its folder has been replaced, and the file went with it
                lock.unlink()
    finally:
        os.close(descriptor)


def _holder(lock: Path) -> str:
    with contextlib.suppress(OSError, ValueError):
        return f" ({int(lock.read_text(encoding='ascii'))})"
    return ""


def _forget() -> None:
    """In a child: locks stay with the process that took them; a copy of their descriptors would keep them beyond its end."""
    for held in _held.values():
        with contextlib.suppress(OSError):
            os.close(held.descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_forget)
