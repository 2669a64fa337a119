"""The layers of an encoder by depth, found from the names of its parameters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from paddlenlp_embtune.config import GroupSpec, LayerwiseSpec
from paddlenlp_embtune.errors import HostError, PatternError, RecipeError
from paddlenlp_embtune.models.factory import embedding_name

__all__ = ["depth_parameters", "layer_prefix", "layerwise_groups"]

_NUMBERED = re.compile(r"(?P<prefix>.*?)\.(?P<number>\d+)\.")


def layer_prefix(model: Any) -> tuple[str, list[int]]:
    """Return what the names of an encoder's layers begin with, and the numbers of the layers, ascending.

    The layers are the numbered list, outermost in the name, that holds the most values, for example
    ``ernie.encoder.layers``.

    Raises:
        RecipeError: the model has no such list of at least two layers.
    """
    sizes: dict[str, int] = {}
    numbers: dict[str, set[int]] = {}
    for name, parameter in model.named_parameters():
        if found := _NUMBERED.match(name):
            prefix = found["prefix"]
            sizes[prefix] = sizes.get(prefix, 0) + int(parameter.size)
            numbers.setdefault(prefix, set()).add(int(found["number"]))
    deep = [prefix for prefix in sizes if len(numbers[prefix]) >= 2]
    if not deep:
        raise RecipeError(
            f"{type(model).__name__} has no numbered list of layers, so depths mean nothing in it; choose groups by name: "
            "see its parameters with: embtune params"
        )
    best = max(deep, key=lambda prefix: sizes[prefix])
    return best, sorted(numbers[best])


def depth_parameters(model: Any, depths: Sequence[int], *, what: str) -> dict[str, Any]:
    """Return the parameters of layers by their depth, 0 the lowest, -1 the highest.

    Raises:
        PatternError: there is no such layer.
        RecipeError: the model has no layers by depth.
    """
    prefix, numbers = layer_prefix(model)
    count = len(numbers)
    for depth in depths:
        if not -count <= depth < count:
            raise PatternError(f"{what} names the depth {depth}; expected 0 to {count - 1}, or -1 to {-count} from the top")
    starts = tuple(f"{prefix}.{numbers[depth]}." for depth in depths)
    return {name: parameter for name, parameter in model.named_parameters() if name.startswith(starts)}


def layerwise_groups(model: Any, spec: LayerwiseSpec) -> tuple[GroupSpec, ...]:
    """Make one group for each layer of an encoder, with ``embedding`` below and ``head`` above them.

    What stands before the layers in the model's order is ``embedding``, what comes after is ``head``.

    Raises:
        RecipeError: the model has no layers by depth, or nothing below or above them.
    """
    prefix, numbers = layer_prefix(model)
    count = len(numbers)
    names = [name for name, _ in model.named_parameters()]
    inside = [index for index, name in enumerate(names) if name.startswith(f"{prefix}.")]
    tops = [name.partition(".")[0] for name in names]
    try:
        start = tops.index(embedding_name(model).partition(".")[0])
    except HostError:
        start = 0
    start = min(start, inside[0])
    outside = {"embedding": names[start : inside[0]], "head": names[:start] + names[inside[-1] + 1 :]}
    for group, members in outside.items():
        if not members:
            raise RecipeError(
                f"{type(model).__name__} has no parameters {'below' if group == 'embedding' else 'above'} {prefix}, so "
                f"there is no group {group!r}; state groups by name instead"
            )
    lowest = spec.rate * spec.decay**count
    return (
        GroupSpec(name="embedding", parameters=tuple(outside["embedding"]), rate=spec.embedding_rate or lowest),
        *(
            GroupSpec(
                name=f"layer.{depth}",
                parameters=(f"{prefix}.{numbers[depth]}.*",),
                rate=spec.rate * spec.decay ** (count - 1 - depth),
                weight_decay=spec.weight_decay,
            )
            for depth in range(count)
        ),
        GroupSpec(
            name="head",
            parameters=tuple(outside["head"]),
            rate=spec.head_rate or spec.rate,
            weight_decay=spec.weight_decay,
        ),
    )
