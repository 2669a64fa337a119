"""The model and the Trainer of a run, before a recipe is put on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from paddlenlp_embtune.bundle import other_heads, read_head
from paddlenlp_embtune.models import (
    build_model,
    classifier_on,
    load_layer,
    set_embedding,
    set_former_head,
    try_model,
    with_head,
    with_labels,
    with_table,
)
from paddlenlp_embtune.models.adapters import add_adapter
from paddlenlp_embtune.training._continual import Continuation
from paddlenlp_embtune.training._criterion import unordered
from paddlenlp_embtune.training._preflight import check_length
from paddlenlp_embtune.training._prepare import Prepared
from paddlenlp_embtune.training._trainer import LengthBatchedTrainer, build_trainer, seed_everything

__all__ = ["build", "build_evaluator", "build_initial_model"]


def build(prepared: Prepared, *, out: Path) -> LengthBatchedTrainer:
    """Build the model with its embedding, and a Trainer for it that no recipe is attached to yet.

    Args:
        prepared: the data, the embedding, and the recipe.
        out: folder for the Trainer's checkpoints.
    Raises:
        RecipeError: the model does not read texts of ``text.max_length``, or does not know an option; or model or loss are for
            ordered labels, and these are not.
    """
    recipe = prepared.recipe
    seed_everything(recipe.seed)
    model = build_initial_model(prepared)
    if getattr(getattr(model, "head", None), "ordered", False) and not prepared.kind.ordered:
        raise unordered("model.options.head is 'cumulative_link'")
    if recipe.adapter is not None:
        add_adapter(model, recipe.adapter)
    check_length(recipe, model)
    return build_evaluator(prepared, model, out=out)


def build_evaluator(prepared: Prepared, model: Any, *, out: Path) -> LengthBatchedTrainer:
    """Build a Trainer for a model that may need no training any more.

    Args:
        prepared: the data and the recipe.
        model: maps (B, L) int64 ids to (B, C) float32 logits.
        out: folder for the Trainer's checkpoints.
    """
    return build_trainer(
        prepared.recipe,
        model,
        rows=(prepared.train_dataset(), prepared.dev_dataset()),
        labels=prepared.labels,
        tokenizer=prepared.tokenizer,
        kind=prepared.kind,
        out=str(out),
        soft_targets=prepared.soft_targets,
    )


def build_initial_model(prepared: Prepared) -> Any:
    """Build the model as training finds it: that of a bundle, a classifier on a pretrained encoder, or a new one."""
    recipe, num_labels = prepared.recipe, len(prepared.labels)
    if prepared.bundle is not None:
        layer = load_layer(prepared.bundle.path)
        prepared.bundle.check_current("weights.safetensors", "model.json")
        grown = with_table(layer, recipe.model.name, prepared.table)
        if prepared.continuation is not None and prepared.continuation.head is not None:
            return _with_task_head(prepared, prepared.continuation, grown)
        further = num_labels > len(prepared.bundle.manifest.labels)
        return with_labels(grown, recipe.model.name, num_labels) if further else grown
    if prepared.pretrained is not None:
        return classifier_on(prepared.pretrained, prepared.table, num_labels=num_labels, options=recipe.model.options)
    sizes = {"vocabulary_size": len(prepared.tokenizer.vocabulary), "num_labels": num_labels}
    model = build_model(recipe.model.name, dimension=prepared.table.shape[1], options=recipe.model.options, **sizes)
    set_embedding(model, prepared.table)
    try_model(model, recipe.model.name, **sizes)
    return model


def _with_task_head(prepared: Prepared, continuation: Continuation, former: Any) -> Any:
    """Put the head of the run's label set on the network of the former bundle, which may go on to answer by its own too."""
    name, bundle = prepared.recipe.model.name, continuation.bundle
    known = bundle is not None and continuation.head in other_heads(bundle)
    arrays = read_head(bundle, str(continuation.head)) if bundle is not None and known else None
    model = with_head(former, name, len(prepared.labels), arrays)
    if "lwf" in continuation.spec.methods:
        set_former_head(model, former)
    return model
