"""Resetting what a forked process inherits: locks held by threads that do not exist in the child."""

from __future__ import annotations

import os
import weakref
from typing import Protocol

__all__ = ["Forkable", "keep_forever", "watch_forks"]


class Forkable(Protocol):
    """An object to be reset in a forked process before anything else runs."""

    def after_fork(self) -> None:
        """Replace locks and mark what can no longer be used; must be quick and take no lock."""


_watched: weakref.WeakSet[Forkable] = weakref.WeakSet()
_kept: list[object] = []
_registered = False


def watch_forks(watched: Forkable) -> None:
    """Call ``after_fork`` of an object in the child after every ``os.fork``, as long as the object lives."""
    global _registered
    if not _registered and hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_tell)
        _registered = True
    _watched.add(watched)


def keep_forever(thing: object) -> None:
    """Never destroy an object: in a forked process, its destructor would wait for threads that do not exist."""
    import ctypes

    _kept.append(thing)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))  # survives interpreter shutdown, which clears the list


def _tell() -> None:
    for watched in list(_watched):
        watched.after_fork()
