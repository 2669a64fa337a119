"""What a run takes for that which its recipe leaves open, and the options that models and losses know."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable
from typing import Any

from paddlenlp_embtune.config import PRETRAINED, Recipe
from paddlenlp_embtune.plugin import registry

__all__ = ["check_options", "effective"]

_SIZES: tuple[str, ...] = ("vocabulary_size", "dimension", "num_labels")
_LOSS_SIZES: tuple[str, ...] = ("class_weights",)


def effective(recipe: Recipe, *, rows: int, labels: int = 2) -> dict[str, Any]:
    """Return a recipe's plain values with what follows from the rows, from the model, and from parts that switch nothing on.

    Args:
        recipe: as it stands.
        rows: to learn from.
        labels: of the rows.
    """
    encoder = recipe.model.name in ("encoder", PRETRAINED)
    plain = dataclasses.replace(recipe, train=recipe.train.resolved(rows, encoder=encoder, labels=labels)).to_dict()
    for name, hint in typing.get_type_hints(Recipe).items():
        if plain[name] is None and (idle := _idle_part(hint)) is not None:
            plain[name] = idle
    plain["model"]["options"] = {**_defaults(_builder("model", recipe.model.name)), **plain["model"]["options"]}
    plain["train"]["loss_options"] = {**_defaults(_builder("loss", recipe.train.loss)), **plain["train"]["loss_options"]}
    return plain


def check_options(recipe: Recipe, field: str) -> None:
    """Refuse options of the model and of the loss that these do not know; needs Paddle where ``field`` is one of them.

    Raises:
        RecipeError: there is no such option, or it is of another type.
    """
    from paddlenlp_embtune.models import checked_options

    where, _, _ = field.rpartition(".")
    if where == "model.options":
        name = recipe.model.name
        builder, options, reserved = _builder("model", name), recipe.model.options, _SIZES
    elif where == "train.loss_options":
        name, options, reserved = recipe.train.loss, recipe.train.loss_options, _LOSS_SIZES
        builder = _builder("loss", name)
    else:
        return
    if builder is not None:
        checked_options(builder, options, where=where, name=name, reserved=reserved)


def _builder(kind: str, name: str) -> Callable[..., Any] | None:
    known = registry.current()
    found = known.get(kind, name) if name in known.names(kind) else None
    return found if callable(found) else None


def _defaults(builder: Callable[..., Any] | None) -> dict[str, Any]:
    parameters = inspect.signature(builder).parameters.values() if builder is not None else ()
    return {each.name: each.default for each in parameters if each.default is not each.empty}


def _idle_part(hint: Any) -> dict[str, Any] | None:
    """The defaults of a part that switches nothing on with them; None for other parts, whose presence means something."""
    choices = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    for choice in choices:
        if isinstance(choice, type) and dataclasses.is_dataclass(choice) and hasattr(choice, "is_empty"):
            return dataclasses.asdict(choice())
    return None
