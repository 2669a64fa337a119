"""Put a recipe on a Trainer: parameter groups, schedule, and the callbacks of every plugin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from paddlenlp_embtune import registry
from paddlenlp_embtune.errors import HostError, RecipeError
from paddlenlp_embtune.recipe import Recipe
from paddlenlp_embtune.tuning.callback import EmbtuneCallback
from paddlenlp_embtune.tuning.groups import (
    ParameterGroup,
    group_specs,
    group_table,
    groups_named,
    optimizer_groups,
    resolve_groups,
)
from paddlenlp_embtune.tuning.health import EmbeddingHealthCallback
from paddlenlp_embtune.tuning.rates import RateCallback
from paddlenlp_embtune.tuning.record import RunRecord
from paddlenlp_embtune.tuning.resume import ResumeCallback

__all__ = ["attach"]


def attach(trainer: Any, recipe: Recipe, *, record: RunRecord | None = None, tokens: Sequence[str] | None = None) -> RunRecord:
    """Put a recipe on a PaddleNLP ``Trainer``, before ``trainer.train()``.

    Sets the parameter groups with their absolute rates, the schedule and the warm-up, and adds the callbacks that the
    recipe asks for. The recipe's ``data``, ``text``, ``vectors``, ``train`` and ``export`` parts are not used: they are the
    Trainer's and yours.

    Args:
        trainer: a Trainer with a model and without an optimizer of its own.
        recipe: what to do.
        record: where events go; None keeps them in memory.
        tokens: the token of each row of the embedding, so that health checks can name rows.
    Returns:
        The record that the callbacks write to.
    Raises:
        HostError: the Trainer has an optimizer already, or no model.
        RecipeError: the recipe does not fit the Trainer; for example early stopping without evaluations.
        PatternError: a pattern matched no parameter, or two groups claim one.
        PluginError: a plugin's hook raised.
    """
    _check_trainer(trainer, recipe)
    registry.current().call("embtune_before_attach", trainer=trainer, recipe=recipe)
    record = record if record is not None else RunRecord()
    groups = resolve_groups(trainer.model, group_specs(recipe, trainer.model))
    if recipe.freeze is not None:
        groups_named(groups, recipe.freeze.groups, what="freeze.groups")
    _set_optimization(trainer, recipe, groups)
    record.write("groups", table=_phases(group_table(groups), recipe))
    stand_ins = {group.spec.name: next(iter(group.parameters.values())) for group in groups if group.parameters}
    for callback in [ResumeCallback(), RateCallback(stand_ins), *_callbacks(recipe, trainer.model)]:
        if isinstance(callback, EmbtuneCallback):
            callback.record = record
        if isinstance(callback, EmbeddingHealthCallback) and callback.tokens is None:
            callback.tokens = tokens
        trainer.add_callback(callback)
    return record


def _check_trainer(trainer: Any, recipe: Recipe) -> None:
    if getattr(trainer, "model", None) is None:
        raise HostError("the Trainer has no model; give it one before attach")
    if trainer.optimizer is not None:
        raise HostError(
            f"the Trainer has an optimizer already ({type(trainer.optimizer).__name__}), so groups cannot be set; call attach "
            "before train(), and build the Trainer without optimizers=..."
        )
    strategy = getattr(trainer.args.evaluation_strategy, "value", trainer.args.evaluation_strategy)
    if recipe.early_stopping is not None and strategy == "no":
        raise RecipeError(
            "the recipe stops early on a metric, but the Trainer never evaluates; set evaluation_strategy to 'epoch' or "
            "'steps' in its arguments, or early_stopping to null in the recipe"
        )


def _set_optimization(trainer: Any, recipe: Recipe, groups: list[ParameterGroup]) -> None:
    """The one place where absolute rates meet Paddle's multipliers: the largest group rate becomes the base."""
    base_rate = max(group.spec.rate for group in groups)
    arguments = trainer.args
    arguments.learning_rate = base_rate
    arguments.lr_scheduler_type = type(arguments.lr_scheduler_type)(recipe.schedule.kind)
    if recipe.schedule.kind == "constant" and recipe.schedule.warmup_ratio:
        arguments.lr_scheduler_type = type(arguments.lr_scheduler_type)("constant_with_warmup")
    arguments.warmup_steps = 0
    arguments.warmup_ratio = recipe.schedule.warmup_ratio
    if recipe.clip is not None:
        arguments.max_grad_norm = 0.0
    trainer.set_optimizer_grouped_parameters(optimizer_groups(groups, base_rate=base_rate))


def _phases(table: list[dict[str, Any]], recipe: Recipe) -> list[dict[str, Any]]:
    """Say in the table when each group trains."""
    for row in table:
        held = recipe.freeze is not None and row["name"] in recipe.freeze.groups
        row["phase"] = f"frozen until epoch {recipe.freeze.unfreeze_at_epoch}" if held and recipe.freeze else "all epochs"
    return table


def _callbacks(recipe: Recipe, model: Any) -> list[Any]:
    found: list[Any] = []
    for callbacks in reversed(registry.current().call("embtune_register_callbacks", recipe=recipe, model=model)):
        found.extend(callbacks)
    return found
