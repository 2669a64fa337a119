"""Run by test_two_ranks.py on every rank: train as told, write the weights that this rank ends with."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import paddle.distributed

import paddlenlp_embtune as embtune  # before paddlenlp, which lacks something beside aistudio-sdk 0.3

# isort: split
from paddlenlp_embtune.training.callbacks import (
    EarlyStoppingCallback,
    FreezingCallback,
    GlobalNormClippingCallback,
    ResumeCallback,
)
from paddlenlp_embtune.utils.checkpoint_folders import last_checkpoint
from tests.host import TrainerCallback
from tests.toy import Toy, make_trainer

ARGUMENTS: dict[str, Any] = {
    "max_grad_norm": 0.0,
    "per_device_train_batch_size": 8,
    "learning_rate": 0.05,
    "num_train_epochs": 4,
}
GRADUAL = embtune.Recipe.from_dict(
    {
        "groups": [
            {"name": "embedding", "parameters": ["embedding.*"], "rate": 0.02},
            {"name": "encoder", "parameters": ["encoder.*"], "rate": 0.02, "weight_decay": 0.1},
            {"name": "head", "rate": 0.03},
        ],
        "freeze": {"groups": ["encoder", "embedding"], "gradual": True, "unfreeze_at_epoch": 1, "refreeze_at_epoch": 3},
        "rows": {"protect": [3], "trust_cosine": 0.9},
        "clip": {"global_norm": 0.5, "row_norm": 0.1},
        "early_stopping": {"metric": "accuracy", "patience_evals": 9, "restore_best": False},
        "average": {"kind": "ema", "every_steps": 2, "metric": "accuracy"},
    }
)


class Release(TrainerCallback):
    """A stranger's callback: trains from the second epoch what was frozen before the Trainer was built."""

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step:
            kwargs["model"].embedding.weight.stop_gradient = False


def alone(folder: Path) -> Any:
    return make_trainer(
        folder,
        ResumeCallback(),
        FreezingCallback(["embedding.*"], unfreeze_at_epoch=1),
        GlobalNormClippingCallback(0.5),
        EarlyStoppingCallback("accuracy", mode="max"),
        **ARGUMENTS,
    )


def gradual(folder: Path) -> Any:
    trainer = make_trainer(folder, save_strategy="steps", save_steps=3, **ARGUMENTS)
    embtune.attach(trainer, GRADUAL)
    return trainer


def frozen_before(folder: Path, *, attach: bool) -> Any:
    paddle.seed(0)
    model = Toy()
    model.embedding.weight.stop_gradient = True
    trainer = make_trainer(folder, Release(), model=model, **ARGUMENTS)
    if attach:
        embtune.attach(trainer, embtune.Recipe.from_dict({"freeze": None, "early_stopping": None, "health": None}))
    return trainer


def sparse(folder: Path) -> Any:
    trainer = make_trainer(folder, **ARGUMENTS)
    recipe = {"freeze": None, "early_stopping": None, "health": None, "sparse": {"from_rows": 0}, "rows": {"protect": [3]}}
    embtune.attach(trainer, embtune.Recipe.from_dict(recipe))
    return trainer


def kernels(folder: Path) -> Any:
    """A text CNN whose window product is oneDNN's."""
    from paddlenlp_embtune.models import TextCNN

    os.environ["EMBTUNE_KERNELS"] = "onednn"
    paddle.seed(0)
    model = TextCNN(vocabulary_size=30, dimension=8, num_labels=3, filters=16, ngram_buckets=0)
    trainer = make_trainer(folder, model=model, **ARGUMENTS)
    embtune.attach(trainer, embtune.Recipe.from_dict({"freeze": None, "early_stopping": None, "health": None}))
    return trainer


def bf16(folder: Path) -> Any:
    """An encoder whose products are in bfloat16."""
    from paddlenlp_embtune.models.pretrained_classifier import classifier_on
    from tests.encoders import tiny_encoder

    encoder = tiny_encoder()
    paddle.seed(0)
    trainer = make_trainer(folder, model=classifier_on(encoder, encoder.table, num_labels=3, options={}), **ARGUMENTS)
    plain = {"freeze": None, "early_stopping": None, "health": None, "train": {"precision": "bf16"}}
    embtune.attach(trainer, embtune.Recipe.from_dict(plain))
    return trainer


def main(case: str, folder: Path) -> None:
    makers = {
        "alone": alone,
        "gradual": gradual,
        "resumed": gradual,
        "sparse": sparse,
        "kernels": kernels,
        "bf16": bf16,
        "frozen_before_plain": lambda path: frozen_before(path, attach=False),
        "frozen_before_attached": lambda path: frozen_before(path, attach=True),
    }
    trainer = makers[case](folder / "run")
    start = next(iter(trainer.model.parameters())).numpy().copy()
    checkpoint = folder / "run" / "checkpoint-9" if case == "resumed" else None
    assert checkpoint is None or last_checkpoint(folder / "run") is not None
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    weights = {name: value.numpy() for name, value in trainer.model.named_parameters()}
    np.savez(folder / f"{case}{paddle.distributed.get_rank()}.npz", start=start, **weights)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
    # The host aborts at times when a rank takes its connections down and another has gone already.
    paddle.distributed.barrier()
    sys.stdout.flush()
    os._exit(0)
