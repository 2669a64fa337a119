"""Two lines put a recipe on a Trainer that you built yourself. Run it: python examples/own_trainer.py"""

from __future__ import annotations

import paddlenlp_embtune as embtune

embtune.prepare_cpu()  # before paddle is imported: thread count, and the fast path on AMD processors

import numpy as np  # noqa: E402
import paddle  # noqa: E402
from paddlenlp.trainer import Trainer, TrainingArguments  # noqa: E402


class Model(paddle.nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = paddle.nn.Embedding(100, 16)
        self.classifier = paddle.nn.Linear(16, 2)

    def forward(self, input_ids: paddle.Tensor) -> paddle.Tensor:
        return self.classifier(self.embedding(input_ids).mean(axis=1))


class Rows(paddle.io.Dataset):
    """Token 7 makes a text positive."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.ids = np.random.default_rng(seed).integers(1, 30, (512, 10))

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> dict:
        return {"input_ids": self.ids[index], "labels": int((self.ids[index] == 7).any())}


def accuracy(prediction) -> dict:
    return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}


trainer = Trainer(
    model=Model(),
    criterion=paddle.nn.CrossEntropyLoss(),
    args=TrainingArguments("runs/own", num_train_epochs=5, evaluation_strategy="epoch", save_strategy="no", report_to=[]),
    train_dataset=Rows(0),
    eval_dataset=Rows(1),
    compute_metrics=accuracy,
)
recipe = embtune.Recipe.from_dict(
    {
        "groups": [
            {"name": "embedding", "parameters": ["embedding.*"], "rate": 0.02},
            {"name": "head", "rate": 0.05, "weight_decay": 0.01},
        ],
        "freeze": {"groups": ["embedding"], "unfreeze_at_epoch": 1},
        "early_stopping": {"metric": "accuracy", "mode": "max", "patience_evals": 2},
    }
)
record = embtune.attach(trainer, recipe)
trainer.train()
for event in record.of("health"):
    print(f"epoch {event['epoch']:.0f}: {event['rows_moved']} rows moved, cosine drift {event['cosine_drift_mean']:.4f}")
