"""The parts of a recipe that say how training is steered: groups, rates, freezing, rows, clipping."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from paddlenlp_embtune.errors import RecipeError, expected_names
from paddlenlp_embtune.utils.json_yaml import shorten
from paddlenlp_embtune.utils.schema import check_types, require, require_at_most

__all__ = [
    "MODES",
    "ClipSpec",
    "FreezeSpec",
    "GroupSpec",
    "LayerwiseSpec",
    "PlateauSpec",
    "RowsSpec",
    "ScheduleSpec",
    "require_name",
]

MODES = ("max", "min")


def require_name(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Refuse a name that is not among the allowed ones."""
    if value not in allowed:
        raise RecipeError(f"{name} is {shorten(value)}; {expected_names(value, allowed)}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlateauSpec:
    """When a metric counts as not improving any more.

    Args:
        metric: name of an evaluation metric, with or without ``eval_``.
        mode: ``max`` or ``min``; never guessed from the name.
        min_delta: an improvement counts when it is larger than this.
        patience_evals: so many evaluations in a row without improvement make a plateau, 1 or more.
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
    """How rates move over the run.

    Args:
        kind: ``linear`` or ``cosine`` falls to 0 at the end, ``constant`` stays, ``plateau`` is multiplied by ``factor``
            whenever the metric stops improving.
        warmup_ratio: share of all steps over which the rates climb from 0, 0 or more and below 1.
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
        require(bool(self.name), "group name", self.name, "a name")
        require(self.rate > 0, f"rate of group {shorten(self.name)}", self.rate, "above 0")
        require(self.weight_decay >= 0, f"weight_decay of group {shorten(self.name)}", self.weight_decay, "0 or more")
        require(self.parameters != (), f"parameters of group {shorten(self.name)}", self.parameters, "a pattern, or null")
        require(self.layers != (), f"layers of group {shorten(self.name)}", self.layers, "a pattern of layer classes, or null")
        require(self.depths != (), f"depths of group {shorten(self.name)}", self.depths, "a number, or null")
        chosen = [key for key in ("parameters", "layers", "depths") if getattr(self, key) is not None]
        require(
            len(chosen) <= 1, f"what group {shorten(self.name)} is chosen by", chosen, "one of parameters, layers and depths"
        )

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
class FreezeSpec:
    """Freeze groups first, release them later.

    The release is at an epoch, at a step, or when a metric stops improving; with a metric, the epoch or step is the latest
    time. When nothing is stated, it is epoch 1.

    Args:
        groups: names of groups, ``*`` stands for anything; with ``gradual``, in the order of their release.
        unfreeze_at_epoch: the 0-based epoch at whose start they are released; 1 keeps them frozen for one epoch.
        unfreeze_at_step: the number of steps for which they stay frozen.
        unfreeze_on_plateau: release when this metric stops improving.
        permanent: never release them.
        gradual: release one group at a time, in the order given.
        every_epochs: for ``gradual``, epochs between two releases; None with an epoch means 1.
        every_steps: for ``gradual``, steps between two releases; None with a step means the same number again.
        refreeze_at_epoch: freeze the groups again at the start of this epoch.
        refreeze_at_step: freeze the groups again after so many steps.
        warmup_steps: steps over which the rate of a released group climbs to its schedule again.
        cached: compute what the frozen lowest layers give for a text once and look it up from then on, for as long as they and
            the embedding stay frozen; these layers then see no dropout.
    """

    groups: tuple[str, ...] = ("embedding",)
    unfreeze_at_epoch: int | None = None
    unfreeze_at_step: int | None = None
    unfreeze_on_plateau: PlateauSpec | None = None
    permanent: bool = False
    gradual: bool = False
    every_epochs: int | None = None
    every_steps: int | None = None
    refreeze_at_epoch: int | None = None
    refreeze_at_step: int | None = None
    warmup_steps: int = 0
    cached: bool = False

    def __post_init__(self) -> None:
        check_types(self, where="freeze", error=RecipeError)
        require(bool(self.groups), "freeze.groups", self.groups, "at least one group; leave freeze out to freeze none")
        if self.unfreeze_at_step is None and self.unfreeze_on_plateau is None and not self.permanent:
            object.__setattr__(self, "unfreeze_at_epoch", 1 if self.unfreeze_at_epoch is None else self.unfreeze_at_epoch)
        for name in ("unfreeze_at_epoch", "unfreeze_at_step", "every_epochs", "every_steps"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"freeze.{name}", value, "1 or more")
        require(self.warmup_steps >= 0, "freeze.warmup_steps", self.warmup_steps, "0 or more")
        for name in ("unfreeze_at_epoch", "unfreeze_at_step", "every_epochs", "every_steps"):
            require_at_most(f"freeze.{name}", getattr(self, name))
        for name in ("refreeze_at_epoch", "refreeze_at_step", "warmup_steps"):
            require_at_most(f"freeze.{name}", getattr(self, name))
        self._check_release()
        self._check_refreeze()

    def describe(self, place: int) -> str:
        """Say in words until when the group at a place of the list stays frozen."""
        if self.permanent:
            return "frozen"
        later = place if self.gradual else 0
        times = []
        if (plateau := self.unfreeze_on_plateau) is not None:
            number = f" no. {later + 1}" if later else ""
            times.append(f"plateau{number} of {plateau.metric}")
        if self.unfreeze_at_epoch is not None:
            times.append(f"epoch {self.unfreeze_at_epoch + later * (self.every_epochs or 1)}")
        if self.unfreeze_at_step is not None:
            times.append(f"step {self.unfreeze_at_step + later * (self.every_steps or self.unfreeze_at_step)}")
        again = {"epoch": self.refreeze_at_epoch, "step": self.refreeze_at_step}
        tail = "".join(f", again from {unit} {value}" for unit, value in again.items() if value is not None)
        return f"frozen until {' or '.join(times)}{tail}"

    def _check_release(self) -> None:
        stated = [name for name in ("unfreeze_at_epoch", "unfreeze_at_step") if getattr(self, name) is not None]
        require(len(stated) <= 1, "freeze states", stated, "an epoch or a step of release, not both")
        if self.permanent:
            held = [*stated, *(name for name in ("unfreeze_on_plateau", "gradual") if getattr(self, name))]
            require(not held, "freeze.permanent stands beside", held, "permanent alone: nothing is released then")
        if not self.gradual:
            spare = [name for name in ("every_epochs", "every_steps") if getattr(self, name) is not None]
            require(not spare, "freeze without gradual states", spare, "gradual: true, or leave it out")
            return
        if self.every_epochs is not None and self.unfreeze_at_epoch is None:
            raise RecipeError("freeze.every_epochs goes with freeze.unfreeze_at_epoch; expected with a step: every_steps")
        if self.every_steps is not None and self.unfreeze_at_step is None:
            raise RecipeError("freeze.every_steps goes with freeze.unfreeze_at_step; expected with an epoch: every_epochs")

    def _check_refreeze(self) -> None:
        stated = [name for name in ("refreeze_at_epoch", "refreeze_at_step") if getattr(self, name) is not None]
        require(len(stated) <= 1, "freeze states", stated, "an epoch or a step of the second freeze, not both")
        if not stated:
            return
        require(not self.permanent, "freeze.permanent stands beside", stated, "permanent alone: nothing is released then")
        for release, again in (("unfreeze_at_epoch", "refreeze_at_epoch"), ("unfreeze_at_step", "refreeze_at_step")):
            first, second = getattr(self, release), getattr(self, again)
            if first is not None and second is not None:
                require(second > first, f"freeze.{again}", second, f"above freeze.{release}, which is {first}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RowsSpec:
    """Which rows of the embedding may move, and how far.

    Args:
        train: tokens, terms or row numbers that are trained; the others stay bit-equal. None trains all.
        protect: tokens, terms or row numbers that stay bit-equal, for example 的 and 了.
        trust_cosine: the least cosine of a row to where it started, above -1 and below 1; a row that leaves this cone is put
            back onto its border. None sets no bound.
        trust_every_steps: steps between two looks at the cone, 1 or more; every evaluation and the end find all rows inside.
        parameter: name of the embedding parameter; None finds it.
    """

    train: tuple[int | str, ...] | None = None
    protect: tuple[int | str, ...] = ()
    trust_cosine: float | None = None
    trust_every_steps: int = 8
    parameter: str | None = None

    def __post_init__(self) -> None:
        check_types(self, where="rows", error=RecipeError)
        require(self.train != (), "rows.train", self.train, "at least one row; to train none, freeze the embedding")
        require(
            self.trust_cosine is None or -1 < self.trust_cosine < 1,
            "rows.trust_cosine",
            self.trust_cosine,
            "above -1 and below 1, or null",
        )
        require(self.trust_every_steps >= 1, "rows.trust_every_steps", self.trust_every_steps, "1 or more")
        require_at_most("rows.trust_every_steps", self.trust_every_steps)
        empty = self.train is None and not self.protect and self.trust_cosine is None
        require(not empty, "rows", "empty", "at least one of train, protect and trust_cosine; leave rows out for none")
        both = [row for row in self.train or () if any(row == other and type(row) is type(other) for other in self.protect)]
        require(not both, "rows.train and rows.protect share", both, "each row in one of them")


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
        require(not empty, "clip", "empty", "at least one of global_norm, group_norms and row_norm; clip: null for none")
