"""What regularisation costs: processor time of a training step against the plain one, by one thread, in turn.

The encoder has 4 layers, 128 wide, 5,000 rows; batch 32, length 64, no padding. A step is the Trainer's passes and AdamW's
step. ``r_drop, two passes`` is not what we do: the same loss from two forward passes of B rows and one backward pass.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

from paddlenlp_embtune import prepare_cpu

prepare_cpu(threads=1)

import numpy as np  # noqa: E402
import paddle  # noqa: E402
from paddlenlp.trainer import Trainer, TrainingArguments  # noqa: E402

from paddlenlp_embtune import compat  # noqa: E402
from paddlenlp_embtune.config.regularization import AdversarialSpec, RegularizationSpec  # noqa: E402
from paddlenlp_embtune.models.sequence_classifier import Encoder  # noqa: E402
from paddlenlp_embtune.training.regularization._r_drop import symmetric_divergence  # noqa: E402
from paddlenlp_embtune.training.regularization.apply import regularize  # noqa: E402

ROWS, WIDTH, LABELS, BATCH, LENGTH = 5000, 128, 3, 32, 64
ROUNDS = 7
SPECS = {
    "plain": RegularizationSpec(),
    "embedding_dropout 0.1": RegularizationSpec(embedding_dropout=0.1),
    "label_smoothing 0.1": RegularizationSpec(label_smoothing=0.1),
    "r_drop 1": RegularizationSpec(r_drop=1.0),
    "r_drop, two passes": RegularizationSpec(),
    "fgm": RegularizationSpec(adversarial=AdversarialSpec()),
    "freelb, 3 steps": RegularizationSpec(adversarial=AdversarialSpec(kind="freelb")),
    "r_drop 1 and fgm": RegularizationSpec(r_drop=1.0, adversarial=AdversarialSpec()),
}


def main() -> None:
    compat.quiet_logging()
    compat.keep_freed_memory()
    steps = {name: make_step(name, spec) for name, spec in SPECS.items()}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(-2, ROUNDS):
        for name, step in steps.items():
            started = time.process_time()
            step()
            if number >= 0:
                times[name].append(time.process_time() - started)
    for name, values in times.items():
        ratio = statistics.median(value / plain for value, plain in zip(values, times["plain"], strict=True))
        print(f"{name:24} {statistics.median(values) * 1000:7.1f} ms of processor time, {ratio:.2f} of plain", flush=True)


def make_step(name: str, spec: RegularizationSpec) -> Callable[[], None]:
    settings = {
        "vocab_size": ROWS,
        "hidden_size": WIDTH,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "intermediate_size": 4 * WIDTH,
        "max_position_embeddings": LENGTH,
    }
    paddle.seed(0)
    model = Encoder(
        vocabulary_size=ROWS,
        dimension=WIDTH,
        num_labels=LABELS,
        architecture="ErnieForSequenceClassification",
        settings=settings,
    )
    arguments = TrainingArguments(output_dir=tempfile.gettempdir(), disable_tqdm=True, report_to=[])
    trainer = Trainer(model=model, criterion=paddle.nn.CrossEntropyLoss(), args=arguments)
    regularize(trainer, spec)
    if "two passes" in name:
        trainer.compute_loss = two_passes
    optimizer = paddle.optimizer.AdamW(5e-5, parameters=model.parameters())
    generator = np.random.default_rng(0)
    ids = paddle.to_tensor(generator.integers(1, ROWS, (BATCH, LENGTH)))
    labels = paddle.to_tensor(generator.integers(0, LABELS, BATCH))

    def step() -> None:
        trainer.training_step(model, {"input_ids": ids, "labels": labels})
        optimizer.step()
        optimizer.clear_grad()

    return step


def two_passes(model: Any, inputs: dict[str, Any]) -> Any:
    first, second = model(inputs["input_ids"]), model(inputs["input_ids"])
    losses = [paddle.nn.functional.cross_entropy(logits, inputs["labels"]) for logits in (first, second)]
    return (losses[0] + losses[1]) / 2 + symmetric_divergence(first, second) / 4


if __name__ == "__main__":
    main()
