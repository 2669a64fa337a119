"""Put a recipe on a Trainer: parameter groups, schedule, and the callbacks of every plugin."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from paddlenlp_embtune import compat
from paddlenlp_embtune.config import GroupSpec, Recipe
from paddlenlp_embtune.errors import HostError, PluginError
from paddlenlp_embtune.models.adapters import add_adapter, has_adapter
from paddlenlp_embtune.plugin import registry
from paddlenlp_embtune.training._attach_checks import check_recipe, check_trainer, watched_by_recipe
from paddlenlp_embtune.training._identity import ATTACHED_PARTS
from paddlenlp_embtune.training._trackers import tracker_callbacks
from paddlenlp_embtune.training.callbacks._layer_norm_fix import LayerNormFixCallback
from paddlenlp_embtune.training.callbacks._metric_check import MetricCheckCallback
from paddlenlp_embtune.training.callbacks.base import EmbtuneCallback
from paddlenlp_embtune.training.callbacks.checkpoint_seals import CheckpointSealCallback
from paddlenlp_embtune.training.callbacks.cpu_kernels import CpuKernelsCallback
from paddlenlp_embtune.training.callbacks.learning_rate import LearningRateCallback
from paddlenlp_embtune.training.callbacks.monitored_rows import MonitoredRows
from paddlenlp_embtune.training.callbacks.replica_check import ReplicaCheckCallback
from paddlenlp_embtune.training.callbacks.resume import ResumeCallback
from paddlenlp_embtune.training.callbacks.sparse_embedding import SparseEmbeddingCallback
from paddlenlp_embtune.training.callbacks.vocabulary_guard import VocabularyGuardCallback
from paddlenlp_embtune.training.context import TrainingContext, embedding_of, tokens_of
from paddlenlp_embtune.training.parameter_groups import (
    ParameterGroup,
    group_specs,
    group_table,
    groups_named,
    optimizer_groups,
    resolve_groups,
)
from paddlenlp_embtune.training.regularization.apply import regularize
from paddlenlp_embtune.training.run_log import RunRecord
from paddlenlp_embtune.utils.json_yaml import shorten

compat.require_paddle()

__all__ = ["attach", "attach_with_context"]

logger = logging.getLogger("paddlenlp_embtune")


def attach(
    trainer: Any,
    recipe: Recipe,
    *,
    record: RunRecord | None = None,
    tokens: Sequence[str] | None = None,
    monitored_rows: MonitoredRows | None = None,
    identity: Mapping[str, Any] | None = None,
) -> RunRecord:
    """Put a recipe on a PaddleNLP ``Trainer``, before ``trainer.train()``.

    Sets the parameter groups with their absolute learning rates, the schedule and the warm-up, and adds the callbacks that the
    recipe asks for. The recipe's ``data``, ``text``, ``vectors``, ``train`` and ``export`` parts are not used: they are the
    Trainer's and yours.

    Args:
        trainer: a Trainer with a model and without an optimizer of its own.
        recipe: what to do.
        record: where events go; None keeps them in memory.
        tokens: the token of each row of the embedding, so that rows can be named by health checks and by ``rows``, and so
            that a checkpoint which was trained with other tokens is refused; None asks the Trainer's tokenizer.
        monitored_rows: what is known about the rows of the embedding: terms that belong together, the row of the unknown token.
        identity: further plain values that a checkpoint must have been made with, beside the recipe's.
    Returns:
        The record that the callbacks write to.
    Raises:
        HostError: the Trainer has an optimizer already, or no model, or is to run in half precision on a CPU; or
            ``train.precision`` is ``bf16``, and the processor does not multiply that.
        RecipeError: the recipe does not fit the Trainer; for example early stopping without evaluations, or ``bf16`` for a
            model that is no encoder.
        PatternError: a pattern matched no parameter, or two groups claim one.
        PluginError: a plugin's hook raised, or returned something else than its contract says.
    """
    return attach_with_context(
        trainer, recipe, record=record, tokens=tokens, monitored_rows=monitored_rows, identity=identity
    ).record


def attach_with_context(
    trainer: Any,
    recipe: Recipe,
    *,
    record: RunRecord | None = None,
    tokens: Sequence[str] | None = None,
    monitored_rows: MonitoredRows | None = None,
    identity: Mapping[str, Any] | None = None,
    specs: Sequence[GroupSpec] | None = None,
    run_name: str | None = None,
) -> TrainingContext:
    """Do what :func:`attach` does with the same arguments, and return what callbacks got.

    ``specs`` take the place of the groups that the recipe states or a plugin proposes. Trackers call the run ``run_name``; None
    takes the name of the Trainer's output folder.
    """
    check_trainer(trainer)
    compat.keep_freed_memory()
    registry.current().call("embtune_before_attach", trainer=trainer, recipe=recipe)
    if recipe.adapter is not None and not has_adapter(trainer.model):
        add_adapter(trainer.model, recipe.adapter)
    groups = resolve_groups(trainer.model, specs if specs is not None else group_specs(recipe, trainer.model))
    check_recipe(trainer, recipe, groups)
    tokens = tokens if tokens is not None else tokens_of(trainer)
    context = TrainingContext(
        trainer=trainer,
        recipe=recipe,
        groups=tuple(groups),
        record=record if record is not None else RunRecord(),
        tokens=tokens,
        monitored_rows=monitored_rows if monitored_rows is not None else MonitoredRows(tokens=tokens),
        learning_rates=LearningRateCallback(groups, schedule=recipe.schedule, warmup_steps=_warmup_steps(recipe, groups)),
    )
    table = _phases(group_table(groups), groups, recipe)
    _set_optimization(trainer, recipe, groups)
    context.record.write("groups", table=table)
    _add_callbacks(context, identity or {}, run_name=run_name or Path(trainer.args.output_dir).resolve().name)
    return context


def _add_callbacks(context: TrainingContext, identity: Mapping[str, Any], *, run_name: str) -> None:
    """Add every callback of the run, in the order in which they must act."""
    trainer, recipe = context.trainer, context.recipe
    plain = recipe.to_dict()
    vocabulary = [VocabularyGuardCallback(context.tokens)] if context.tokens is not None else []
    seal = CheckpointSealCallback()
    compat.use_safe_checkpoints(trainer, [seal.check, *(guard.check for guard in vocabulary)])
    callbacks = [
        ResumeCallback({**{part: plain[part] for part in ATTACHED_PARTS}, **identity}),
        *vocabulary,
        *_replicas(trainer),
        *_sparse(context),
        LayerNormFixCallback(),
        CpuKernelsCallback(recipe.train.precision),
        *(regularize(trainer, recipe.regularization, record=context.record) if recipe.regularization is not None else ()),
        *_metric_check(context),
        *_of_plugins(context),
        *tracker_callbacks(context, name=run_name),
        context.learning_rates,
        seal,
    ]
    for callback in callbacks:
        if isinstance(callback, EmbtuneCallback):
            callback.setup(context)
        trainer.add_callback(callback)
    compat.close_writers_last(trainer)
    compat.keep_callback_last(trainer, seal)
    compat.restore_on_failure(trainer, [each.teardown for each in reversed(callbacks) if hasattr(each, "teardown")])


def _set_optimization(trainer: Any, recipe: Recipe, groups: list[ParameterGroup]) -> None:
    """Give the Trainer the groups as multipliers of the largest group rate, which its own logs then show.

    LearningRateCallback replaces the multipliers by exact rates when training begins.
    """
    base_rate = max(group.spec.rate for group in groups)
    arguments = trainer.args
    arguments.learning_rate = base_rate
    kind = "constant" if recipe.schedule.kind == "plateau" else recipe.schedule.kind
    if kind == "constant" and recipe.schedule.warmup_ratio:
        kind = "constant_with_warmup"
    arguments.lr_scheduler_type = type(arguments.lr_scheduler_type)(kind)
    arguments.warmup_steps = 0
    arguments.warmup_ratio = recipe.schedule.warmup_ratio
    if recipe.clip is not None:
        arguments.max_grad_norm = 0.0
    trainer.set_optimizer_grouped_parameters(optimizer_groups(groups, base_rate=base_rate))


def _replicas(trainer: Any) -> list[Any]:
    """In several processes, make everything trainable until the model is wrapped, and remember what was not."""
    if trainer.args.world_size <= 1:
        return []
    frozen = [parameter for parameter in trainer.model.parameters() if parameter.stop_gradient]
    for parameter in frozen:
        parameter.stop_gradient = False
    return [ReplicaCheckCallback(frozen)]


def _sparse(context: TrainingContext) -> list[Any]:
    """Have the gradient of a large embedding by rows, from before replicas are wrapped, if that can be had."""
    trainer, sparse = context.trainer, context.recipe.sparse
    if sparse is None:
        return []
    parameter = embedding_of(trainer)
    large = parameter is not None and int(parameter.shape[0]) >= sparse.from_rows
    if not large or not compat.embedding_layers(trainer.model, parameter):
        return []
    callback = SparseEmbeddingCallback()
    try:
        compat.refuse_loss_scale(trainer.args)
        compat.refuse_accumulated_rows(trainer.args)
        callback.prepare(trainer.model)
    except HostError as error:
        logger.warning("the embedding trains with dense gradients: %s", error)
        context.record.write("sparse", used=False, why=str(error))
        return []
    return [callback]


def _metric_check(context: TrainingContext) -> list[Any]:
    """Look before the first step whether the metrics exist that the recipe watches."""
    trainer, watched = context.trainer, watched_by_recipe(context.recipe, context.groups)
    if not watched or trainer.eval_dataset is None:
        return []
    return [MetricCheckCallback(watched, evaluate=lambda: compat.evaluate_without_callbacks(trainer, batches=1))]


def _warmup_steps(recipe: Recipe, groups: list[ParameterGroup]) -> dict[str, int]:
    if recipe.freeze is None or not recipe.freeze.warmup_steps:
        return {}
    held = groups_named(groups, recipe.freeze.groups, what="freeze.groups")
    return {group.spec.name: recipe.freeze.warmup_steps for group in held}


def _phases(table: list[dict[str, Any]], groups: list[ParameterGroup], recipe: Recipe) -> list[dict[str, Any]]:
    """Say in the table when each group trains."""
    freeze = recipe.freeze
    held = [group.spec.name for group in groups_named(groups, freeze.groups, what="freeze.groups")] if freeze else []
    for row in table:
        row["phase"] = "all epochs"
        if freeze is not None and row["name"] in held:
            row["phase"] = freeze.describe(held.index(row["name"]))
        if not row["trainable"]:
            row["phase"] = "frozen before training"
    return table


def _of_plugins(context: TrainingContext) -> list[Any]:
    """Return the callbacks of every plugin, the built-in ones first.

    Raises:
        PluginError: a plugin returned something else than a list of callbacks.
    """
    hook, found = "embtune_register_callbacks", list[Any]()
    arguments = {"recipe": context.recipe, "model": context.model, "groups": context.groups, "context": context}
    for owner, callbacks in reversed(registry.current().answers(hook, **arguments)):
        if not isinstance(callbacks, (list, tuple)) or not all(map(compat.is_callback, callbacks)):
            raise PluginError(
                f"{hook} of the plugin {owner!r} returned {shorten(callbacks)}; expected: a list of TrainerCallback objects, "
                f"empty if the recipe asks for none; correct the plugin, or leave it out with: embtune --block {owner}"
            )
        found.extend(callbacks)
    return found
