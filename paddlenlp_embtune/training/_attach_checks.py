"""What ``attach`` refuses: Trainers that groups cannot be put on, and recipes that do not fit one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from paddlenlp_embtune import compat
from paddlenlp_embtune.config import Recipe
from paddlenlp_embtune.errors import HostError, RecipeError
from paddlenlp_embtune.training.parameter_groups import ParameterGroup, groups_named

paddle = compat.require_paddle()

__all__ = ["check_recipe", "check_trainer", "watched_by_recipe"]


def check_trainer(trainer: Any) -> None:
    """Refuse a Trainer that groups cannot be put on.

    Raises:
        HostError: it has no model, or an optimizer already, or is to run in half precision on a CPU.
    """
    if getattr(trainer, "model", None) is None:
        raise HostError("the Trainer has no model; give it one before attach")
    if trainer.optimizer is not None:
        raise HostError(
            f"the Trainer has an optimizer already ({type(trainer.optimizer).__name__}), so groups cannot be set; call attach "
            "before train(), and build the Trainer without optimizers=..."
        )
    _check_precision(trainer.args)


def _check_precision(arguments: Any) -> None:
    """Refuse half precision on a CPU, which the Trainer ignores in one place and fails on in another.

    Raises:
        HostError: the arguments ask for it.
    """
    if not str(paddle.get_device()).startswith("cpu"):
        return
    for name in ("fp16", "bf16", "fp16_full_eval", "bf16_full_eval"):
        if getattr(arguments, name, False):
            raise HostError(
                f"the Trainer's arguments have {name}=True, which needs a GPU, and this runs on a CPU; leave it out"
            )


def check_recipe(trainer: Any, recipe: Recipe, groups: Sequence[ParameterGroup]) -> None:
    """Refuse a recipe that does not fit a Trainer.

    Raises:
        RecipeError: it names a group that is not there, watches a metric of a Trainer that never evaluates, or freezes groups
            whose gradients every process would wait for.
    """
    for parts, what in ((recipe.freeze and recipe.freeze.groups, "freeze.groups"), (_clipped(recipe), "clip.group_norms")):
        groups_named(groups, parts or (), what=what)
    strategy = getattr(trainer.args.evaluation_strategy, "value", trainer.args.evaluation_strategy)
    watching = list(watched_by_recipe(recipe, groups))
    if watching and strategy == "no":
        raise RecipeError(
            f"the recipe watches a metric ({', '.join(watching)}), but the Trainer never evaluates; set evaluation_strategy to "
            "'epoch' or 'steps' in its arguments, or set what watches to null in the recipe"
        )
    finds_unused = getattr(trainer.args, "ddp_find_unused_parameters", None)  # PaddleNLP 2 has no such argument
    if recipe.freeze is not None and trainer.args.world_size > 1 and finds_unused is False:
        raise RecipeError(
            "ddp_find_unused_parameters is False, but the recipe freezes groups, whose gradients every process would wait for; "
            "expected None or True"
        )


def watched_by_recipe(recipe: Recipe, groups: Sequence[ParameterGroup]) -> dict[str, str]:
    """Return the metrics of evaluations that the recipe watches, by the part of it that watches."""
    watched = {}
    if recipe.early_stopping is not None:
        watched["early_stopping"] = recipe.early_stopping.metric
    if recipe.average is not None:
        watched["average"] = str(recipe.average.resolved(recipe.early_stopping).metric)
    if recipe.freeze is not None and recipe.freeze.unfreeze_on_plateau is not None:
        watched["freeze.unfreeze_on_plateau"] = recipe.freeze.unfreeze_on_plateau.metric
    for group in groups:
        schedule = group.spec.schedule or recipe.schedule
        if schedule.plateau is not None and schedule.kind == "plateau":
            watched[f"the schedule of group {group.spec.name!r}"] = schedule.plateau.metric
    return watched


def _clipped(recipe: Recipe) -> tuple[str, ...]:
    return tuple(recipe.clip.group_norms) if recipe.clip is not None else ()
