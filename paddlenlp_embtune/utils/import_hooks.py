"""Callbacks that run as soon as a module is imported."""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.util
import sys
import types
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from typing import Any

__all__ = ["OtherFinders", "after_import", "find_spec"]


class OtherFinders:
    """What a finder asks when it wants to change a module that others find."""

    def __init__(self) -> None:
        self._busy: set[str] = set()

    def find(self, fullname: str) -> ModuleSpec | None:
        """Find a module as Python does without the finder that asks; None while it asks for this very module."""
        if fullname in self._busy:
            return None
        self._busy.add(fullname)
        try:
            return importlib.util.find_spec(fullname)
        finally:
            self._busy.discard(fullname)


class _AfterImport(importlib.abc.MetaPathFinder):
    """Runs callbacks right after a module has been executed; otherwise transparent."""

    def __init__(self) -> None:
        self.callbacks: dict[str, list[Callable[[types.ModuleType], None]]] = {}
        self._others = OtherFinders()

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None) -> ModuleSpec | None:
        self._hand_over_finished(but=fullname)
        spec = self._others.find(fullname) if fullname in self.callbacks else None
        if spec is not None and spec.loader is not None and not isinstance(spec.loader, type):
            # The loaders of built-in and frozen modules are classes, shared by all such modules; those are reported later.
            self._watch(spec.loader)
        return spec

    def _hand_over_finished(self, *, but: str) -> None:
        """Call back for modules whose import began before they were watched and has finished since."""
        for name in [name for name in self.callbacks if name != but and _is_loaded(sys.modules.get(name))]:
            for callback in self.callbacks.pop(name):
                callback(sys.modules[name])

    def _watch(self, loader: Any) -> None:
        """Wrap ``exec_module`` of this one loader object; the loader itself stays the same."""
        execute = loader.exec_module

        def exec_module(module: types.ModuleType) -> None:
            execute(module)
            with contextlib.suppress(AttributeError):
                del loader.exec_module
            for callback in self.callbacks.pop(module.__name__, ()):
                callback(module)

        loader.exec_module = exec_module


def _is_loaded(module: types.ModuleType | None) -> bool:
    return module is not None and not getattr(module.__spec__, "_initializing", False)


_finder = _AfterImport()


def after_import(name: str, callback: Callable[[types.ModuleType], None]) -> None:
    """Call back with a module as soon as it has been imported; immediately if it is loaded already.

    A module that is in the middle of its import is passed on at the next import of another module.
    """
    module = sys.modules.get(name)
    if module is not None and _is_loaded(module):
        callback(module)
        return
    _finder.callbacks.setdefault(name, []).append(callback)
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def find_spec(fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None) -> ModuleSpec | None:
    """Find a module as Python does, and watch it if a callback is registered; for finders that run before ours."""
    return _finder.find_spec(fullname, path, target)
