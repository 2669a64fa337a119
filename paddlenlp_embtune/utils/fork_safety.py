"""Resetting what a forked process inherits: locks held by threads that do not exist in the child."""

from __future__ import annotations

import os
import weakref
from typing import Protocol

__all__ = ["Forkable", "keep_forever", "watch_forks"]


class Forkable(Protocol):
    """Run in a forked process before anything else does."""

    def after_fork(self) -> None:
        """Set locks anew, and note what cannot be used any more; quick, and without taking a lock."""


_watched: weakref.WeakSet[Forkable] = weakref.WeakSet()
_kept: list[object] = []
_registered = False


def watch_forks(watched: Forkable) -> None:
    """Have an object told after every ``os.fork``, in the child, as long as it lives."""
    global _registered
    if not _registered and hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_tell)
        _registered = True
    _watched.add(watched)


def keep_forever(thing: object) -> None:
    """Never destroy an object: in a forked process, its destructor would wait for threads that are not there."""
    import ctypes

    _kept.append(thing)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))  # for the end of the interpreter, which empties the list


def _tell() -> None:
    for watched in list(_watched):
        watched.after_fork()
