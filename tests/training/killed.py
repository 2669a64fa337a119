"""Run by test_kill.py: train with everything switched on, and die by SIGKILL where told; a later call continues."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import paddle

import paddlenlp_embtune as embtune  # before paddlenlp, which lacks something beside aistudio-sdk 0.3

# isort: split
from paddlenlp_embtune.training.callbacks import EarlyStoppingCallback
from paddlenlp_embtune.utils.checkpoint_folders import last_checkpoint
from tests.host import TrainerCallback
from tests.toy import Toy, make_trainer

RECIPE = embtune.Recipe.from_dict(
    {
        "groups": [
            {"name": "embedding", "parameters": ["embedding.*"], "rate": 0.02},
            {"name": "encoder", "parameters": ["encoder.*"], "rate": 0.02, "weight_decay": 0.1},
            {"name": "norm", "layers": ["LayerNorm"], "rate": 0.01, "schedule": {"kind": "constant"}},
            {
                "name": "head",
                "rate": 0.03,
                "weight_decay": 0.01,
                "schedule": {"kind": "plateau", "plateau": {"metric": "accuracy"}, "factor": 0.9},
            },
        ],
        "schedule": {"kind": "cosine", "warmup_ratio": 0.1},
        "freeze": {
            "groups": ["encoder", "embedding"],
            "gradual": True,
            "unfreeze_at_epoch": 1,
            "refreeze_at_epoch": 4,
            "warmup_steps": 3,
        },
        "rows": {"protect": [3, 5], "trust_cosine": 0.97, "trust_every_steps": 3},
        "clip": {"global_norm": 0.5, "group_norms": {"head": 0.2}, "row_norm": 0.1},
        "early_stopping": {"metric": "accuracy", "mode": "max", "patience_evals": 3, "start_delay_evals": 1},
        "average": {"every_steps": 2, "metric": "accuracy"},
    }
)
PHASES = {"frozen": (1, 4), "encoder released": (4, 8), "all released": (8, 16), "frozen again": (16, 20)}
"""Steps of each phase, the last excluded: four steps to an epoch, from 9 batches accumulated by two; one batch is left over."""


class DropoutToy(Toy):
    def __init__(self) -> None:
        super().__init__()
        self.dropout = paddle.nn.Dropout(0.3)

    def forward(self, input_ids: Any) -> Any:
        hidden = self.norm(self.dropout(self.embedding(input_ids)).mean(axis=1))
        return self.classifier(self.dropout(paddle.tanh(self.encoder(hidden))))


class Death(TrainerCallback):
    """Kills the process before a step, or in the middle of writing the checkpoint of a step."""

    def __init__(self, step: int, *, while_saving: bool) -> None:
        self.step = step
        self.while_saving = while_saving

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not self.while_saving and state.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.while_saving and state.global_step >= self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def main(place: str, death: int = -1, how: str = "step") -> None:
    folder = Path(place)
    paddle.seed(0)
    trainer = make_trainer(
        folder,
        model=DropoutToy(),
        rows=72,
        num_train_epochs=5,
        per_device_train_batch_size=8,
        gradient_accumulation_steps=2,
        save_strategy="steps",
        save_steps=3,
        logging_steps=1,
    )
    # Before the recipe's callbacks, so that dying while saving leaves their files unwritten.
    trainer.add_callback(Death(death, while_saving=how == "saving"))
    record = embtune.attach(trainer, RECIPE)
    checkpoint = last_checkpoint(folder)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    stop = next(c for c in trainer.callback_handler.callbacks if isinstance(c, EarlyStoppingCallback))
    state = trainer.optimizer.state_dict()
    weights = {name: value.numpy() for name, value in trainer.model.named_parameters()}
    moments = {key: value.numpy() for key, value in state.items() if key.split("_")[-2].startswith(("moment", "acc"))}
    np.savez(folder / "end.npz", **weights, **moments)
    told = {
        "best": [stop.best_value, stop.best_step, stop.bad_evals, str(stop.stop_reason)],
        "events": [{k: v for k, v in event.items() if k != "time"} for event in record.events],
        "steps": trainer.state.global_step,
    }
    (folder / "end.json").write_text(json.dumps(told), encoding="utf-8")
