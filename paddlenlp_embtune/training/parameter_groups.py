"""Parameter groups: patterns to parameters, absolute rates to what the optimizer wants."""

from __future__ import annotations

import dataclasses
import difflib
import fnmatch
from collections.abc import Mapping, Sequence
from typing import Any

from paddlenlp_embtune import compat
from paddlenlp_embtune.config import GroupSpec, Recipe
from paddlenlp_embtune.errors import PatternError, PluginError, RecipeError, expected_names
from paddlenlp_embtune.models import depth_parameters, layerwise_groups
from paddlenlp_embtune.plugin import registry
from paddlenlp_embtune.utils.json_yaml import shorten

__all__ = [
    "ParameterGroup",
    "group_specs",
    "group_table",
    "groups_named",
    "match_layers",
    "match_parameters",
    "optimizer_groups",
    "resolve_groups",
]


@dataclasses.dataclass(frozen=True)
class ParameterGroup:
    """A group of the recipe with the parameters of a model.

    Args:
        spec: the group as the recipe states it.
        decayed: parameters that get the group's weight decay, by name.
        undecayed: biases and normalisation parameters that get none, by name.
    """

    spec: GroupSpec
    decayed: Mapping[str, Any]
    undecayed: Mapping[str, Any]

    @property
    def parameters(self) -> dict[str, Any]:
        """All parameters of the group by name."""
        return {**self.decayed, **self.undecayed}


def match_parameters(model: Any, patterns: Sequence[str], *, what: str) -> dict[str, Any]:
    """Return the parameters whose names match any pattern, in the model's order.

    Args:
        model: any ``paddle.nn.Layer``.
        patterns: names, in which ``*`` stands for anything, ``?`` for one character and ``[...]`` for a choice.
        what: what the patterns are for, for messages.
    Raises:
        PatternError: a pattern matched nothing; the message gives the nearest name.
    """
    named = dict(model.named_parameters())
    chosen: set[str] = set()
    for pattern in patterns:
        matched = fnmatch.filter(named, pattern)
        if not matched:
            raise PatternError(
                f"{what} pattern {pattern!r} matched 0 of {len(named)} parameters; {_nearest(pattern, named)}"
                " them with: embtune params"
            )
        chosen.update(matched)
    return {name: parameter for name, parameter in named.items() if name in chosen}


def group_specs(recipe: Recipe, model: Any) -> tuple[GroupSpec, ...]:
    """Return the groups that the recipe states, or else those that plugins propose for the model.

    Raises:
        RecipeError: no plugin proposes any.
        PluginError: a plugin returned something else.
    """
    if recipe.groups is not None:
        return recipe.groups
    if recipe.layerwise is not None:
        return layerwise_groups(model, recipe.layerwise)
    hook = "embtune_register_group_rules"
    for owner, proposal in registry.current().answers(hook, recipe=recipe, model=model):
        if not isinstance(proposal, (list, tuple)) or not all(isinstance(group, GroupSpec) for group in proposal):
            raise PluginError(
                f"{hook} of the plugin {owner!r} returned {shorten(proposal)}; expected: a list of GroupSpec, empty to leave "
                f"the model to others; correct the plugin, or leave it out with: embtune --block {owner}"
            )
        if proposal:
            return tuple(proposal)
    raise RecipeError(f"no plugin proposes parameter groups for {type(model).__name__}; state them under groups")


def resolve_groups(model: Any, specs: Sequence[GroupSpec]) -> list[ParameterGroup]:
    """Give every parameter of a model to one group.

    Raises:
        PatternError: a pattern matched nothing, two groups claim one parameter, or a parameter is in no group.
    """
    owner: dict[str, str] = {}
    members: dict[str, dict[str, Any]] = {}
    for spec in specs:
        if spec.takes_rest:
            continue
        members[spec.name] = _chosen(model, spec)
        for name in members[spec.name]:
            if name in owner:
                raise PatternError(
                    f"the parameter {name!r} is claimed by the groups {owner[name]!r} and {spec.name!r}; expected one group; "
                    "make one of the patterns narrower"
                )
            owner[name] = spec.name
    rest = {name: parameter for name, parameter in model.named_parameters() if name not in owner}
    for spec in specs:
        if spec.takes_rest:
            members[spec.name], rest = rest, {}
    if rest:
        raise PatternError(
            f"{len(rest)} parameters are in no group, {next(iter(rest))!r} first; add a group for them, or one without "
            "parameters, which takes the rest"
        )
    norms = _bias_and_norm_names(model)
    return [_split(spec, members[spec.name], norms) for spec in specs]


