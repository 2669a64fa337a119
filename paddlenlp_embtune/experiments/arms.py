"""Arms of a comparison: baselines, and recipes that are built of a start and changes to it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from paddlenlp_embtune.config import BASELINES, Recipe
from paddlenlp_embtune.errors import RecipeError, expected_names
from paddlenlp_embtune.utils.json_yaml import parse_yaml, read_bounded, shorten

__all__ = ["BUILT_IN_ARMS", "FROZEN", "NAME", "Arm", "parse_arms", "recipe_of", "weight_column_of"]

FROZEN = "frozen"
CONTRASTIVE = "contrastive"
_ENCODER = "e5-small-zh"
NAME = re.compile(r"[\w][\w.-]{0,59}")
"""Of an arm or a data set, which names files."""

_MOST_BYTES = 1 << 20
_RATES = {"textcnn": 2e-3, "encoder": 5e-5}
_RELEASES = 28
"""Gradual unfreezing of an encoder releases a group each time this part of the steps has passed: 12 layers by half of them."""

Plain = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Arm:
    """One way to a classifier.

    Args:
        name: letters, digits, ``.``, ``_`` and ``-``.
        kind: ``baseline``, ``frozen`` or ``recipe``.
        parts: the built-in arms and recipe files that it is built of, in order.
        stated: what each of them states of a recipe; empty for baselines, and for changes, which depend on the rows.
        settings: further settings of the recipe, which hold whatever the parts state.
    """

    name: str
    kind: str
    parts: tuple[str, ...]
    stated: tuple[Mapping[str, Any], ...] = ()
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def _plain(recipe: Mapping[str, Any], _: int) -> Plain:
    """One rate for all parameters, nothing frozen."""
    return {**_one_rate(recipe), "freeze": None}


def _rates(_: Mapping[str, Any], __: int) -> Plain:
    """The model's own rates by group, nothing frozen."""
    return {"groups": None, "layerwise": None, "freeze": None}


def _freeze(recipe: Mapping[str, Any], _: int) -> Plain:
    """One rate, the embedding frozen for an epoch."""
    return {**_one_rate(recipe), "freeze": {"groups": ["embedding"], "unfreeze_at_epoch": 1}}


