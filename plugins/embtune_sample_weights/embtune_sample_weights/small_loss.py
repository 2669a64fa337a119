"""Small-loss selection: rows that the network fits worst, late, are likely to be labelled wrongly, and are left out.

Source:
    Han et al. 2018, "Co-teaching: Robust Training of Deep Neural Networks with Extremely Noisy Labels", algorithm 1: its
    selection of rows and its schedule R(T), here 1 minus ``share``. Co-teaching proper trains two networks, and each selects
    the rows of the other. This is one network that selects its own, so its mistakes in selecting feed on themselves, which
    is what the second network is there to prevent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle

from paddlenlp_embtune import RecipeError, compat
from paddlenlp_embtune.training.callbacks import EmbtuneCallback

__all__ = ["FORGET_RATE", "RAMP_EPOCHS", "SmallLoss", "SmallLossCallback"]

FORGET_RATE = 0.2
RAMP_EPOCHS = 5


class SmallLoss(paddle.nn.Layer):  # type: ignore[misc]
    """Cross-entropy weighted by class, in which the worst rows of a training batch count for nothing.

    ``share`` says how many: of B rows, share * B, rounded down. It is 0, which is plain weighted cross-entropy, until somebody
    moves it. Rows are ranked before class weights, which say what a mistake costs and not how likely a label is wrong. Where
    no gradients are taken, as when the Trainer evaluates, all rows count, so that losses of different epochs can be compared.

    Args:
        class_weights: one for each class.
    Shapes:
        class_weights: (C,) float32
        forward: (B, C) float32 logits and (B,) int64 labels to a scalar
    """

    def __init__(self, *, class_weights: npt.NDArray[np.float32]) -> None:
        super().__init__()
        self.class_weights = paddle.to_tensor(class_weights)
        self.share = 0.0

    def forward(self, logits: Any, labels: Any) -> Any:
        """Return the mean over the rows that count, weighted by class."""
        losses = paddle.nn.functional.cross_entropy(logits, labels, reduction="none")
        weights = paddle.gather(self.class_weights, labels)
        if paddle.is_grad_enabled():
            weights = weights * self.row_weights(losses)
        return (weights * losses).sum() / weights.sum()

    def row_weights(self, losses: Any) -> Any:
        """Return 0 for the rows with the highest losses and 1 for the others.

        Shapes:
            losses: (B,) float32, before class weights; returns: (B,) float32
        """
        losses = losses.detach()
        # A third of 0.3 is a little less than 0.1 in floating point, and must still be one row in ten.
        count = int(self.share * losses.shape[0] + 1e-6)
        weights = paddle.ones_like(losses)
        return paddle.put_along_axis(weights, paddle.topk(losses, count)[1], 0.0, axis=0) if count else weights


class SmallLossCallback(EmbtuneCallback):
    """Moves the share of a :class:`SmallLoss` at the start of every epoch: linearly from 0, then level.

    The share travels with the checkpoint; so does the schedule, and a run that resumes under another one is refused.

    Args:
        loss: the loss of this run, the very object that the Trainer calls.
        forget_rate: the share of rows that are left out in the end, 0 or more and below 1; the paper sets it to the share of
            wrong labels, known or estimated.
        ramp_epochs: the 0-based epoch in which that share is reached, 1 or more; the paper's T_k.
    """

    def __init__(self, loss: SmallLoss, *, forget_rate: float = FORGET_RATE, ramp_epochs: int = RAMP_EPOCHS) -> None:
        super().__init__()
        if not 0 <= forget_rate < 1:
            raise RecipeError(f"forget_rate is {forget_rate!r}; expected 0 or more and below 1")
        if ramp_epochs < 1:
            raise RecipeError(f"ramp_epochs is {ramp_epochs!r}; expected 1 or more")
        self.loss = loss
        self.forget_rate = forget_rate
        self.ramp_epochs = ramp_epochs

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Move the share, and record it."""
        # Told by the step and not counted here: a checkpoint may lie within an epoch, or on its last step.
        steps = compat.steps_per_epoch(args, kwargs["train_dataloader"])
        epoch = state.global_step // steps if steps else int(state.epoch or 0)
        self.loss.share = self.forget_rate * min(1.0, epoch / self.ramp_epochs)
        self.record.write("small_loss", epoch=epoch, step=state.global_step, share=self.loss.share)

    def settings(self) -> Mapping[str, Any]:
        """The schedule: a run that resumes under another one is refused."""
        return {"forget_rate": self.forget_rate, "ramp_epochs": self.ramp_epochs}

    def state(self) -> Mapping[str, Any]:
        """The share."""
        return {"share": self.loss.share}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Leave out the same share again."""
        self.loss.share = state["share"]
