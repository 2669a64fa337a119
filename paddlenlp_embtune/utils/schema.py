"""Conversion between frozen dataclasses and plain mappings, shared by recipes and bundle manifests."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast

from paddlenlp_embtune.errors import EmbtuneError, RecipeError, any_of, expected_names
from paddlenlp_embtune.utils.json_yaml import MAX_DEPTH, shorten

__all__ = [
    "MAX_COUNT",
    "build",
    "check_types",
    "convert",
    "differences",
    "require",
    "require_at_most",
    "require_name",
    "to_plain",
]

MAX_COUNT = 2**31 - 1
"""The maximum of any count in a recipe that has no smaller limit."""

_MAX_INTEGER = 2**63 - 1
_MAX_NUMBER = 1e30
_MAX_VALUES = 1_000_000
T = TypeVar("T")


def build(cls: type[T], value: object, *, where: str, error: type[EmbtuneError]) -> T:
    """Build a dataclass from a mapping, rejecting unknown keys and values of the wrong type.

    Args:
        cls: a dataclass; nested dataclasses, tuples, mappings and optional fields are supported.
        value: the mapping, as parsed from YAML or JSON.
        where: the path of this value in its document, for messages.
        error: the exception to raise.
    Raises:
        EmbtuneError: of the type given, naming the key, the expected type or range, and the value.
    """
    if not isinstance(value, Mapping):
        raise error(f"{where} must be a mapping of keys to values, got {type(value).__name__} {shorten(value)}")
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cast(Any, cls))}
    for key in value:
        if key not in fields:
            raise error(f"{where} has no key {shorten(key)}; {expected_names(_text(key), fields)}")
    required = {name for name, field in fields.items() if _is_required(field)}
    if missing := sorted(required - set(value)):
        raise error(f"{where} is missing the key {missing[0]!r}; required: {', '.join(sorted(required))}")
    arguments = {key: _convert(hints[key], item, f"{where}.{key}", error) for key, item in value.items()}
    return cls(**arguments)


def convert(hint: Any, value: object, *, where: str, error: type[EmbtuneError]) -> Any:
    """Check one value against a type annotation and convert it, by the rules of :func:`build`.

    Args:
        hint: the annotation; types that cannot be checked against a plain value, such as callables, are accepted.
        value: from YAML, JSON or Python code.
        where: the path of this value in its document, for messages.
        error: the exception to raise.
    Raises:
        EmbtuneError: of the type given; the value has the wrong type, is not finite, or exceeds 2**63 or 1e30.
    """
    return _convert(hint, value, where, error)


def check_types(value: Any, *, where: str, error: type[EmbtuneError]) -> None:
    """Check and convert the fields of a dataclass constructed by Python code, by the rules of :func:`build`.

    Meant for ``__post_init__``: lists become tuples, and the string ``"5e-5"`` becomes a number.
    """
    hints = typing.get_type_hints(type(value))
    for field in dataclasses.fields(value):
        given = getattr(value, field.name)
        object.__setattr__(value, field.name, _convert(hints[field.name], given, f"{where}.{field.name}", error))


def require(condition: bool, name: str, value: object, expected: str, *, error: type[EmbtuneError] = RecipeError) -> None:
    """Reject a value unless the condition holds; numbers that are not finite are never valid.

    Args:
        condition: whether the value is valid.
        name: of the setting, such as ``train.batch_size``.
        value: of the setting.
        expected: completes the message after "must be".
        error: the exception to raise.
    Raises:
        EmbtuneError: of the class ``error``, naming the value and the expectation.
    """
    if not condition or (isinstance(value, float) and not math.isfinite(value)):
        raise error(f"{name} must be {expected}, got {shorten(value)}")


def require_at_most(
    name: str, value: float | None, maximum: float = MAX_COUNT, *, error: type[EmbtuneError] = RecipeError
) -> None:
    """Reject a number above a maximum; None passes.

    Raises:
        EmbtuneError: of the class ``error``, naming the value and the maximum.
    """
    if value is not None and not value <= maximum:
        bound = f"{maximum:,}" if isinstance(maximum, int) else f"{maximum:g}"
        raise error(f"{name} must be at most {bound}, got {shorten(value)}")


def require_name(name: str, value: str, allowed: Sequence[str], *, error: type[EmbtuneError] = RecipeError) -> None:
    """Reject a name that is not among those allowed.

    Raises:
        EmbtuneError: of the class ``error``, suggesting the closest name.
    """
    if value not in allowed:
        raise error(f"{name} is {shorten(value)}; {expected_names(value, allowed)}")


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
    """Compare two plain values; return (path, old, new) for every leaf that differs, with None if one of them lacks it."""
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


def _text(value: object) -> str:
    return value if isinstance(value, str) else shorten(value)


def _convert(hint: Any, value: Any, where: str, error: type[EmbtuneError]) -> Any:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return _convert_union(hint, value, where, error)
    if dataclasses.is_dataclass(hint):
        if isinstance(value, cast(type, hint)):
            return value
        return build(cast(type, hint), value, where=where, error=error)
    if origin is typing.Annotated:
        return _convert(typing.get_args(hint)[0], value, where, error)
    if origin is typing.Literal:
        return _convert_choice(typing.get_args(hint), value, where, error)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _convert_mapping(hint, value, where, error)
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return _convert_sequence(hint, value, where, error)
    if hint in (Any, object):
        _check_plain(value, where, error)
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


def _convert_choice(choices: tuple[Any, ...], value: Any, where: str, error: type[EmbtuneError]) -> Any:
    if not any(value == choice and type(value) is type(choice) for choice in choices):
        raise error(f"{where} must be {any_of([repr(choice) for choice in choices])}, got {shorten(value)}")
    return value


def _convert_mapping(hint: Any, value: Any, where: str, error: type[EmbtuneError]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise error(f"{where} must be a mapping, got {shorten(value)}")
    for key in value:
        if isinstance(key, bool) or not isinstance(key, (str, int)):
            raise error(f"{where} has the key {shorten(key)}, which must be a string{_quoting(key)}")
    item_hint = (*typing.get_args(hint), Any, Any)[1]
    return {_text(key): _convert(item_hint, item, f"{where}.{_text(key)[:80]}", error) for key, item in value.items()}


def _convert_sequence(hint: Any, value: Any, where: str, error: type[EmbtuneError]) -> Any:
    """Convert a list to the annotated type: a homogeneous tuple, a fixed-length tuple, or a list."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise error(f"{where} must be a list, got {shorten(value)}; write it as [a, b]")
    hints = typing.get_args(hint)
    is_tuple = typing.get_origin(hint) is tuple
    if is_tuple and ... not in hints and len(value) != len(hints):
        raise error(f"{where} must be a list of {len(hints)} values, got {len(value)}")
    of_each = hints if is_tuple and ... not in hints else hints[:1] * len(value)
    items = [
        _convert(item_hint, item, f"{where}[{index}]", error)
        for index, (item_hint, item) in enumerate(zip(of_each, value, strict=True))
    ]
    return tuple(items) if is_tuple else items


