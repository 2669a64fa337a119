"""Frozen dataclasses from plain mappings and back: one reader for recipes and bundle manifests."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast

from paddlenlp_embtune.errors import EmbtuneError, RecipeError, legal_names

__all__ = ["build", "check_types", "differences", "require", "to_plain"]

T = TypeVar("T")


def build(cls: type[T], value: object, *, where: str, error: type[EmbtuneError]) -> T:
    """Build a dataclass from a mapping, refusing unknown keys and values of the wrong kind.

    Args:
        cls: a dataclass; nested dataclasses, tuples, mappings and optional fields are followed.
        value: the mapping, as YAML or JSON gave it.
        where: the path of this value in its document, for messages.
        error: the exception to raise.
    Raises:
        EmbtuneError: of the type given, naming the key, what is legal and the value seen.
    """
    if not isinstance(value, Mapping):
        raise error(f"{where} must be a mapping of keys to values, not {type(value).__name__} {value!r}")
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cast(Any, cls))}
    for key in value:
        if key not in fields:
            raise error(f"{where} has no key {key!r}; {legal_names(str(key), fields)}")
    required = {name for name, field in fields.items() if _is_required(field)}
    if missing := sorted(required - set(value)):
        raise error(f"{where} lacks the key {missing[0]!r}; required: {', '.join(sorted(required))}")
    arguments = {key: _convert(hints[key], item, f"{where}.{key}", error) for key, item in value.items()}
    return cls(**arguments)


def check_types(value: Any, *, where: str, error: type[EmbtuneError]) -> None:
    """Check and convert the fields of a dataclass that Python code constructed, by the rules of :func:`build`.

    Meant for ``__post_init__``; lists become tuples there, and 5e-5 given as a text becomes a number.
    """
    hints = typing.get_type_hints(type(value))
    for field in dataclasses.fields(value):
        given = getattr(value, field.name)
        object.__setattr__(value, field.name, _convert(hints[field.name], given, f"{where}.{field.name}", error))


def require(condition: bool, name: str, value: object, legal: str, *, error: type[EmbtuneError] = RecipeError) -> None:
    """Refuse a value unless the condition holds; numbers that are not finite are never legal.

    Raises:
        EmbtuneError: of the class ``error``, naming the value and what is legal.
    """
    if not condition or (isinstance(value, float) and not math.isfinite(value)):
        raise error(f"{name} is {value!r}; legal: {legal}")


def to_plain(value: Any) -> Any:
    """Turn dataclasses and tuples into dictionaries and lists that YAML and JSON can hold."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    return value


def differences(old: Any, new: Any, *, where: str = "") -> list[tuple[str, Any, Any]]:
    """Compare two plain values; return (path, old, new) for every leaf that differs, with None for what one of them lacks."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = dict.fromkeys([*old, *new])
        pairs = [(str(key), old.get(key), new.get(key)) for key in keys]
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = [(str(index), a, b) for index, (a, b) in enumerate(zip(old, new, strict=True))]
    else:
        return [] if old == new and type(old) is type(new) else [(where, old, new)]
    return [row for key, a, b in pairs for row in differences(a, b, where=f"{where}.{key}" if where else key)]


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _convert(hint: Any, value: Any, where: str, error: type[EmbtuneError]) -> Any:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return _convert_union(hint, value, where, error)
    if dataclasses.is_dataclass(hint):
        if isinstance(value, cast(type, hint)):
            return value
        return build(cast(type, hint), value, where=where, error=error)
    if origin is tuple:
        return _convert_tuple(hint, value, where, error)
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise error(f"{where} must be a mapping, not {value!r}")
        item_hint = typing.get_args(hint)[1]
        return {str(key): _convert(item_hint, item, f"{where}.{key}", error) for key, item in value.items()}
    if hint in (Any, object):
        return value
    return _convert_scalar(hint, value, where, error)


def _convert_union(hint: Any, value: Any, where: str, error: type[EmbtuneError]) -> Any:
    choices = [choice for choice in typing.get_args(hint) if choice is not type(None)]
    if value is None and type(None) in typing.get_args(hint):
        return None
    for choice in choices[:-1]:
        try:
            return _convert(choice, value, where, error)
        except error:
            continue
    return _convert(choices[-1], value, where, error)


def _convert_tuple(hint: Any, value: Any, where: str, error: type[EmbtuneError]) -> tuple[Any, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise error(f"{where} must be a list, not {value!r}; write it as [a, b]")
    item_hint = typing.get_args(hint)[0]
    return tuple(_convert(item_hint, item, f"{where}[{index}]", error) for index, item in enumerate(value))


def _convert_scalar(hint: Any, value: Any, where: str, error: type[EmbtuneError]) -> Any:
    if hint is bool or isinstance(value, bool):
        if hint is bool and isinstance(value, bool):
            return value
    elif hint is float:
        # YAML 1.1 reads 5e-5, without a point, as a string.
        if isinstance(value, (int, float, str)):
            try:
                return float(value)
            except ValueError:
                pass
    elif isinstance(value, hint):
        return value
    raise error(f"{where} must be {_name_of(hint)}, not {type(value).__name__} {value!r}")


def _name_of(hint: Any) -> str:
    names = {bool: "true or false", float: "a number", int: "a whole number", str: "a text"}
    return names.get(hint, str(hint))
