"""How long the text CNN trains, and in which batches: macro-F1, accuracy and processor time of several schedules.

Training rows are divided, nine tenths to train on and a tenth to choose the best epoch and the regression's share on; figures
are those of the development rows, which decide nothing. The loop is that of ``embtune train`` without its Trainer: groups,
frozen first epoch, warm-up, linear decay, clipping, averaging with the regression.

``python -m tests.benchmarks.schedule SET ...`` prints a line for each schedule and seed.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import paddlenlp_embtune as embtune

embtune.prepare_cpu(threads=1)

import numpy as np  # noqa: E402
import paddle  # noqa: E402

from paddlenlp_embtune import compat  # noqa: E402
from paddlenlp_embtune.data import EncodedDataset, LengthBatchSampler  # noqa: E402
from paddlenlp_embtune.evaluation import classification_report  # noqa: E402
from paddlenlp_embtune.models import TextCNN, set_embedding  # noqa: E402
from paddlenlp_embtune.text import pad  # noqa: E402
from paddlenlp_embtune.training._criterion import class_weights  # noqa: E402
from paddlenlp_embtune.training._prepare import Prepared, prepare  # noqa: E402

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
SETS = ("finfe", "fin_news_pn", "nlpcc14_sc", "waimai", "kuake_qic", "thucnews_titles10")
SEEDS = 3


class Schedule(NamedTuple):
    """Rows of a batch, steps that decide the number of epochs, least number of epochs, and a factor of the rates."""

    batch: int
    steps: int
    least: int
    factor: float


SCHEDULES = {
    "64 rows, 1,200 steps": Schedule(64, 1200, 8, 1.0),
    "128 rows, 400 steps": Schedule(128, 400, 6, 2**0.5),
    "128 rows, 500 steps": Schedule(128, 500, 6, 2**0.5),
    "128 rows, 600 steps": Schedule(128, 600, 6, 2**0.5),
}


class Rows(NamedTuple):
    """Rows with the logits of the regression."""

    data: EncodedDataset
    regression: np.ndarray


def main() -> None:
    if not DATA.is_dir():
        print(f"schedules: skipped, {DATA} is absent")
        return
    compat.keep_freed_memory()
    for name in sys.argv[1:] or SETS:
        folder = DATA / name
        data = {"train": str(folder / "train.tsv"), "dev": str(folder / "dev.tsv")}
        prepared = prepare(embtune.Recipe.from_dict({"data": data}))
        for seed in range(SEEDS):
            compare(name, prepared, seed)


def compare(name: str, prepared: Prepared, seed: int) -> None:
    """Divide the rows by a seed, fit the regression, and print what every schedule comes to."""
    whole = prepared.train_dataset()
    order = np.random.default_rng(seed).permutation(len(whole))
    held, taught = (
        EncodedDataset([whole.ids[row] for row in rows], [whole.labels[row] for row in rows])
        for rows in np.split(order, [len(order) // 10])
    )
    weights = class_weights(taught.labels, len(prepared.labels), balance=0.5)
    fitted = network(prepared, ngram_buckets=131072)
    fitted.fit_before_training(taught.ids, taught.labels, class_weights=weights)
    dev, test = (Rows(rows, logits(fitted._ngram_logits, rows)) for rows in (held, prepared.dev_dataset()))
    for label, schedule in SCHEDULES.items():
        started = time.process_time()
        f1, accuracy, epochs = run(prepared, schedule, taught, dev, test, weights=weights, seed=seed)
        seconds = time.process_time() - started
        print(
            f"{name:<12} seed {seed}  {label:<20} macro-F1 {f1:.4f}  accuracy {accuracy:.4f}  {epochs:>2} epochs  "
            f"{seconds:5.1f} s of the processor",
            flush=True,
        )


def network(prepared: Prepared, *, ngram_buckets: int = 0) -> TextCNN:
    count, dimension = prepared.table.shape
    made = TextCNN(vocabulary_size=count, dimension=dimension, num_labels=len(prepared.labels), ngram_buckets=ngram_buckets)
    set_embedding(made, prepared.table)
    return made


def logits(of_batch: Any, rows: EncodedDataset) -> np.ndarray:
    order, parts = np.argsort(rows.lengths, kind="stable"), []
    with paddle.no_grad():
        for begin in range(0, len(order), 256):
            parts.append(of_batch(paddle.to_tensor(pad([rows.ids[row] for row in order[begin : begin + 256]]))).numpy())
    found = np.concatenate(parts)
    found[order] = found.copy()
    return found


def scores(rows: Rows, of_network: np.ndarray, *, share: float) -> tuple[float, float]:
    """Macro-F1 and accuracy of the average of network and regression."""
    found = ((1 - share) * of_network + share * rows.regression).argmax(axis=1)
    report = classification_report(list(rows.data.labels), found.tolist(), [str(n) for n in range(of_network.shape[1])])
    return report["f1_macro"], report["accuracy"]


def run(
    prepared: Prepared, schedule: Schedule, taught: EncodedDataset, dev: Rows, test: Rows, *, weights: np.ndarray, seed: int
) -> tuple[float, float, int]:
    """Train once; return macro-F1 and accuracy of the best epoch, and the epochs that were trained."""
    paddle.seed(seed)
    net = network(prepared)
    net.fast_steps = True
    table = net.embedding.weight
    optimizer = paddle.optimizer.AdamW(
        2e-3,
        parameters=[
            {"params": [table], "learning_rate": 0.5, "weight_decay": 0.0},
            {"params": [net.convolution.weight, net.head.weight], "weight_decay": 0.01},
            {"params": [net.convolution.bias, net.head.bias], "weight_decay": 0.0},
        ],
        grad_clip=paddle.nn.ClipGradByGlobalNorm(1.0),
    )
    sampler = LengthBatchSampler(taught, batch_size=schedule.batch, seed=seed, num_replicas=1, rank=0)
    epochs = min(40, max(schedule.least, round(schedule.steps / len(sampler))))
    total, step, best, waited, kept = epochs * len(sampler), 0, -1.0, 0, None
    warmup, balance = int(0.05 * total), paddle.to_tensor(weights)
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        table.stop_gradient = epoch == 0
        net.train()
        for rows in sampler:
            optimizer.set_lr(2e-3 * schedule.factor * min(step / warmup, (total - step) / (total - warmup)))
            labels = paddle.to_tensor(np.array([taught.labels[row] for row in rows]))
            found = net(paddle.to_tensor(pad([taught.ids[row] for row in rows])))
            paddle.nn.functional.cross_entropy(found, labels, weight=balance).backward()
            optimizer.step()
            optimizer.clear_grad()
            step += 1
        net.eval()
        of_dev = logits(net, dev.data)
        value = scores(dev, of_dev, share=0.5)[0]
        waited = 0 if value > best else waited + (epoch > 0)
        if value > best:
            best, kept = value, (of_dev, logits(net, test.data))
        if waited >= max(4, -(-epochs // 3)):
            break
    assert kept is not None
    share = max((tenth / 10 for tenth in range(1, 10)), key=lambda each: scores(dev, kept[0], share=each))
    return (*scores(test, kept[1], share=share), epoch + 1)


if __name__ == "__main__":
    main()
