"""The parts of a recipe about optimization: parameter groups, learning rates and their schedules, gradient clipping."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.utils.json_yaml import shorten
from paddlenlp_embtune.utils.schema import check_types, require, require_at_most, require_name

__all__ = [
    "MODES",
    "ClipSpec",
    "GroupSpec",
    "LayerwiseSpec",
    "PlateauSpec",
    "ScheduleSpec",
]

MODES = ("max", "min")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlateauSpec:
    """When a metric counts as having stopped improving.

    Args:
        metric: name of an evaluation metric, with or without ``eval_``.
        mode: ``max`` or ``min``; never guessed from the name.
        min_delta: an improvement counts when it is larger than this.
        patience_evals: evaluations in a row without improvement that make a plateau, 1 or more.
    """

    metric: str = "f1_macro"
    mode: str = "max"
    min_delta: float = 0.0
    patience_evals: int = 1

    def __post_init__(self) -> None:
        check_types(self, where="plateau", error=RecipeError)
        require_name("plateau.mode", self.mode, MODES)
        require(self.min_delta >= 0, "plateau.min_delta", self.min_delta, "0 or more")
        require(self.patience_evals >= 1, "plateau.patience_evals", self.patience_evals, "1 or more")
        require_at_most("plateau.patience_evals", self.patience_evals)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScheduleSpec:
    """How learning rates change over the run.

    Args:
        kind: ``linear`` or ``cosine`` falls to 0 at the end, ``constant`` stays, ``plateau`` is multiplied by ``factor``
            whenever the metric stops improving.
        warmup_ratio: share of all steps over which the learning rates rise from 0, 0 or more and below 1.
        plateau: for kind ``plateau``, when the metric has stopped improving; None takes the defaults.
        factor: for kind ``plateau``, above 0 and below 1.
        floor: for kind ``plateau``, the least share of the peak rate, above 0 and at most 1.
    """

    kind: str = "linear"
    warmup_ratio: float = 0.05
    plateau: PlateauSpec | None = None
    factor: float = 0.5
    floor: float = 0.01

    KINDS = ("constant", "cosine", "linear", "plateau")

    def __post_init__(self) -> None:
        check_types(self, where="schedule", error=RecipeError)
        require_name("schedule.kind", self.kind, self.KINDS)
        if self.kind == "plateau" and self.plateau is None:
            object.__setattr__(self, "plateau", PlateauSpec())
        require(0 <= self.warmup_ratio < 1, "schedule.warmup_ratio", self.warmup_ratio, "0 or more and below 1")
        require(0 < self.factor < 1, "schedule.factor", self.factor, "above 0 and below 1")
        require(0 < self.floor <= 1, "schedule.floor", self.floor, "above 0 and at most 1")


@dataclasses.dataclass(frozen=True, kw_only=True)
class GroupSpec:
    """Parameters that share a learning rate and a weight decay, chosen by name, by layer type, by depth, or as the rest.

    Args:
        name: how tables, logs and other parts of the recipe call the group.
        parameters: patterns of parameter names, ``*`` stands for anything.
        layers: patterns of layer classes, for example ``LayerNorm``; takes the parameters that such layers hold themselves.
        depths: numbers of the layers of an encoder, 0 the lowest, -1 the highest.
        rate: the absolute peak learning rate, above 0.
        weight_decay: decoupled weight decay (AdamW), 0 or more.
        decay_bias_and_norm: also decay biases and the parameters of normalisation layers.
        schedule: how this group's rate moves; None follows the recipe's schedule.

    A group without parameters, layers and depths takes all that no other group chooses.
    """

    name: str
    parameters: tuple[str, ...] | None = None
    layers: tuple[str, ...] | None = None
    depths: tuple[int, ...] | None = None
    rate: float
    weight_decay: float = 0.0
    decay_bias_and_norm: bool = False
    schedule: ScheduleSpec | None = None

    def __post_init__(self) -> None:
        check_types(self, where="group", error=RecipeError)
        require(bool(self.name), "name of a group", self.name, "a text that is not empty")
        require(self.rate > 0, f"rate of group {shorten(self.name)}", self.rate, "above 0")
        require(self.weight_decay >= 0, f"weight_decay of group {shorten(self.name)}", self.weight_decay, "0 or more")
        for key, what in (("parameters", "patterns"), ("layers", "layer classes"), ("depths", "numbers")):
            value = getattr(self, key)
            require(value != (), f"{key} of group {shorten(self.name)}", value, f"one or more {what}, or null")
        chosen = [key for key in ("parameters", "layers", "depths") if getattr(self, key) is not None]
        if len(chosen) > 1:
            raise RecipeError(f"group {shorten(self.name)} states {' and '.join(chosen)}; choose its parameters by one of them")

    @property
    def takes_rest(self) -> bool:
        """Whether the group takes all that no other group chooses."""
        return self.parameters is None and self.layers is None and self.depths is None


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerwiseSpec:
    """One group for each layer of an encoder, each rate smaller than that of the layer above it.

    Makes the groups ``embedding``, ``layer.0`` … ``layer.N`` and ``head``.

    Args:
        rate: the absolute peak rate of the highest layer, above 0.
        decay: the rate of a layer divided by that of the layer above it, above 0 and at most 1.
        embedding_rate: None continues below the lowest layer: rate times decay to the number of layers.
        head_rate: None takes ``rate``.
        weight_decay: for all groups but the embedding, biases and normalisation layers; 0 or more.
    Source:
        Howard and Ruder 2018, "Universal Language Model Fine-tuning for Text Classification", section 3.2
    """

    rate: float = 5e-5
    decay: float = 0.9
    embedding_rate: float | None = None
    head_rate: float | None = None
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        check_types(self, where="layerwise", error=RecipeError)
        for name in ("rate", "embedding_rate", "head_rate"):
            value = getattr(self, name)
            require(value is None or value > 0, f"layerwise.{name}", value, "above 0")
        require(0 < self.decay <= 1, "layerwise.decay", self.decay, "above 0 and at most 1")
        require(self.weight_decay >= 0, "layerwise.weight_decay", self.weight_decay, "0 or more")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipSpec:
    """Gradient clipping by Euclidean norm; rows first, then groups, then all together.

    Args:
        global_norm: the largest norm of all gradients together, above 0; None does not clip them together.
        group_norms: the largest norm by name of group, above 0.
        row_norm: the largest norm of the gradient of one row of the embedding, above 0; None does not clip rows.
    """

    global_norm: float | None = 1.0
    group_norms: Mapping[str, float] = dataclasses.field(default_factory=dict)
    row_norm: float | None = None

    def __post_init__(self) -> None:
        check_types(self, where="clip", error=RecipeError)
        for name in ("global_norm", "row_norm"):
            value = getattr(self, name)
            require(value is None or value > 0, f"clip.{name}", value, "above 0")
        for name, value in self.group_norms.items():
            require(value > 0, f"clip.group_norms of {name!r}", value, "above 0")
        empty = self.global_norm is None and self.row_norm is None and not self.group_norms
        if empty:
            raise RecipeError("clip is empty; state global_norm, group_norms or row_norm, or write clip: null to clip nothing")
