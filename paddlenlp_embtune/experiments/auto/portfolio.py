"""The arms that a choice tries, from cheap to dear."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.experiments.arms import BUILT_IN_ARMS, Arm, parse_arms, recipe_of
from paddlenlp_embtune.plugin import registry

__all__ = ["LINEAR", "Candidate", "portfolio"]

LINEAR = "linear"

_LINEAR = {
    "model.options": "{filters: 8, ngram_share: 1.0}",
    "vectors.source": "random",
    "vectors.dimension": "8",
    "text.extra_rows": "0",
    "train.epochs": "1",
    "freeze": "null",
    "early_stopping": "null",
    "health": "null",
}
"""The n-gram regression of the text CNN alone; the smallest network trains for one epoch beside it and counts for nothing."""

_TEXT_CNNS: dict[str, dict[str, str]] = {
    "textcnn": {},
    "textcnn-balanced": {"train.class_balance": "1.0"},
    "textcnn-wide": {"model.options": "{filters: 1024}"},
}
_ENCODERS = ("frozen-ngrams", "encoder", "encoder-ngrams", "contrastive")
"""Built-in arms on encoders, from cheap to dear."""

_FIRST_ENCODER = "e5-small-zh"
_TOKEN_SECONDS = {"textcnn": 2e-6, "encoder": 3e-3}
"""What learning from one character once takes with one thread, before it was measured: of an encoder of 12 layers, 384 wide."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Candidate:
    """An arm that a choice tries.

    Args:
        arm: what is fitted.
        kind: ``linear``, ``textcnn`` or ``encoder``, by cost.
        token_seconds: about what learning from one character once takes beyond the time of the linear arm.
        stated: whether the user stated it.
    """

    arm: Arm
    kind: str
    token_seconds: float
    stated: bool = False

    @property
    def name(self) -> str:
        """The name of its arm."""
        return self.arm.name

    @property
    def encoder(self) -> str | None:
        """The encoder that it is on."""
        return recipe_of(self.arm, rows=1000).model.encoder

    def passes(self, rows: int) -> float:
        """Return how many texts a fit on so many rows reads: rows times epochs."""
        recipe = recipe_of(self.arm, rows=rows)
        if not self._tunes:
            return float(rows)
        return rows * float(recipe.train.resolved(rows, encoder=recipe.model.encoder is not None).epochs or 1)

    def is_like(self, other: Candidate) -> bool:
        """Whether a fit takes about as long as one of another arm, and leaves a bundle that costs about as much."""
        return (self.kind, self.encoder, self._tunes) == (other.kind, other.encoder, other._tunes)

    @property
    def _tunes(self) -> bool:
        """Whether weights are changed step by step; experts on a frozen encoder are fitted at once."""
        return bool(getattr(recipe_of(self.arm, rows=1000).model, "tunes", True))

    def probe(self) -> Arm:
        """Return the arm with one epoch, which shows what its bundle costs and how fast it learns."""
        settings = {**self.arm.settings, "train": {**self.arm.settings.get("train", {}), "epochs": 1}}
        return dataclasses.replace(self.arm, name=f"probe-{self.name}", settings=settings)


def portfolio(arms: Sequence[str] = (), *, encoder: str | None = None) -> tuple[tuple[Candidate, ...], tuple[str, ...]]:
    """Return the arms from cheap to dear, the linear one first, and notes about what is missing.

    Args:
        arms: further ones, as the command line states them: ``NAME=RECIPE``.
        encoder: name or folder of a pretrained encoder; None takes a registered one, ``e5-small-zh`` before others.
    Raises:
        RecipeError: an arm is invalid, has no bundle, or is named as another one.
    """
    found = [_candidate(LINEAR, "textcnn", _LINEAR)]
    found += [_candidate(name, "textcnn", settings) for name, settings in _TEXT_CNNS.items()]
    notes = []
    chosen = encoder if encoder is not None else _registered_encoder()
    if chosen is None:
        notes.append("no encoder is registered, so no arm has one; pass --encoder NAME or a folder for such arms")
    else:
        found += [_candidate(name, name, {}, encoder=chosen) for name in _ENCODERS if name in BUILT_IN_ARMS]
    for arm in parse_arms(arms, encoder=chosen):
        if arm.kind != "recipe":
            raise RecipeError(f"the arm {arm.name!r} leaves no bundle, so it cannot be chosen; compare it with embtune compare")
        if arm.name in [each.name for each in found]:
            raise RecipeError(f"--arm {arm.name} has the name of an arm that is tried anyway; give it another: NAME={arm.name}")
        found.append(_of(arm, stated=True))
    return tuple(sorted(found, key=lambda each: each.token_seconds)), tuple(notes)


def _candidate(name: str, parts: str, settings: dict[str, str], *, encoder: str | None = None) -> Candidate:
    stated = [f"{name}:{setting}={value}" for setting, value in settings.items()]
    (arm,) = parse_arms([f"{name}={parts}"], stated, encoder=encoder)
    return _of(arm)


def _of(arm: Arm, *, stated: bool = False) -> Candidate:
    kind = LINEAR if arm.name == LINEAR else "encoder" if recipe_of(arm, rows=1000).model.encoder is not None else "textcnn"
    return Candidate(arm=arm, kind=kind, token_seconds=_TOKEN_SECONDS.get(kind, 0.0), stated=stated)


def _registered_encoder() -> str | None:
    names = registry.current().names("encoder")
    return _FIRST_ENCODER if _FIRST_ENCODER in names else next(iter(names), None)
