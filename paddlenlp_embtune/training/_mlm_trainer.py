"""Masked-language training of an encoder with the Trainer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from paddlenlp_embtune import compat
from paddlenlp_embtune.compat import TrainingArguments
from paddlenlp_embtune.data import EncodedDataset, MaskedBatch, MaskingSpec, collate, mask_tokens
from paddlenlp_embtune.training._trainer import CheckpointCallback, LengthBatchedTrainer
from paddlenlp_embtune.training.callbacks.base import EmbtuneCallback

paddle = compat.require_paddle()

__all__ = ["FirstLossCallback", "MaskedTrainer", "masked_loss"]


class MaskedTrainer(LengthBatchedTrainer):
    """A Trainer for :class:`paddlenlp_embtune.models.masked_lm.MaskedLanguageModel`, which hides other tokens in every epoch.

    What is hidden is drawn from Paddle's generator, whose state the Trainer keeps in its checkpoints.

    Args:
        model: the encoder with its head.
        ids: of the texts.
        masking: what is hidden.
        out: folder of the checkpoints.
        epochs, batch_size, seed: of the training.
        checkpoint_seconds: time between checkpoints; None writes none.
    """

    def __init__(
        self,
        model: Any,
        ids: Sequence[Sequence[int]],
        *,
        masking: MaskingSpec,
        out: str,
        epochs: int,
        batch_size: int,
        seed: int,
        checkpoint_seconds: float | None,
    ) -> None:
        self._masking = masking
        super().__init__(
            model=model,
            args=TrainingArguments(
                output_dir=out,
                num_train_epochs=epochs,
                per_device_train_batch_size=batch_size,
                logging_steps=max(1, len(ids) // batch_size // 5),
                evaluation_strategy="no",
                save_strategy="no",
                save_total_limit=2,
                seed=seed,
                disable_tqdm=True,
                report_to=[],
                remove_unused_columns=False,
            ),
            data_collator=collate,
            train_dataset=EncodedDataset(ids, [0] * len(ids)),
            callbacks=[] if checkpoint_seconds is None else [CheckpointCallback(checkpoint_seconds)],
        )

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False) -> Any:
        """Hide tokens of a batch and return the mean cross-entropy of the guesses."""
        ids = inputs["input_ids"]
        masked = mask_tokens(ids.numpy(), paddle.rand([3, *ids.shape]).numpy(), self._masking)
        loss = _loss(model, masked)
        return (loss, loss) if return_outputs else loss


class FirstLossCallback(EmbtuneCallback):
    """Measures a loss at the end of the first epoch.

    Args:
        measure: returns it; may put the model into evaluation mode.
    """

    def __init__(self, measure: Callable[[], float]) -> None:
        super().__init__()
        self.loss = float("nan")
        self._measure = measure

    def state(self) -> Mapping[str, Any]:
        """The loss, or None while it has not been measured."""
        return {"loss": self.loss if math.isfinite(self.loss) else None}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take the loss of a checkpoint back."""
        self.loss = float("nan") if state["loss"] is None else float(state["loss"])

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Measure, the first time."""
        if not math.isfinite(self.loss):
            self.loss = self._measure()
            kwargs["model"].train()


def masked_loss(model: Any, ids: Sequence[Sequence[int]], masking: MaskingSpec, *, seed: int) -> float:
    """Return the mean cross-entropy, in nats, of guesses of tokens hidden in texts; the same ones for the same seed.

    Args:
        model: the encoder with its head; is left in evaluation mode.
        ids: of the texts.
        masking: what is hidden.
        seed: seeds what is hidden.
    """
    model.eval()
    generator = np.random.default_rng(seed)
    total, count = 0.0, 0
    order = np.argsort([len(row) for row in ids], kind="stable")
    for start in range(0, len(order), 64):
        batch = collate([(ids[index], 0) for index in order[start : start + 64]])["input_ids"]
        masked = mask_tokens(batch, generator.random((3, *batch.shape)), masking)
        with paddle.no_grad():
            total += float(_loss(model, masked)) * len(masked.places)
        count += len(masked.places)
    return total / max(count, 1)


def _loss(model: Any, masked: MaskedBatch) -> Any:
    logits = model(paddle.to_tensor(masked.ids), paddle.to_tensor(masked.places))
    return paddle.nn.functional.cross_entropy(logits, paddle.to_tensor(masked.tokens))
