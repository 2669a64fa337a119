"""What training control costs: steps of a 4-layer, 312-wide encoder with and without the callbacks, and with layers frozen."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Mapping
from typing import Any

import paddlenlp_embtune as embtune

embtune.prepare_cpu()

import numpy as np  # noqa: E402
import paddle  # noqa: E402
from paddlenlp.trainer import Trainer, TrainerCallback, TrainingArguments  # noqa: E402
from paddlenlp.transformers import ErnieConfig, ErnieForSequenceClassification  # noqa: E402

BATCH, LENGTH, LAYERS, WIDTH, VOCABULARY = 32, 64, 4, 312, 40_000
WARM_UP, STEPS, ROUNDS = 2, 10, 7

CONTROL: dict[str, Any] = {
    "layerwise": {"rate": 5e-5},
    "freeze": {"groups": ["embedding"], "unfreeze_at_step": 1, "warmup_steps": 4},
    "clip": {"global_norm": 1.0},
    "early_stopping": {"metric": "loss", "mode": "min"},
    "average": {"metric": "loss", "mode": "min"},
    "health": None,
}
ROWS: dict[str, Any] = {
    **CONTROL,
    "clip": {"global_norm": 1.0, "group_norms": {"head": 0.5}, "row_norm": 1.0},
    "rows": {"protect": list(range(1, 201)), "trust_cosine": 0.5},
}
RECIPES: dict[str, Mapping[str, Any] | None] = {
    "bare Trainer": None,
    "control": CONTROL,
    "control and rows": ROWS,
    "embedding and 2 layers frozen": {
        **CONTROL,
        "freeze": {"groups": ["embedding", "layer.0", "layer.1"], "permanent": True},
    },
}


class RandomRows(paddle.io.Dataset):
    """Random ids; the loss has nothing to learn, which does not matter here."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        generator = np.random.default_rng(0)
        self.ids = generator.integers(1, VOCABULARY, (rows, LENGTH))

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"input_ids": self.ids[index], "labels": index % 3}


class Clock(TrainerCallback):
    """Seconds from the start of a step to that of the next; put last, so that it sees every callback."""

    def __init__(self) -> None:
        self.begins: list[float] = []

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.begins.append(time.perf_counter())

    def take(self) -> float:
        """Median step of the last round, without its first steps."""
        steps = np.diff(self.begins)[WARM_UP:]
        self.begins.clear()
        return float(np.median(steps))


def build(recipe: Mapping[str, Any] | None, out: str) -> tuple[Trainer, Clock]:
    """A Trainer as everybody builds it, with a recipe or without."""
    paddle.seed(0)
    config = ErnieConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=12,
        intermediate_size=4 * WIDTH,
        num_labels=3,
    )
    arguments = TrainingArguments(
        output_dir=out,
        max_steps=WARM_UP + STEPS + 1,
        per_device_train_batch_size=BATCH,
        learning_rate=5e-5,
        weight_decay=0.01,
        evaluation_strategy="steps",
        eval_steps=10**6,
        logging_steps=5,
        save_strategy="no",
        disable_tqdm=True,
        report_to=[],
    )
    trainer = Trainer(
        model=ErnieForSequenceClassification(config),
        criterion=paddle.nn.CrossEntropyLoss(),
        args=arguments,
        train_dataset=RandomRows(BATCH * (WARM_UP + STEPS + 1)),
        eval_dataset=RandomRows(BATCH),
    )
    if recipe is not None:
        embtune.attach(trainer, embtune.Recipe.from_dict(recipe))
    clock = Clock()
    trainer.add_callback(clock)
    return trainer, clock


def main() -> None:
    """Print the medians of all rounds and their ratios to the bare Trainer, which ran in the same rounds."""
    from paddlenlp_embtune import compat

    compat.quiet_logging()
    with tempfile.TemporaryDirectory() as out:
        trainers = {name: build(recipe, out) for name, recipe in RECIPES.items()}
        times: dict[str, list[float]] = {name: [] for name in trainers}
        for round_number in range(ROUNDS + 1):
            for name, (trainer, clock) in trainers.items():
                trainer.train()
                seconds = clock.take()
                if round_number:
                    times[name].append(seconds)
    bare = times["bare Trainer"]
    print(f"step of {LAYERS} layers, width {WIDTH}, batch {BATCH} x {LENGTH}, vocabulary {VOCABULARY:,}; {ROUNDS} rounds")
    for name, seconds in times.items():
        ratios = [mine / theirs for mine, theirs in zip(seconds, bare, strict=True)]
        spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
        print(f"{name:32} {1e3 * statistics.median(seconds):8.1f} ms   ratio {statistics.median(ratios):.3f} ({spread})")


if __name__ == "__main__":
    main()
