"""The loss ``small_loss``, for labels of which some are wrong, and the callback that moves it.

Nothing here loads Paddle: ``embtune plugins`` imports this module, training imports ``small_loss`` beside it.
"""

from __future__ import annotations

import weakref
from typing import Any

import paddlenlp_embtune as embtune
from paddlenlp_embtune.plugin import Lazy

__all__ = ["LOSS", "embtune_before_attach", "embtune_register_callbacks", "embtune_register_losses"]

LOSS = "small_loss"

# The loss of every Trainer, between two hooks of one attach: the first is handed the Trainer, the second has to return the
# callback and is handed the model, so the model is the key. Trainers built in one process, in any order, stay apart.
_losses: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


@embtune.hookimpl
def embtune_register_losses() -> dict[str, Lazy]:
    """The loss; every run makes its own from it."""
    return {LOSS: Lazy("embtune_sample_weights.small_loss:SmallLoss")}


@embtune.hookimpl
def embtune_before_attach(trainer: Any, recipe: embtune.Recipe) -> None:
    """Remember the loss of the Trainer, if the recipe asks for ours."""
    if recipe.train.loss != LOSS:
        return
    from embtune_sample_weights.small_loss import SmallLoss

    if not isinstance(trainer.criterion, SmallLoss):
        raise embtune.RecipeError(
            f"the recipe's train.loss is {LOSS!r}, but the Trainer's criterion is {type(trainer.criterion).__name__}; "
            "build it with Trainer(criterion=SmallLoss(class_weights=...)), or name another loss in the recipe"
        )
    _losses[trainer.model] = trainer.criterion


@embtune.hookimpl
def embtune_register_callbacks(recipe: embtune.Recipe, model: Any) -> list[Any]:
    """The callback that moves the loss of this run, if the recipe asks for it."""
    if recipe.train.loss != LOSS:
        return []
    from embtune_sample_weights.small_loss import SmallLossCallback

    return [SmallLossCallback(_losses.pop(model))]
