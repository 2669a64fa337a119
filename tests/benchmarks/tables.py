"""Large tables: what a training step costs from 20,000 to 1,000,000 rows of 128, with gradients by rows and dense ones.

The text CNN on invented ids, batch 64 x 64, every id equally likely, so that nearly all of a batch's 4,096 tokens are
different rows: the worst case. PaddleNLP's Trainer with everything that a recipe attaches by default, health too. Each figure
is the median of all steps after the first ten of a process of its own; memory is what the process had at most beyond what it
had before its first step. ``bare`` is the same model on the same Trainer without a recipe.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROWS = (20_000, 100_000, 300_000, 1_000_000)
WIDTH, LENGTH, BATCH = 128, 64, 64
STEPS = {"sparse": 60, "dense": 25, "bare": 25}


def measure(rows: int, how: str) -> None:
    """Train in this process, and print what it cost as JSON."""
    import paddlenlp_embtune as embtune

    embtune.prepare_cpu()

    import numpy as np
    import paddle
    from paddlenlp.trainer import Trainer, TrainerCallback, TrainingArguments

    from paddlenlp_embtune import compat
    from paddlenlp_embtune.models.textcnn import TextCNN

    compat.quiet_logging()
    steps = STEPS[how]

    class Clock(TrainerCallback):
        """Times whole steps: reading, forward, backward, every callback, the optimizer."""

        def __init__(self) -> None:
            self.at: list[float] = []
            self.before = 0

        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if not self.at:
                self.before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            self.at.append(time.perf_counter())

    class Ids(paddle.io.Dataset):
        def __len__(self) -> int:
            return steps * BATCH

        def __getitem__(self, index: int) -> dict[str, Any]:
            generator = np.random.default_rng(index)
            return {"input_ids": generator.integers(1, rows, LENGTH), "labels": int(generator.integers(0, 3))}

    paddle.seed(0)
    model = TextCNN(vocabulary_size=rows, dimension=WIDTH, num_labels=3, ngram_buckets=0)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model,
            criterion=paddle.nn.CrossEntropyLoss(),
            args=TrainingArguments(
                output_dir=folder,
                num_train_epochs=1,
                per_device_train_batch_size=BATCH,
                max_grad_norm=1.0,
                save_strategy="no",
                disable_tqdm=True,
                report_to=[],
            ),
            train_dataset=Ids(),
        )
        if how != "bare":
            recipe = {"freeze": None, "early_stopping": None, "sparse": {"from_rows": 0} if how == "sparse" else None}
            embtune.attach(trainer, embtune.Recipe.from_dict(recipe))
        trainer.add_callback(clock)
        trainer.train()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = np.diff(clock.at)[10:]
    print(json.dumps({"ms": float(np.median(seconds)) * 1000, "mb": (peak - clock.before) / 1024}))


def main() -> None:
    found: dict[tuple[int, str], dict[str, float]] = {}
    rounds = 3
    for _ in range(rounds):
        for rows in ROWS:
            for how in STEPS:
                command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.tables", str(rows), how]
                done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2])
                now = json.loads(done.stdout.splitlines()[-1])
                kept = found.setdefault((rows, how), {"ms": [], "mb": []})  # type: ignore[arg-type]
                for key, value in now.items():
                    kept[key].append(value)  # type: ignore[attr-defined]
    middle = {key: {name: sorted(values)[len(values) // 2] for name, values in each.items()} for key, each in found.items()}
    print("| rows | by rows, ms | to 20,000 by rows | dense, ms | bare Trainer, ms | bare / by rows | by rows, MB | bare, MB |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    base = middle[ROWS[0], "sparse"]["ms"]
    for rows in ROWS:
        sparse, dense, bare = (middle[rows, how] for how in ("sparse", "dense", "bare"))
        print(
            f"| {rows:,} | {sparse['ms']:.1f} | {sparse['ms'] / base:.2f} | {dense['ms']:.1f} | {bare['ms']:.1f} | "
            f"{bare['ms'] / sparse['ms']:.1f} | {sparse['mb']:.0f} | {bare['mb']:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    if len(sys.argv) > 2:
        measure(int(sys.argv[1]), sys.argv[2])
    else:
        main()
