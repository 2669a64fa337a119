"""Run by test_two_ranks.py on every rank: train with a freeze, write the weights that this rank ends with."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import paddle.distributed

from paddlenlp_embtune.tuning import EarlyStoppingCallback, FreezeCallback, GlobalNormClipCallback, ResumeCallback
from tests.toy import make_trainer

folder = Path(sys.argv[1])
trainer = make_trainer(
    folder / "run",
    ResumeCallback(),
    FreezeCallback(["embedding.*"], unfreeze_at_epoch=1),
    GlobalNormClipCallback(0.5),
    EarlyStoppingCallback("accuracy", mode="max"),
    max_grad_norm=0.0,
    per_device_train_batch_size=8,
    learning_rate=0.05,
)
start = trainer.model.embedding.weight.numpy().copy()
trainer.train()
weights = {name: value.numpy() for name, value in trainer.model.named_parameters()}
np.savez(folder / f"rank{paddle.distributed.get_rank()}.npz", start=start, **weights)
