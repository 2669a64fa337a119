"""Packages whose ``__init__`` runs when it is needed: a module deep inside a large package is imported without the rest."""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.abc
import importlib.util
import re
import sys
import threading
import types
from collections.abc import Callable, Collection, Iterator, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from paddlenlp_embtune.utils.import_hooks import OtherFinders

__all__ = ["deferring"]


@contextlib.contextmanager
def deferring(packages: Collection[str]) -> Iterator[None]:
    """While the block imports modules, leave the ``__init__`` of some packages for later.

    In the block, a name that is asked of such a package is looked up where its ``__init__`` would import it from. Behind the
    block, the ``__init__`` runs as soon as the package is asked for anything that it does not have yet, or a further module of
    it is imported: whoever imports these packages later finds all that they hold.

    Args:
        packages: names of packages; those that are loaded already stay as they are.
    """
    _finder.packages = frozenset(name for name in packages if name not in sys.modules)
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    _finder.open = True
    try:
        yield
    finally:
        _finder.packages, _finder.open = frozenset(), False


class _Package(types.ModuleType):
    """A package whose ``__init__`` has not run yet."""

    def __getattr__(self, name: str) -> Any:
        deferred = _finder.deferred.get(self.__name__)
        # Whoever walks through all modules, as unittest does, asks each for names such as __warningregistry__.
        walking = name.startswith("__") and deferred is not None and not deferred.mentions(name)
        if deferred is None or walking or deferred.running_in == threading.get_ident():
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        if _finder.open:
            value = deferred.look_up(name)
        else:
            _finder.run(self.__name__)
            value = getattr(self, name)
        return value

    def __dir__(self) -> list[str]:
        if not _finder.open:
            _finder.run(self.__name__)
        return list(vars(self))


class _Deferred:
    """What is known about a package without running its ``__init__``.

    Args:
        module: the package.
        execute: runs its ``__init__``.
    """

    def __init__(self, module: types.ModuleType, execute: Callable[[types.ModuleType], None]) -> None:
        self.module = module
        self.execute = execute
        self.running_in: int | None = None
        self._folder = Path(str(module.__file__)).parent
        self._origins: dict[str, str] = {}
        self._stars: list[str] = []
        self._source = Path(str(module.__file__)).read_bytes()
        for statement in ast.parse(self._source).body:
            self._read(statement)

    def mentions(self, name: str) -> bool:
        """Whether a special name may be among those that the ``__init__`` makes; a list of exports may always be."""
        return name == "__all__" or name.encode() in self._source

    def _read(self, statement: ast.stmt) -> None:
        """Note where names come from; plain values are set at once."""
        if isinstance(statement, ast.ImportFrom) and statement.level == 1 and statement.module:
            for alias in statement.names:
                if alias.name == "*":
                    self._stars.append(statement.module)
                elif alias.asname is None:
                    self._origins[alias.name] = statement.module
        elif isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant):
            for target in statement.targets:
                if isinstance(target, ast.Name):
                    setattr(self.module, target.id, statement.value.value)

    def look_up(self, name: str) -> Any:
        """Import a name from where the ``__init__`` would; of several modules that export all they have, from the last.

        Raises:
            AttributeError: none of them has it.
        """
        if name in self._origins:
            found = getattr(self._import(self._origins[name]), name)
        elif (origin := next((each for each in reversed(self._stars) if self._exports(each, name)), None)) is not None:
            found = getattr(self._import(origin), name)
        elif not name.startswith("__") and importlib.util.find_spec(f"{self.module.__name__}.{name}") is not None:
            return self._import(name)
        else:
            raise AttributeError(f"module {self.module.__name__!r} has no attribute {name!r}")
        setattr(self.module, name, found)
        return found

    def _import(self, name: str) -> Any:
        return importlib.import_module(f"{self.module.__name__}.{name}")

    def _exports(self, module: str, name: str) -> bool:
        """Whether ``from .module import *`` gives a name, by the source of that module."""
        place = self._folder.joinpath(*module.split("."))
        file = place.with_suffix(".py")
        source = (file if file.is_file() else place / "__init__.py").read_text(encoding="utf-8")
        if not re.search(rf"^(?:(?:class|def) {name}\b|{name}\s*=)", source, re.MULTILINE):
            return False
        for statement in ast.parse(source).body:
            if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__all__":
                return name in ast.literal_eval(statement.value)
        return not name.startswith("_")


class _Finder(importlib.abc.MetaPathFinder):
    """Finds packages to defer, and runs what was deferred when more of it is imported."""

    def __init__(self) -> None:
        self.packages: frozenset[str] = frozenset()
        self.open = False
        self.deferred: dict[str, _Deferred] = {}
        self._lock = threading.RLock()
        self._others = OtherFinders()

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None) -> ModuleSpec | None:
        if not self.open:
            return self._find_behind(fullname)
        spec = self._others.find(fullname) if fullname in self.packages else None
        if spec is None or spec.loader is None or spec.submodule_search_locations is None or not _is_source(spec):
            return spec
        loader: Any = spec.loader
        execute = loader.exec_module

        def exec_module(module: types.ModuleType) -> None:
            del loader.exec_module
            module.__class__ = _Package
            self.deferred[fullname] = _Deferred(module, execute)

        loader.exec_module = exec_module
        return spec

    def _find_behind(self, fullname: str) -> ModuleSpec | None:
        """Complete the package of a module that is imported behind the block; that may load this very module."""
        parts = fullname.split(".")
        parents = [".".join(parts[:count]) for count in range(1, len(parts))]
        waiting = [name for name in parents if name in self.deferred and self.deferred[name].running_in is None]
        if not waiting:
            return None
        self.run(waiting[0])
        module = sys.modules.get(fullname)
        if module is None:
            return None
        spec = importlib.util.spec_from_loader(fullname, _Loaded(module))
        # Python prefers the spec of a module that has turned up meanwhile, and would execute that module again.
        module.__spec__ = spec
        return spec

    def run(self, name: str) -> None:
        """Run the ``__init__`` of a package, those of the packages around it first."""
        with self._lock:
            parts = name.split(".")
            for count in range(1, len(parts) + 1):
                package = ".".join(parts[:count])
                deferred = self.deferred.get(package)
                if deferred is None or deferred.running_in is not None:
                    continue
                deferred.running_in = threading.get_ident()
                try:
                    deferred.execute(deferred.module)
                except BaseException:
                    deferred.running_in = None
                    raise
                deferred.module.__class__ = types.ModuleType
                del self.deferred[package]


class _Loaded(importlib.abc.Loader):
    """Hands out a module that has been loaded meanwhile."""

    def __init__(self, module: types.ModuleType) -> None:
        self._module, self._spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        return self._module

    def exec_module(self, module: types.ModuleType) -> None:
        module.__spec__ = self._spec


def _is_source(spec: ModuleSpec) -> bool:
    return spec.origin is not None and spec.origin.endswith(".py")


_finder = _Finder()
