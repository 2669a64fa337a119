"""The parts of a recipe about what stays as it is: frozen groups and when they are released, and rows of the embedding."""

from __future__ import annotations

import dataclasses

from paddlenlp_embtune.config.optimization import PlateauSpec
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.utils.json_yaml import shorten
from paddlenlp_embtune.utils.schema import check_types, require, require_at_most

__all__ = ["FreezeSpec", "RowsSpec"]


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
        refreeze_at_step: the number of steps after which the groups are frozen again.
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
        require(bool(self.groups), "freeze.groups", self.groups, "one or more groups (freeze: null freezes nothing)")
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
        """Describe until when the group at this place of the list stays frozen."""
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
        if len(stated) > 1:
            raise RecipeError("freeze states unfreeze_at_epoch and unfreeze_at_step; give one of them")
        if self.permanent:
            held = [*stated, *(name for name in ("unfreeze_on_plateau", "gradual") if getattr(self, name))]
            if held:
                raise RecipeError(f"freeze.permanent releases nothing, so leave out {' and '.join(held)}, or permanent")
        if not self.gradual:
            spare = [name for name in ("every_epochs", "every_steps") if getattr(self, name) is not None]
            if spare:
                raise RecipeError(f"freeze.{spare[0]} goes with gradual release; add gradual: true, or leave it out")
            return
        if self.every_epochs is not None and self.unfreeze_at_epoch is None:
            raise RecipeError("freeze.every_epochs goes with freeze.unfreeze_at_epoch; with a step, use every_steps")
        if self.every_steps is not None and self.unfreeze_at_step is None:
            raise RecipeError("freeze.every_steps goes with freeze.unfreeze_at_step; with an epoch, use every_epochs")

    def _check_refreeze(self) -> None:
        stated = [name for name in ("refreeze_at_epoch", "refreeze_at_step") if getattr(self, name) is not None]
        if len(stated) > 1:
            raise RecipeError("freeze states refreeze_at_epoch and refreeze_at_step; give one of them")
        if not stated:
            return
        if self.permanent:
            raise RecipeError(f"freeze.permanent releases nothing, so leave out {stated[0]}, or permanent")
        for release, again in (("unfreeze_at_epoch", "refreeze_at_epoch"), ("unfreeze_at_step", "refreeze_at_step")):
            first, second = getattr(self, release), getattr(self, again)
            if first is not None and second is not None:
                require(second > first, f"freeze.{again}", second, f"above freeze.{release} ({first})")


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
        require(self.train != (), "rows.train", self.train, "one or more rows (to train none, freeze the embedding)")
        require(
            self.trust_cosine is None or -1 < self.trust_cosine < 1,
            "rows.trust_cosine",
            self.trust_cosine,
            "above -1 and below 1, or null",
        )
        require(self.trust_every_steps >= 1, "rows.trust_every_steps", self.trust_every_steps, "1 or more")
        require_at_most("rows.trust_every_steps", self.trust_every_steps)
        empty = self.train is None and not self.protect and self.trust_cosine is None
        if empty:
            raise RecipeError("rows is empty; state train, protect or trust_cosine, or leave rows out")
        both = [row for row in self.train or () if any(row == other and type(row) is type(other) for other in self.protect)]
        if both:
            raise RecipeError(f"rows.train and rows.protect both name {shorten(both)}; name each row in one of them")
