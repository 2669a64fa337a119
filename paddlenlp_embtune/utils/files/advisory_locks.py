"""Locks of open files that their process holds until it ends: ``flock`` on POSIX, ``msvcrt`` on Windows."""

from __future__ import annotations

import importlib
import os
from typing import Any

__all__ = ["OPEN_FLAGS", "lock_descriptor"]

OPEN_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NOINHERIT", 0)
"""For ``os.open``: children do not inherit the file, and no link is followed."""

_fcntl: Any
try:
    _fcntl = importlib.import_module("fcntl")
except ImportError:
    _fcntl = None


def lock_descriptor(descriptor: int) -> None:
    """Lock a file for this process.

    Raises:
        BlockingIOError: another one holds it.
        OSError: the file system has no locks.
    """
    if _fcntl is not None:
        _fcntl.flock(descriptor, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
        return
    windows: Any = importlib.import_module("msvcrt")
    try:
        windows.locking(descriptor, windows.LK_NBLCK, 1)
    except PermissionError as error:
        raise BlockingIOError(*error.args) from None
