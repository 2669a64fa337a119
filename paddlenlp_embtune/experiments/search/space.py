"""The space of a search: fields of a recipe, and what each of them may be."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import math
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from paddlenlp_embtune.config import Recipe
from paddlenlp_embtune.errors import RecipeError, expected_names
from paddlenlp_embtune.experiments.search._effective import check_options, effective
from paddlenlp_embtune.utils.json_yaml import parse_yaml, read_bounded, shorten

__all__ = ["Dimension", "Space"]

_MOST_BYTES = 1 << 20
_FIXED = {
    "seed": "every trial has the same seed",
    "domain": "every trial has the same labels",
    "data": "every trial has the same rows",
    "export": "nothing is exported before the search ends",
    "distill.answers": "it changes nothing",
    "train.checkpoint_seconds": "it changes nothing",
    "early_stopping.metric": "trials are compared by it",
    "early_stopping.mode": "trials are compared by it",
}
_KEYS = ("low", "high", "log", "step")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dimension:
    """What one field may be: one of some values, or any number in a range.

    Args:
        field: its path, such as ``train.batch_size``; a group stands by its name, as in ``groups.head.rate``.
        choices: the values, two or more; empty for a range.
        low, high: of a range, both included; whole numbers make a range of whole numbers.
        log: whether a range is searched by orders of magnitude; its low end is then above 0.
        step: of a range without ``log``; None for any number, of whole numbers each.
    Raises:
        RecipeError: the range is empty, or there are fewer than two choices.
    """

    field: str
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float | None = None

    def __post_init__(self) -> None:
        if self.choices:
            if len(self.choices) < 2 or len({_encoded(value) for value in self.choices}) < len(self.choices):
                raise RecipeError(
                    f"{self.field} of the space must have two or more values that differ, got {list(self.choices)}"
                )
            return
        if not self.low < self.high:
            raise RecipeError(f"the range of {self.field} is empty: low must be below high, got {self.low} and {self.high}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise RecipeError(
                f"{self.field} of the space has log: true, so low must be above 0 and step left out, got {self.low}"
            )
        if self.step is not None and not 0 < self.step <= self.high - self.low:
            raise RecipeError(
                f"step of {self.field} must be above 0 and at most high - low, {self.high - self.low}, got {self.step}"
            )
        if self.step is not None and self.is_whole and not isinstance(self.step, int):
            raise RecipeError(f"step of {self.field} must be a whole number, as low and high are, got {self.step}")

    @property
    def is_whole(self) -> bool:
        """Whether it is a range of whole numbers."""
        return not self.choices and isinstance(self.low, int) and isinstance(self.high, int)

    def describe(self) -> str:
        """Say in a few words what the field may be."""
        if self.choices:
            return ", ".join(_encoded(value) for value in self.choices)
        return f"{self.low:g} to {self.high:g}" + (", log" if self.log else "") + (f", step {self.step:g}" if self.step else "")

    def suggest(self, trial: Any) -> Any:
        """Ask a trial of Optuna for a value."""
        if self.choices:
            found = trial.suggest_categorical(self.field, [_encoded(value) for value in self.choices])
            return self.decoded(found)
        if self.is_whole:
            step = 1 if self.step is None else int(self.step)
            return trial.suggest_int(self.field, int(self.low), int(self.high), log=self.log, step=step)
        return trial.suggest_float(self.field, self.low, self.high, log=self.log, step=self.step)

    def decoded(self, parameter: Any) -> Any:
        """Return the value that a parameter of a trial stands for."""
        if not self.choices:
            return parameter
        return next(value for value in self.choices if _encoded(value) == parameter)

    def parameter(self, value: Any) -> Any:
        """Return the parameter of a trial that stands for a value; None if the value is not in the space."""
        if self.choices:
            return _encoded(value) if _encoded(value) in map(_encoded, self.choices) else None
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not self.low <= value <= self.high or (self.is_whole and value != int(value)):
            return None
        steps = (value - self.low) / self.step if self.step else 0.0
        return value if math.isclose(steps, round(steps), abs_tol=1e-9) else None

    def corners(self) -> Sequence[Any]:
        """Return the values that a recipe must take for it to take all others."""
        return self.choices or (self.low, self.high)


@dataclasses.dataclass(frozen=True)
class Space:
    """Fields of a recipe, and what each of them may be.

    Args:
        dimensions: one or more.
    """

    dimensions: tuple[Dimension, ...]

    @classmethod
    def load(cls, path: str | Path, recipe: Recipe) -> Space:
        """Read a space from YAML: fields, each with a list of values or with ``low`` and ``high``, ``log`` and ``step``.

        Args:
            path: the file.
            recipe: what the fields are those of.
        Raises:
            RecipeError: the file is missing or no YAML; a field is none of a recipe, a range is empty, or the recipe cannot
                take a value.
        """
        try:
            content = read_bounded(Path(path), error=RecipeError, max_bytes=_MOST_BYTES)
        except OSError as error:
            raise RecipeError(f"cannot read the space {path}: {error.strerror}; give the path of a YAML file") from None
        return cls.from_dict(parse_yaml(content, str(path), error=RecipeError), recipe, where=str(path))

    @classmethod
    def from_dict(cls, value: Any, recipe: Recipe, *, where: str = "the space") -> Space:
        """Build a space from plain values, as :meth:`load` reads them."""
        if not isinstance(value, Mapping) or not value:
            raise RecipeError(
                f"{where} must be a mapping of fields of a recipe to values or ranges, such as train.batch_size: [16, 64], got "
                f"{shorten(value)}"
            )
        space = cls(tuple(_dimension(str(field), given) for field, given in value.items()))
        for dimension in space.dimensions:
            _check_field(dimension.field, recipe)
            for corner in dimension.corners():
                check_options(space.apply(recipe, {dimension.field: corner}), dimension.field)
        return space

    def suggest(self, trial: Any) -> dict[str, Any]:
        """Ask a trial of Optuna for a value of every field."""
        return {dimension.field: dimension.suggest(trial) for dimension in self.dimensions}

    def values(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values that the parameters of a trial stand for, by field."""
        known = {dimension.field: dimension for dimension in self.dimensions}
        return {field: known[field].decoded(parameter) for field, parameter in parameters.items() if field in known}

    def parameters_of(self, recipe: Recipe, *, rows: int, labels: int = 2) -> dict[str, Any] | None:
        """Return the parameters of a trial that stand for a recipe's own values; None if one is not in the space.

        Args:
            recipe: what it does not state is what a run of it would take.
            rows: to learn from.
            labels: of the rows.
        """
        plain = effective(recipe, rows=rows, labels=labels)
        found = {each.field: each.parameter(_value_at(plain, each.field.split("."))) for each in self.dimensions}
        return None if None in found.values() else found

    def apply(self, recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
        """Return a recipe with other values.

        Raises:
            RecipeError: the recipe cannot take one.
        """
        plain = copy.deepcopy(recipe.to_dict())
        for field, value in values.items():
            _set(plain, field, value)
        try:
            return Recipe.from_dict(plain)
        except RecipeError as error:
            stated = ", ".join(f"{field}: {_encoded(value)}" for field, value in values.items())
            raise RecipeError(f"the recipe cannot take {stated} of the space: {error}") from None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as :meth:`from_dict` takes them."""
        return {
            each.field: list(each.choices)
            if each.choices
            else {key: getattr(each, key) for key in _KEYS if getattr(each, key) not in (None, False)} | {"low": each.low}
            for each in self.dimensions
        }


def _dimension(field: str, given: Any) -> Dimension:
    if isinstance(given, list):
        if not given:
            raise RecipeError(f"{field} of the space has no values; expected two or more, or a range: {{low: 0.0, high: 0.2}}")
        return Dimension(field=field, choices=tuple(given))
    if not isinstance(given, Mapping) or not {"low", "high"} <= set(given):
        raise RecipeError(
            f"{field} of the space must be a list of values, or a range such as {{low: 1e-4, high: 1e-2, log: true}}, got "
            f"{shorten(given)}"
        )
    for key in given:
        if key not in _KEYS:
            raise RecipeError(f"{field} of the space has no key {shorten(key)}; {expected_names(str(key), _KEYS)}")
    log = given.get("log", False)
    if not isinstance(log, bool):
        raise RecipeError(f"log of {field} must be true or false, got {shorten(log)}")
    step = given.get("step")
    low, high = (_number(field, key, given[key]) for key in ("low", "high"))
    if not (isinstance(low, int) and isinstance(high, int)):
        low, high = float(low), float(high)
    return Dimension(field=field, low=low, high=high, log=log, step=None if step is None else _number(field, "step", step))


def _number(field: str, key: str, value: Any) -> float:
    number = value
    if isinstance(value, str):  # YAML 1.1 reads 5e-5, without a decimal point, as a string
        with contextlib.suppress(ValueError):
            number = float(value)
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not math.isfinite(number):
        raise RecipeError(f"{key} of {field} in the space must be a number, got {shorten(value)}")
    return number


def _check_field(field: str, recipe: Recipe) -> None:
    """Refuse what is no field of a recipe, and fields that must not differ between trials."""
    for fixed, why in _FIXED.items():
        if field == fixed or field.startswith(f"{fixed}."):
            raise RecipeError(f"the space has {field}, which cannot be searched: {why}; leave it out of the space")
    known = sorted(_fields(Recipe, recipe.to_dict()))
    parts = field.split(".")
    prefixes = {".".join(parts[: count + 1]) for count in range(len(parts))}
    if field not in known and not any(f"{prefix}.*" in known for prefix in prefixes):
        hint = ""
        if parts[0] == "groups" and recipe.groups is None:
            hint = "the recipe states no groups, which are searched by name, as in groups.head.rate; "
        raise RecipeError(f"the space has {field}, which is no field of the recipe; {hint}{expected_names(field, known)}")


def _fields(kind: Any, plain: Any, prefix: str = "") -> Iterator[str]:
    """Yield the path of every field below a part of a recipe; ``.*`` stands for any key of a mapping."""
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        path, value = f"{prefix}{field.name}", plain.get(field.name) if isinstance(plain, Mapping) else None
        yield path
        for hint in _choices_of(hints[field.name]):
            origin, arguments = typing.get_origin(hint), typing.get_args(hint)
            if dataclasses.is_dataclass(hint):
                yield from _fields(hint, value, f"{path}.")
            elif isinstance(origin, type) and issubclass(origin, Mapping):
                yield f"{path}.*"
            elif origin is tuple and dataclasses.is_dataclass(arguments[0]):
                for item in value or ():
                    yield from _fields(arguments[0], item, f"{path}.{item['name']}.")


def _choices_of(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)


def _set(plain: dict[str, Any], field: str, value: Any) -> None:
    """Set a field of a recipe's plain values; a part that is null is begun."""
    *parents, last = field.split(".")
    holder: Any = plain
    for parent in parents:
        if isinstance(holder, list):
            holder = _named(holder, parent)
            continue
        if holder.get(parent) is None:
            holder[parent] = {}
        holder = holder[parent]
    holder[last] = value


def _value_at(plain: Any, parts: Sequence[str]) -> Any:
    for part in parts:
        if plain is None:
            return None
        plain = _named(plain, part) if isinstance(plain, list) else plain.get(part)
    return plain


def _named(groups: Sequence[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(group for group in groups if group["name"] == name)


def _encoded(value: Any) -> Any:
    """Write a choice as Optuna keeps it: JSON, so that lists and mappings are choices too."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
