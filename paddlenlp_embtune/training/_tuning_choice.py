"""How an encoder is tuned, by the rows at hand."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

from paddlenlp_embtune.config import CONTRASTIVE, FULL, ContrastiveSpec, Recipe
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.utils.json_yaml import shorten

__all__ = ["TuningChoice", "choose_tuning"]

_MANY_ROWS = 100
"""Rows a label above which a classifier is tuned at once."""


@dataclasses.dataclass(frozen=True)
class TuningChoice:
    """What was chosen.

    Args:
        chosen: ``contrastive`` or ``full``.
        why: a sentence about the rows.
    """

    chosen: str
    why: str


def choose_tuning(recipe: Recipe, labels: Sequence[str]) -> tuple[Recipe, TuningChoice | None]:
    """Put what the recipe's ``tuning`` means for these rows into its other parts.

    Args:
        recipe: what to do.
        labels: of the training rows.
    Returns:
        The recipe without ``tuning``, and what was chosen; None where the recipe left nothing to choose.
    """
    if recipe.tuning is None:
        return recipe, None
    stated = dataclasses.replace(recipe, tuning=None)
    if recipe.tuning == FULL:
        return dataclasses.replace(stated, contrastive=None), None
    spec = recipe.contrastive or ContrastiveSpec()
    if recipe.tuning == CONTRASTIVE:
        return dataclasses.replace(stated, contrastive=spec), None
    return _by_rows(dataclasses.replace(stated, contrastive=None), spec, labels)


def _by_rows(recipe: Recipe, spec: ContrastiveSpec, labels: Sequence[str]) -> tuple[Recipe, TuningChoice]:
    counts = Counter(labels)
    each = len(labels) / len(counts)
    shown = f"{each:.0f} rows a label"
    if each > _MANY_ROWS:
        return recipe, TuningChoice(FULL, f"{shown} are more than {_MANY_ROWS}, of which a classifier learns by itself")
    rarest = min(counts, key=lambda label: counts[label])
    why = f"{shown} are few: pairs of them teach more"
    if counts[rarest] < 2 and not spec.label_names:
        spec = dataclasses.replace(spec, label_names=True)
        why += f", and as {shorten(rarest)} has one, rows are compared with the labels' names"
    try:
        return dataclasses.replace(recipe, contrastive=spec), TuningChoice(CONTRASTIVE, why)
    except RecipeError as error:
        return recipe, TuningChoice(FULL, f"{shown} are few, but contrastive tuning does not fit the recipe: {error}")