def optimizer_groups(groups: Sequence[ParameterGroup], *, base_rate: float) -> list[dict[str, Any]]:
    """Return the groups as Paddle's optimizers take them: rates as multipliers of ``base_rate``, every decay stated."""
    rows = []
    for group in groups:
        multiplier = compat.learning_rate_multiplier(group.spec.rate, base_rate)
        for parameters, decay in ((group.decayed, group.spec.weight_decay), (group.undecayed, 0.0)):
            if parameters:
                rows.append({"params": list(parameters.values()), "learning_rate": multiplier, "weight_decay": decay})
    return rows


def group_table(groups: Sequence[ParameterGroup]) -> list[dict[str, Any]]:
    """Return one row a group: name, parameters (number of values), tensors, rate, weight_decay, trainable."""
    return [
        {
            "name": group.spec.name,
            "tensors": len(group.parameters),
            "parameters": sum(int(parameter.size) for parameter in group.parameters.values()),
            "rate": group.spec.rate,
            "weight_decay": group.spec.weight_decay,
            "trainable": any(not parameter.stop_gradient for parameter in group.parameters.values()),
        }
        for group in groups
    ]


def groups_named(groups: Sequence[ParameterGroup], names: Sequence[str], *, what: str) -> list[ParameterGroup]:
    """Pick groups by name, in the order of the names; ``*`` in a name stands for anything, the highest group first.

    Raises:
        RecipeError: a name matches none of them.
    """
    by_name = {group.spec.name: group for group in groups}
    chosen: dict[str, ParameterGroup] = {}
    for name in names:
        matched = fnmatch.filter(by_name, name)
        if not matched:
            raise RecipeError(f"{what} names the group {name!r}; {expected_names(name, by_name)}")
        chosen.update((each, by_name[each]) for each in reversed(matched) if each not in chosen)
    return list(chosen.values())


def match_layers(model: Any, patterns: Sequence[str], *, what: str) -> dict[str, Any]:
    """Return the parameters that layers of the given classes hold themselves, in the model's order.

    Args:
        model: any ``paddle.nn.Layer``.
        patterns: names of layer classes, in which ``*`` stands for anything.
        what: what the patterns are for, for messages.
    Raises:
        PatternError: a pattern matched no class of layers that hold parameters.
    """
    held: dict[str, set[str]] = {}
    for prefix, layer in model.named_sublayers(include_self=True):
        own = {name for name, _ in layer.named_parameters(prefix=prefix, include_sublayers=False)}
        if own:
            held.setdefault(type(layer).__name__, set()).update(own)
    chosen: set[str] = set()
    for pattern in patterns:
        matched = fnmatch.filter(held, pattern)
        if not matched:
            raise PatternError(f"{what} pattern {pattern!r} matched no class of layers; {expected_names(pattern, held)}")
        chosen.update(name for each in matched for name in held[each])
    return {name: parameter for name, parameter in model.named_parameters() if name in chosen}


def _chosen(model: Any, spec: GroupSpec) -> dict[str, Any]:
    what = f"group {spec.name!r}"
    if spec.parameters is not None:
        return match_parameters(model, spec.parameters, what=what)
    if spec.layers is not None:
        return match_layers(model, spec.layers, what=what)
    return depth_parameters(model, spec.depths or (), what=what)


def _split(spec: GroupSpec, parameters: Mapping[str, Any], norms: set[str]) -> ParameterGroup:
    bare = {name: p for name, p in parameters.items() if name in norms and not spec.decay_bias_and_norm}
    return ParameterGroup(spec, {name: p for name, p in parameters.items() if name not in bare}, bare)


def _bias_and_norm_names(model: Any) -> set[str]:
    """Names of biases, and of all parameters of layers whose class is a normalisation."""
    names = {name for name, _ in model.named_parameters() if name.rsplit(".", 1)[-1].startswith("bias")}
    for prefix, layer in model.named_sublayers(include_self=True):
        if "norm" in type(layer).__name__.lower():
            own = layer.named_parameters(prefix=prefix, include_sublayers=False)
            names.update(name for name, _ in own)
    return names


def _nearest(pattern: str, named: Mapping[str, Any]) -> str:
    prefixes = {name.rsplit(".", depth)[0] for name in named for depth in range(name.count(".") + 1)}
    close = difflib.get_close_matches(pattern.rstrip("*."), sorted(prefixes), n=1, cutoff=0.4)
    return f"did you mean {close[0]!r}? List" if close else "list"
