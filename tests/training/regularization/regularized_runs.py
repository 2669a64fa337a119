"""Run by test_regularized_runs.py: train with everything on; die by SIGKILL where told, or run on two ranks."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import paddle.distributed

import paddlenlp_embtune as embtune  # before paddlenlp, which lacks something beside aistudio-sdk 0.3

# isort: split
from paddlenlp_embtune.config.regularization import RegularizationSpec
from paddlenlp_embtune.utils.checkpoint_folders import last_checkpoint
from tests.host import TrainerCallback
from tests.training.regularized import make_regularized

ON = {"embedding_dropout": 0.2, "label_smoothing": 0.1, "r_drop": 1.0}
FREEZE = {"groups": ["embedding"], "unfreeze_at_epoch": 1}
RECIPE = {"early_stopping": None, "health": None, "freeze": None}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "fgm": ({**ON, "adversarial": {"kind": "fgm"}}, {**RECIPE, "freeze": FREEZE}),
    "freelb": ({**ON, "adversarial": {"kind": "freelb"}}, {**RECIPE, "freeze": FREEZE}),
    "freelb_by_rows": ({**ON, "adversarial": {"kind": "freelb"}}, {**RECIPE, "sparse": {"from_rows": 0}}),
}


class Death(TrainerCallback):
    """Kills the process before a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def main(case: str, place: str, death: int = -1) -> None:
    folder = Path(place)
    regularization, recipe = CASES[case]
    trainer = make_regularized(
        folder / "run",
        RegularizationSpec(**regularization),
        Death(death),
        num_train_epochs=4,
        per_device_train_batch_size=8,
        # Paddle 3.3 dies where replicas exchange gradients by rows after several batches, regularised or not.
        gradient_accumulation_steps=1 if "sparse" in recipe else 2,
        save_strategy="steps",
        save_steps=3,
    )
    embtune.attach(trainer, embtune.Recipe.from_dict(recipe))
    start = {f"start {name}": value.numpy().copy() for name, value in trainer.model.named_parameters()}
    checkpoint = last_checkpoint(folder / "run")
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    weights = {name: value.numpy() for name, value in trainer.model.named_parameters()}
    np.savez(folder / f"{case}{paddle.distributed.get_rank()}.npz", **start, **weights)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
    if paddle.distributed.get_world_size() > 1:
        # The host aborts at times when a rank takes its connections down and another has gone already.
        paddle.distributed.barrier()
    sys.stdout.flush()
    os._exit(0)