def _gradual(recipe: Mapping[str, Any], rows: int) -> Plain:
    """The model's own rates by group, unfrozen one after the other from the head down."""
    if not _has_encoder(recipe):
        release = {"unfreeze_at_epoch": 1, "every_epochs": 1}
        return {"groups": None, "freeze": {"groups": ["backbone", "embedding"], "gradual": True, **release}}
    train = Recipe.from_dict({"train": recipe.get("train") or {}}).train.resolved(rows, encoder=True)
    steps = (train.epochs or 1) * -(-rows // ((train.batch_size or 1) * train.accumulation_steps))
    every = max(1, steps // _RELEASES)
    release = {"unfreeze_at_step": every, "every_steps": every}
    return {"groups": None, "layerwise": None, "freeze": {"groups": ["layer.*", "embedding"], "gradual": True, **release}}


def _one_rate(recipe: Mapping[str, Any]) -> Plain:
    if _has_encoder(recipe):
        return {"groups": None, "layerwise": {"rate": _RATES["encoder"], "decay": 1.0}}
    rest = {"name": "rest", "rate": _RATES["textcnn"], "weight_decay": 0.01}
    return {"groups": [{"name": "embedding", "parameters": ["embedding.*"], "rate": _RATES["textcnn"]}, rest]}


_STARTS: Mapping[str, Plain] = {
    "textcnn": {},
    "encoder": {"model": {"encoder": _ENCODER}},
    CONTRASTIVE: {"model": {"encoder": _ENCODER}, "contrastive": {}},
}
_CHANGES: Mapping[str, Callable[[Mapping[str, Any], int], Plain]] = {
    "plain": _plain,
    "rates": _rates,
    "freeze": _freeze,
    "gradual": _gradual,
}
BUILT_IN_ARMS = (*BASELINES, *_STARTS, FROZEN, *_CHANGES)


def parse_arms(arms: Sequence[str], settings: Sequence[str] = (), *, encoder: str | None = None) -> tuple[Arm, ...]:
    """Read arms as the command line states them.

    Args:
        arms: ``NAME``, a built-in arm; ``NAME=PARTS``, where the parts are built-in arms and recipe files, joined by ``+`` and
            applied from left to right, such as ``gradual-e5=encoder+gradual`` or ``lora=lora.yaml``; or parts without a name,
            which then is their text.
        settings: ``NAME:SETTING=VALUE`` for one arm, ``SETTING=VALUE`` for all that are recipes, such as
            ``lora:train.epochs=3``; the value is YAML.
        encoder: what the built-in arms ``encoder``, ``contrastive`` and ``frozen`` tune or read; None takes ``e5-small-zh``.
    Raises:
        RecipeError: an arm is unknown, named twice, or invalid; a setting names no arm, or is none of a recipe.
    """
    found: dict[str, Arm] = {}
    for stated in arms:
        arm = _parse_arm(stated, encoder)
        if arm.name in found:
            raise RecipeError(f"the arm {arm.name!r} is stated twice; give each a name of its own: NAME={stated}")
        found[arm.name] = arm
    for stated in settings:
        name, setting, value = _parse_setting(stated)
        if name is not None and name not in found:
            raise RecipeError(f"--set {stated} names the arm {name!r}; {expected_names(name, found)}")
        if name is not None and found[name].kind == "baseline":
            raise RecipeError(f"--set {stated}: the arm {name!r} is a baseline and has no recipe; name an arm that has one")
        for each in [name] if name is not None else [arm.name for arm in found.values() if arm.kind != "baseline"]:
            settings_of = _merged(found[each].settings, _nested(setting, value))
            found[each] = dataclasses.replace(found[each], settings=settings_of)
    for arm in found.values():
        _check(arm)
    return tuple(found.values())


def recipe_of(arm: Arm, *, rows: int) -> Recipe:
    """Return the recipe of an arm for so many training rows, without data.

    Raises:
        RecipeError: the parts do not fit together.
    """
    return Recipe.from_dict(_plain_recipe(arm, rows))


def weight_column_of(arm: Arm) -> str | None:
    """Return the column of the weights of rows that an arm learns with; None where it weighs all the same."""
    return None if arm.kind == "baseline" else Recipe.from_dict(_plain_recipe(arm, 1)).data.weight_column


def _plain_recipe(arm: Arm, rows: int) -> Plain:
    recipe: Plain = {}
    for part, stated in zip(arm.parts, arm.stated, strict=True):
        # A change depends on what the settings say of the model and the length of the run, though they are put in last.
        change = _CHANGES[part](_merged(recipe, arm.settings), rows) if part in _CHANGES else None
        recipe = _merged(recipe, stated) if change is None else {**recipe, **change}
    return _merged(recipe, arm.settings)


def _parse_arm(stated: str, encoder: str | None) -> Arm:
    name, equals, parts = stated.partition("=")
    parts = parts if equals else stated
    if not equals:
        name = stated if "/" not in stated and not stated.endswith((".yaml", ".yml")) else Path(stated).stem
    if not NAME.fullmatch(name.replace("+", "-")) or (equals and "+" in name):
        raise RecipeError(f"the arm {shorten(stated)} has the name {name!r}; expected letters, digits, '.', '_' and '-'")
    each = tuple(part.strip() for part in parts.split("+"))
    kind = "baseline" if each[0] in BASELINES else FROZEN if each[0] == FROZEN else "recipe"
    return Arm(name, kind, each, tuple(_stated(part, each, stated, encoder) for part in each))


def _stated(part: str, parts: Sequence[str], stated: str, encoder: str | None) -> Plain:
    """What one part of an arm states of its recipe; built-in changes follow later, when the rows are known."""
    if part in BASELINES:
        if len(parts) > 1:
            raise RecipeError(f"the arm {stated!r} changes the baseline {part}, which has no recipe; leave the rest out")
        return {}
    if part in _CHANGES:
        return {}
    if part == FROZEN:
        return {"model": {"encoder": encoder or _ENCODER}}
    if part in _STARTS:
        named = {"model": {"encoder": encoder}} if encoder and "model" in _STARTS[part] else {}
        return {**_STARTS[part], **named}
    if not Path(part).is_file():
        raise RecipeError(
            f"the arm {stated!r} names {part!r}, which is neither a file nor built in; {expected_names(part, BUILT_IN_ARMS)}"
        )
    return _recipe_file(Path(part))


def _recipe_file(path: Path) -> Plain:
    """Return what a recipe file states, with its paths resolved."""
    whole = Recipe.load(path).to_dict()
    content = parse_yaml(read_bounded(path, error=RecipeError, max_bytes=_MOST_BYTES), str(path), error=RecipeError) or {}
    return {key: _of_keys(whole[key], value) for key, value in content.items()}


def _of_keys(value: Any, stated: Any) -> Any:
    """Take the values of the keys that are stated."""
    if isinstance(value, Mapping) and isinstance(stated, Mapping):
        return {key: _of_keys(value[key], each) if key in value else each for key, each in stated.items()}
    return value


def _parse_setting(stated: str) -> tuple[str | None, str, Any]:
    left, equals, value = stated.partition("=")
    name, colon, setting = left.partition(":")
    if not equals or not (setting if colon else left):
        raise RecipeError(f"--set is {shorten(stated)}; expected SETTING=VALUE or ARM:SETTING=VALUE, such as train.epochs=3")
    return name if colon else None, setting if colon else left, parse_yaml(value, f"--set {stated}", error=RecipeError)


def _nested(setting: str, value: Any) -> Plain:
    for key in reversed(setting.split(".")):
        value = {key: value}
    nested: Plain = value
    return nested


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> Plain:
    """Merge two recipes; what the other states holds."""
    whole = dict(one)
    for key, value in other.items():
        both = isinstance(value, Mapping) and isinstance(whole.get(key), Mapping)
        whole[key] = _merged(whole[key], value) if both else value
    return whole


def _has_encoder(recipe: Mapping[str, Any]) -> bool:
    return bool((recipe.get("model") or {}).get("encoder"))


def _check(arm: Arm) -> None:
    """Refuse an arm that would be trained on other data, and settings that no recipe has."""
    if arm.kind == "baseline":
        return
    recipe = _plain_recipe(arm, 1000)
    data = recipe.get("data") or {}
    for name in ("train", "dev", "dev_ratio"):
        if data.get(name) is not None:
            raise RecipeError(
                f"the arm {arm.name!r} states data.{name} ({shorten(data[name])}), but all arms of a comparison learn from the "
                "same rows; leave it out of the recipe and pass --data"
            )
    if arm.kind == FROZEN and not _has_encoder(recipe):
        raise RecipeError(f"the arm {arm.name!r} reads the vectors of an encoder, and states none; set model.encoder")
    try:
        Recipe.from_dict(recipe)
    except RecipeError as error:
        raise RecipeError(f"the arm {arm.name!r}: {error}") from None
