"""The loss ``small_loss``, for labels of which some are wrong, and the callback that moves it.

Nothing here loads Paddle: ``embtune plugins`` imports this module, training imports ``small_loss`` beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import paddlenlp_embtune as embtune

if TYPE_CHECKING:
    from paddlenlp_embtune.training import TrainingContext

__all__ = ["LOSS", "embtune_register_callbacks", "embtune_register_losses"]

LOSS = "small_loss"


@embtune.hookimpl
def embtune_register_losses() -> dict[str, embtune.Lazy]:
    """The loss; every run makes its own from it."""
    return {LOSS: embtune.Lazy("embtune_sample_weights.small_loss:SmallLoss")}


@embtune.hookimpl
def embtune_register_callbacks(recipe: embtune.Recipe, context: TrainingContext) -> list[Any]:
    """The callback that moves the loss of this run's Trainer, if the recipe asks for it."""
    if recipe.train.loss != LOSS:
        return []
    from embtune_sample_weights.small_loss import SmallLoss, SmallLossCallback

    criterion = context.trainer.criterion
    if not isinstance(criterion, SmallLoss):
        raise embtune.RecipeError(
            f"the recipe's train.loss is {LOSS!r}, but the Trainer's criterion is {type(criterion).__name__}; build it with "
            "Trainer(criterion=SmallLoss(class_weights=...)), or name another loss in the recipe"
        )
    return [SmallLossCallback(criterion)]