def _convert_scalar(hint: Any, value: Any, where: str, error: type[EmbtuneError]) -> Any:
    if hint is bool or isinstance(value, bool):
        if hint is bool and isinstance(value, bool):
            return value
    elif hint is float:
        if (number := _number(value, where, error)) is not None:
            return number
    elif hint in (int, str, types.NoneType, None):
        if isinstance(value, hint or types.NoneType):
            if isinstance(value, int) and abs(value) > _MAX_INTEGER:
                raise error(f"{where} must be below 2**63, got a number of {value.bit_length()} bits")
            return value
    elif _fits(hint, value):
        return value
    raise error(f"{where} must be {_name_of(hint)}, got {type(value).__name__} {shorten(value)}{_quoting(value, hint)}")


def _number(value: Any, where: str, error: type[EmbtuneError]) -> float | None:
    """Return a value as a finite number; None if it is not a number."""
    # YAML 1.1 reads 5e-5, without a decimal point, as a string.
    if not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    except OverflowError:  # an integer of hundreds of digits
        number = math.inf
    if not abs(number) <= _MAX_NUMBER:
        raise error(f"{where} must be a finite number, at most {_MAX_NUMBER:g}, got {type(value).__name__} {shorten(value)}")
    return number


def _fits(hint: Any, value: Any) -> bool:
    """Return whether a value is an instance of a non-plain class; an annotation that is not a class accepts anything."""
    if hint in (list, tuple):
        return isinstance(value, (list, tuple))
    try:
        return isinstance(value, hint)
    except TypeError:
        return True


def _check_plain(value: Any, where: str, error: type[EmbtuneError]) -> None:
    """Reject an arbitrary value that nests too deeply, contains itself, or is too large."""
    holders = (Mapping, list, tuple)
    level, depth, seen = [value] if isinstance(value, holders) else [], 1, 0
    while level:
        if depth > MAX_DEPTH:
            raise error(f"{where} must nest at most {MAX_DEPTH} levels deep and not contain itself; flatten it")
        held = [item for holder in level for item in (holder.values() if isinstance(holder, Mapping) else holder)]
        if (seen := seen + len(held)) > _MAX_VALUES:
            raise error(f"{where} must have at most {_MAX_VALUES:,} values, got more; remove some")
        level = [item for item in held if isinstance(item, holders)]
        depth += 1


def _quoting(value: Any, hint: Any = str) -> str:
    """Explain how to write a string that YAML reads as another type."""
    if hint is not str or not (value is None or isinstance(value, (bool, int, float))):
        return ""
    return "; YAML reads unquoted yes, no, on, off, null and numbers as such: put the string in quotes"


def _name_of(hint: Any) -> str:
    names = {bool: "true or false", float: "a number", int: "a whole number", str: "a string"}
    return names.get(hint, str(hint))
