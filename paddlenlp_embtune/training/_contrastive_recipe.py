"""What contrastive tuning makes of the other parts of a recipe, and of which rows it can be had."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from paddlenlp_embtune.config import ContrastiveSpec, FreezeSpec, LayerwiseSpec, Recipe, RetrievalSpec
from paddlenlp_embtune.errors import DataError, RecipeError
from paddlenlp_embtune.utils.json_yaml import shorten

__all__ = ["anchor_texts", "check_label_rows", "check_retrieval_rows", "with_contrastive_defaults", "with_embedding_only"]

_BATCH = 16
_RETRIEVAL_BATCH, _RETRIEVAL_EPOCHS = 32, 2


def with_contrastive_defaults(recipe: Recipe, settings: Mapping[str, Any]) -> Recipe:
    """Fill in what follows from contrastive tuning: which layers are frozen, their rates, and the size of the run.

    Args:
        recipe: with the part ``contrastive``.
        settings: the configuration of its encoder.
    Raises:
        RecipeError: the encoder has fewer layers than are to be tuned.
    """
    if recipe.retrieval is not None:
        return _with_retrieval_defaults(recipe, recipe.retrieval, settings)
    spec = recipe.contrastive
    if spec is None:
        return recipe
    train = recipe.train
    train = dataclasses.replace(train, epochs=train.epochs or 1, batch_size=train.batch_size or _BATCH)
    changed = dataclasses.replace(recipe, train=train)
    if recipe.groups is None and recipe.layerwise is None:
        changed = dataclasses.replace(changed, layerwise=LayerwiseSpec(rate=spec.rate, decay=1.0))
    stated = recipe.freeze is not None and recipe.freeze != FreezeSpec()
    return changed if stated else dataclasses.replace(changed, freeze=_freeze(spec.layers, settings, part="contrastive"))


def _with_retrieval_defaults(recipe: Recipe, spec: RetrievalSpec, settings: Mapping[str, Any]) -> Recipe:
    """Fill in the same for an encoder whose vectors are tuned for search."""
    train = recipe.train
    train = dataclasses.replace(
        train, epochs=train.epochs or _RETRIEVAL_EPOCHS, batch_size=train.batch_size or _RETRIEVAL_BATCH
    )
    changed = dataclasses.replace(recipe, train=train)
    if recipe.groups is None and recipe.layerwise is None:
        changed = dataclasses.replace(changed, layerwise=LayerwiseSpec(rate=spec.rate, decay=1.0))
    if spec.embedding_only or (recipe.freeze is not None and recipe.freeze != FreezeSpec()):
        return changed
    return dataclasses.replace(changed, freeze=_freeze(spec.layers, settings, part="retrieval"))


def with_embedding_only(recipe: Recipe) -> Recipe:
    """Hold everything but the embedding, where the recipe asks for that."""
    if recipe.retrieval is None or not recipe.retrieval.embedding_only:
        return recipe
    if recipe.freeze is not None and recipe.freeze != FreezeSpec():
        raise RecipeError(
            "a recipe cannot have retrieval.embedding_only and freeze, because it freezes the rest itself; leave "
            "one of them out"
        )
    held = ("backbone",) if recipe.model.encoder is None else ("layer.*",)
    return dataclasses.replace(recipe, freeze=FreezeSpec(groups=held, permanent=True))


def _freeze(stated: int | None, settings: Mapping[str, Any], *, part: str) -> FreezeSpec:
    """Hold all but the highest layers, and compute what the others give once."""
    layers = settings.get("num_hidden_layers")
    if not isinstance(layers, int):
        raise RecipeError(
            f"{part} tunes the highest layers, but the encoder's settings do not state num_hidden_layers; state freeze and "
            "layerwise in the recipe"
        )
    tuned = stated if stated is not None else -(-layers // 2)
    if tuned > layers:
        raise RecipeError(f"{part}.layers must be at most the {layers} layers of the encoder, or null, got {tuned}")
    held = tuple(f"layer.{number}" for number in range(layers - tuned))
    return FreezeSpec(groups=("embedding", *held), permanent=True, cached=bool(held))


def check_label_rows(spec: ContrastiveSpec, labels: Sequence[str]) -> None:
    """Refuse labels that have no pairs.

    Args:
        spec: whether the names of labels make pairs with a single row.
        labels: of the training rows.
    Raises:
        DataError: a label has one row, and its name does not count as another.
    """
    single = sorted(label for label, rows in Counter(labels).items() if rows < 2)
    if single and not spec.label_names:
        raise DataError(
            f"contrastive tuning compares rows of one label with each other, and {len(single)} of the labels have one training "
            f"row, {shorten(single[0])} first; expected 2 or more of each: add rows, set contrastive.label_names to compare "
            "them with the labels' names, or leave contrastive out"
        )


def check_retrieval_rows(spec: RetrievalSpec, labels: Sequence[str]) -> None:
    """Refuse labels that have no pairs, where the vectors are tuned on labels.

    Raises:
        DataError: a label has one row.
    """
    single = sorted(label for label, rows in Counter(labels).items() if rows < 2)
    if single and spec.pairs is None and spec.loss != "simcse":
        raise DataError(
            f"retrieval.loss {spec.loss} compares rows of one label with each other, and {len(single)} of the labels have one "
            f"training row, {shorten(single[0])} first; expected 2 or more of each: add rows, give retrieval.pairs, or take "
            "the loss simcse, which needs no labels"
        )


def anchor_texts(spec: ContrastiveSpec, labels: Sequence[str]) -> list[str]:
    """Return the text of each label that rows are compared with; none where the recipe asks for none.

    Raises:
        RecipeError: a description is of no label.
    """
    if not spec.label_names:
        return []
    if unknown := [label for label in spec.descriptions if label not in labels]:
        raise RecipeError(
            f"contrastive.descriptions has {shorten(unknown[0])}, which is no label; expected some of {shorten(list(labels))}"
        )
    return [spec.descriptions.get(label, label) for label in labels]
