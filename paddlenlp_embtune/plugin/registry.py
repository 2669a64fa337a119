"""What plugins have registered, by kind and name.

Rooms look up models, losses and the rest here without importing the rooms that define them. What loads the plugins is given
by the package's ``__init__`` (``plugin/_loader.py``), and called on the first lookup.
"""

from __future__ import annotations

import dataclasses
import importlib
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from paddlenlp_embtune.errors import EmbtuneError, MissingDependencyError, PluginError, expected_names
from paddlenlp_embtune.plugin._loader import load
from paddlenlp_embtune.plugin.contracts import Guarded, breach, cause
from paddlenlp_embtune.utils.json_yaml import shorten

if TYPE_CHECKING:
    import pluggy

__all__ = ["BUILTIN", "Entry", "Lazy", "Registry", "current", "load", "use"]

T = TypeVar("T")

BUILTIN = "builtin"
"""The owner of the built-in features."""


@dataclasses.dataclass(frozen=True)
class Lazy:
    """Something to import when it is first asked for, so that listing plugins loads no Paddle.

    Args:
        path: ``package.module:name``.
    """

    path: str

    def resolve(self) -> Any:
        """Import the module and return what it names."""
        module, _, name = self.path.partition(":")
        return getattr(importlib.import_module(module), name)


@dataclasses.dataclass(frozen=True)
class Entry:
    """One registered thing: its kind and name, the object, and the plugin that brought it."""

    kind: str
    name: str
    value: Any
    owner: str


class Registry:
    """Registered things by kind and name, and the hooks of the plugins that brought them."""

    def __init__(self, manager: pluggy.PluginManager) -> None:
        self.manager = manager
        self._entries: dict[tuple[str, str], Entry] = {}

    def add(self, entry: Entry) -> None:
        """Add one entry.

        Raises:
            PluginError: the name is taken; both owners are named.
        """
        key = (entry.kind, entry.name)
        if (taken := self._entries.get(key)) is not None:
            raise PluginError(
                f"{entry.kind} {entry.name!r} is registered twice, by {taken.owner} and by {entry.owner}; "
                "rename one, or block one of the two plugins"
            )
        self._entries[key] = entry

    def get(self, kind: str, name: str) -> Any:
        """Return what is registered under a name.

        Raises:
            PluginError: nothing is; the message lists what there is.
        """
        entry = self._entries.get((kind, name))
        if entry is None:
            raise PluginError(
                f"no {kind} is called {name!r}; {expected_names(name, self.names(kind))}; see them with: embtune plugins"
            )
        if not isinstance(entry.value, Lazy):
            return entry.value
        try:
            return entry.value.resolve()
        except MissingDependencyError:
            raise
        except (ImportError, AttributeError, ValueError) as error:
            raise PluginError(
                f"{kind} {name!r} of the plugin {entry.owner!r} cannot be loaded from {entry.value.path!r}: "
                f"{type(error).__name__}: {error}"
            ) from error

    def owner(self, kind: str, name: str) -> str:
        """Return the name of the plugin that registered something; empty where nothing has that name."""
        entry = self._entries.get((kind, name))
        return entry.owner if entry is not None else ""

    def call(self, hook: str, **arguments: Any) -> list[Any]:
        """Call a hook on every plugin that implements it, the one registered last first, and return what they return.

        Raises:
            PluginError: a plugin raised; the message names it. Errors of this package pass through as they are.
        """
        return [found for _, found in self.answers(hook, **arguments)]

    def answers(self, hook: str, **arguments: Any) -> list[tuple[str, Any]]:
        """Call a hook as :meth:`call` does, and return what each plugin returned with the name of the plugin."""
        results = []
        for implementation in reversed(getattr(self.manager.hook, hook).get_hookimpls()):
            wanted = {name: arguments[name] for name in implementation.argnames}
            owner = implementation.plugin_name
            try:
                results.append((owner, implementation.function(**wanted)))
            except EmbtuneError:
                raise
            except Exception as error:
                raise PluginError(
                    f"{hook} of the plugin {owner!r} raised {cause(error)}; correct the plugin, or leave it out with: embtune "
                    f"--block {owner}"
                ) from error
        return results

    def guarded(self, kind: str, name: str) -> Any:
        """Return a registered callable; an error or a wrong result of a plugin's names the plugin.

        Raises:
            PluginError: nothing has that name.
        """
        value, entry = self.get(kind, name), self._entries[kind, name]
        return value if entry.owner == BUILTIN else Guarded(entry, value)

    def all_guarded(self, kind: str) -> Mapping[str, Any]:
        """Return everything of a kind by name, each as :meth:`guarded` returns it."""
        return {name: self.guarded(kind, name) for name in self.names(kind)}

    def all_instances(self, kind: str, expected: type[T]) -> Mapping[str, T]:
        """Return everything of a kind by name.

        Raises:
            PluginError: one is not of the class that is expected.
        """
        found = self.of_kind(kind)
        for name, value in found.items():
            if not isinstance(value, expected):
                raise self.breach(kind, name, f"is {shorten(value)}")
        return found

    def breach(self, kind: str, name: str, what: str) -> PluginError:
        """Return the error about something that breaks its contract; see :func:`paddlenlp_embtune.plugin.contracts.breach`."""
        return breach(self._entries[kind, name], what)

    def blame(self, error: BaseException) -> PluginError | None:
        """Return the error to raise for one that came from the code of a plugin; None if it did not."""
        owners = self._modules()
        step, owner = error.__traceback__, None
        while step is not None:
            owner = owners.get(str(step.tb_frame.f_globals.get("__name__")), owner)
            step = step.tb_next
        if owner is None:
            return None
        return PluginError(
            f"code of the plugin {owner!r} raised {cause(error)}; correct the plugin, or leave it out with: embtune --block "
            f"{owner}"
        )

    def _modules(self) -> dict[str, str]:
        """The modules that plugins' hooks and registered things stand in, with the plugins' names."""
        found: dict[str, str] = {}
        for name, plugin in self.manager.list_name_plugin():
            if plugin is None or name == BUILTIN:
                continue
            hooks = [
                implementation
                for caller in self.manager.get_hookcallers(plugin) or ()
                for implementation in caller.get_hookimpls()
            ]
            modules = {each.function.__module__ for each in hooks if each.plugin_name == name}
            values = [entry.value for entry in self._entries.values() if entry.owner == name]
            modules |= {
                value.path.partition(":")[0] if isinstance(value, Lazy) else value.__module__
                for value in values
                if hasattr(value, "__module__")
            }
            found |= dict.fromkeys(modules, name)
        return found

    def names(self, kind: str) -> tuple[str, ...]:
        """Return the names of a kind in the order of registration."""
        return tuple(name for entry_kind, name in self._entries if entry_kind == kind)

    def of_kind(self, kind: str) -> Mapping[str, Any]:
        """Return everything of a kind by name."""
        return {name: self.get(kind, name) for name in self.names(kind)}

    def entries(self) -> tuple[Entry, ...]:
        """Return everything, in the order of registration."""
        return tuple(self._entries.values())


_lock = threading.RLock()
_current: Registry | None = None


def current() -> Registry:
    """Return the registry in force; the first call loads the built-in features and all installed plugins."""
    global _current
    with _lock:
        if _current is None:
            _current = load()
        return _current


def use(registry: Registry | None) -> Registry | None:
    """Put another registry in force and return the former one; None loads again on the next lookup."""
    global _current
    with _lock:
        former, _current = _current, registry
        return former
