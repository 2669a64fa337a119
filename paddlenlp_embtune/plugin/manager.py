"""Loading plugins: the built-in one, installed ones, and those passed as objects."""

from __future__ import annotations

import importlib.metadata
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import pluggy

from paddlenlp_embtune.config import Domain
from paddlenlp_embtune.errors import PluginError, expected_names
from paddlenlp_embtune.plugin import spec
from paddlenlp_embtune.plugin.contracts import CONTRACTS, cause
from paddlenlp_embtune.plugin.registry import BUILTIN, Entry, Registry
from paddlenlp_embtune.utils.json_yaml import shorten

__all__ = ["BUILTIN", "hook_names", "installed_names", "load", "owners"]

_REGISTERING = {hook: kind for kind, (hook, _) in CONTRACTS.items()}


def load(builtin: object, *, plugins: Iterable[object] = (), block: Iterable[str] = (), installed: bool = True) -> Registry:
    """Load plugins and return what they registered.

    Args:
        builtin: the plugin with the built-in features.
        plugins: modules or objects with hook implementations, beside the installed ones.
        block: names of plugins that must not be loaded.
        installed: also load the plugins of the entry-point group ``paddlenlp_embtune``.
    Raises:
        PluginError: a plugin cannot be loaded, breaks a hook's signature, implements an unknown hook or one in a way that
            would not be honoured, raises while registering, or registers a name that is taken.
    """
    manager = pluggy.PluginManager(spec.PROJECT)
    manager.add_hookspecs(spec)
    for name in block:
        manager.set_blocked(name)
    _register(manager, builtin, BUILTIN)
    if installed:
        _load_installed(manager)
    for plugin in plugins:
        _register(manager, plugin, None)
    _check_names(manager)
    _check_implementations(manager)
    registry = Registry(manager)
    for hook, kind in _REGISTERING.items():
        _collect(registry, hook, kind)
    return registry


def installed_names() -> tuple[str, ...]:
    """Return the names of the plugins that are installed, whether they can be loaded or not."""
    return tuple(sorted({entry.name for entry in importlib.metadata.entry_points(group=spec.PROJECT)}))


def hook_names() -> tuple[str, ...]:
    """Return the names of all hooks."""
    return tuple(sorted(name for name in vars(spec) if name.startswith("embtune_")))


def owners(manager: pluggy.PluginManager) -> list[tuple[str, str, tuple[str, ...]]]:
    """Return (name, distribution and version, hooks implemented) for every loaded plugin."""
    distributions = {id(plugin): dist for plugin, dist in manager.list_plugin_distinfo()}
    rows = []
    for name, plugin in manager.list_name_plugin():
        if plugin is None:
            continue
        dist = distributions.get(id(plugin))
        source = f"{dist.project_name} {dist.version}" if dist is not None else "built in" if name == BUILTIN else ""
        hooks = tuple(sorted(caller.name for caller in manager.get_hookcallers(plugin) or ()))
        rows.append((name, source, hooks))
    return rows


def _load_installed(manager: pluggy.PluginManager) -> None:
    for entry in importlib.metadata.entry_points(group=spec.PROJECT):
        try:
            manager.load_setuptools_entrypoints(spec.PROJECT, name=entry.name)
        except pluggy.PluginValidationError as error:
            raise PluginError(_explain(error)) from error
        except Exception as error:
            raise PluginError(
                f"the plugin {entry.name!r} ({entry.value}) cannot be loaded: {type(error).__name__}: {error}; "
                "fix it, uninstall it, or block it"
            ) from error


def _register(manager: pluggy.PluginManager, plugin: object, name: str | None) -> None:
    try:
        manager.register(plugin, name=name)
    except pluggy.PluginValidationError as error:
        raise PluginError(_explain(error)) from error
    except ValueError as error:
        raise PluginError(f"the plugin {name or plugin!r} is loaded twice: {error}") from error


def _explain(error: pluggy.PluginValidationError) -> str:
    """Describe a rejected signature, beside the one that the hook has."""
    hook = next((name for name in hook_names() if name in str(error)), None)
    if hook is None:
        return str(error)
    return f"{' '.join(str(error).split())}; expected {_signature(hook)}, or fewer of these arguments"


def _signature(hook: str) -> str:
    return f"{hook}({', '.join(inspect.signature(getattr(spec, hook)).parameters)})"


def _check_names(manager: pluggy.PluginManager) -> None:
    """Refuse hook implementations that no specification knows."""
    for name, plugin in manager.list_name_plugin():
        for attribute in dir(plugin) if plugin is not None else ():
            unmarked = attribute.startswith("embtune_") and manager.parse_hookimpl_opts(plugin, attribute) is None
            if unmarked and callable(getattr(plugin, attribute, None)):
                raise PluginError(
                    f"the plugin {name!r} has a function {attribute} that is not marked with "
                    "paddlenlp_embtune.hookimpl, so it would never be called; mark it, or rename it"
                )
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        unknown = str(error).split("'")[1] if "'" in str(error) else ""
        raise PluginError(f"{error}; {expected_names(unknown, hook_names())}") from error


def _check_implementations(manager: pluggy.PluginManager) -> None:
    """Refuse implementations that would be called otherwise than their plugin expects.

    Raises:
        PluginError: one is a wrapper, a generator or a coroutine, or has arguments that are never passed.
    """
    for name in hook_names():
        for implementation in getattr(manager.hook, name).get_hookimpls():
            if problem := _problem(implementation):
                raise PluginError(
                    f"{name} of the plugin {implementation.plugin_name!r} {problem}; expected: a plain function "
                    f"{_signature(name)}, or with fewer of these arguments"
                )


def _problem(implementation: pluggy.HookImpl) -> str | None:
    function = implementation.function
    if implementation.wrapper or implementation.hookwrapper:
        return "is a wrapper, and hooks are called one by one, with nothing to wrap"
    if inspect.isgeneratorfunction(function) or inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return "is a generator or a coroutine, which would never be run"
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # of some built-in functions
        return None
    for parameter in parameters:
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            return f"has the argument {parameter}, and arguments are passed by their names"
        if parameter.name not in implementation.argnames:
            why = "has a default" if parameter.default is not parameter.empty else "can only be passed by name"
            return f"has the argument {parameter.name!r}, which {why} and would never be passed"
    return None


def _collect(registry: Registry, hook: str, kind: str) -> None:
    caller = getattr(registry.manager.hook, hook)
    for implementation in caller.get_hookimpls():
        owner = implementation.plugin_name
        try:
            found = implementation.function()
        except Exception as error:
            raise PluginError(f"{hook} of the plugin {owner!r} raised {cause(error)}; {_way_out(owner)}") from error
        for name, value in _named(found, hook, owner):
            registry.add(Entry(kind, name, value, owner))


def _named(found: Any, hook: str, owner: str) -> list[tuple[str, Any]]:
    kind = _REGISTERING[hook]
    if kind == "domain":
        if isinstance(found, (list, tuple)) and all(isinstance(item, Domain) for item in found):
            return [(item.name, item) for item in found]
        expected = "a list of Domain"
    else:
        if isinstance(found, Mapping) and all(isinstance(name, str) and name for name in found):
            return list(found.items())
        expected = f"a mapping from names to what each stands for: {CONTRACTS[kind][1]}"
    raise PluginError(f"{hook} of the plugin {owner!r} returned {shorten(found)}; expected: {expected}; {_way_out(owner)}")


def _way_out(owner: str) -> str:
    return f"correct the plugin, or leave it out with: embtune --block {owner}"
