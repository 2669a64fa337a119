"""One training step of the text CNN against PyTorch's for the same network: batch 64, width 128, 20,942 rows.

Both sides: 384 filters over 3 tokens, tokens blanked at 0.1, maximum over time, dropout, linear head, cross-entropy, clipping
at norm 1, AdamW. PyTorch uses the operators that its users would: Embedding, Conv1d, amax, Linear. Tokens are drawn as they
stand in texts (Zipf's law), and uniformly, so that hardly any stands twice in a batch. The sides run in turn in processes of
their own, and the ratio is taken round by round.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

BATCH, WIDTH, ROWS, LABELS, FILTERS = 64, 128, 20942, 3, 384
LENGTH, EXPONENT = 64, 1.0
CASES = {"posts": (24, EXPONENT), "paragraphs": (64, EXPONENT), "long texts": (256, EXPONENT), "uniform": (64, 0.0)}
"""Tokens of a text, and how fast the frequency of a token falls with its rank."""

ROUNDS, STEPS = 5, 40
THREADS = 2


def main() -> None:
    print(f"step time, {THREADS} threads, medians of {ROUNDS} rounds")
    for case, (length, exponent) in CASES.items():
        ratios, times = [], {"paddle": [], "torch": []}
        for _ in range(ROUNDS):
            for side, values in times.items():
                command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.step_time", side, str(length), str(exponent)]
                done = subprocess.run(command, check=True, text=True, capture_output=True)
                values.append(float(done.stdout.split()[-1]))
            ratios.append(times["paddle"][-1] / times["torch"][-1])
        paddle_ms, torch_ms = (statistics.median(times[side]) for side in ("paddle", "torch"))
        print(
            f"{case:<11} {length:>4} tokens: embtune {paddle_ms:6.1f} ms, PyTorch {torch_ms:6.1f} ms; ratio "
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}; goal: at most 0.70)",
            flush=True,
        )


def measure(step: Callable[[int], float]) -> float:
    """Median milliseconds of a step, after warming up."""
    for number in range(8):
        step(number)
    samples = []
    for number in range(STEPS):
        started = time.perf_counter()
        step(number)
        samples.append((time.perf_counter() - started) * 1000)
    return statistics.median(samples)


def batches(length: int = LENGTH, exponent: float = EXPONENT) -> list[tuple[np.ndarray, np.ndarray]]:
    generator = np.random.default_rng(0)
    chances = 1.0 / np.arange(1, ROWS - 1) ** exponent
    chances /= chances.sum()
    return [
        (generator.choice(np.arange(2, ROWS), (BATCH, length), p=chances), generator.integers(0, LABELS, BATCH))
        for _ in range(8)
    ]


def paddle_step(
    threads: int = THREADS,
    change: Callable[[Any], object] = id,
    *,
    length: int = LENGTH,
    exponent: float = EXPONENT,
    fast_steps: bool = False,
) -> Callable[[int], float]:
    """Return a step of a model that was changed first."""
    from paddlenlp_embtune import compat, prepare_cpu

    prepare_cpu(threads=threads)
    import paddle

    compat.keep_freed_memory()  # as attach does
    from paddlenlp_embtune.models.textcnn import TextCNN

    model = TextCNN(vocabulary_size=ROWS, dimension=WIDTH, num_labels=LABELS, filters=FILTERS)
    model.fast_steps = fast_steps
    model.train()
    change(model)
    optimizer = paddle.optimizer.AdamW(1e-3, parameters=model.parameters(), grad_clip=paddle.nn.ClipGradByGlobalNorm(1.0))
    data = [(paddle.to_tensor(ids), paddle.to_tensor(labels)) for ids, labels in batches(length, exponent)]

    def step(number: int) -> float:
        ids, labels = data[number % len(data)]
        loss = paddle.nn.functional.cross_entropy(model(ids), labels)
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        return float(loss)

    return step


def torch_step(threads: int = THREADS, *, length: int = LENGTH, exponent: float = EXPONENT) -> Callable[[int], float]:
    import torch

    torch.set_num_threads(threads)

    class Twin(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(ROWS, WIDTH, padding_idx=0)
            self.convolution = torch.nn.Conv1d(WIDTH, FILTERS, 3, padding=2)
            self.head = torch.nn.Linear(FILTERS, LABELS)
            self.dropout = torch.nn.Dropout(0.5)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            ids = ids * (torch.rand(ids.shape) >= 0.1)
            matches = self.convolution(self.embedding(ids).transpose(1, 2))
            return self.head(self.dropout(torch.relu(matches.amax(dim=-1))))

    model = Twin()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    data = [(torch.from_numpy(ids), torch.from_numpy(labels)) for ids, labels in batches(length, exponent)]

    def step(number: int) -> float:
        ids, labels = data[number % len(data)]
        loss = torch.nn.functional.cross_entropy(model(ids), labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return float(loss)

    return step


if __name__ == "__main__":
    if len(sys.argv) > 1:
        side, given_length, given_exponent = sys.argv[1:]
        drawn = {"length": int(given_length), "exponent": float(given_exponent)}
        # attach sets fast_steps for the duration of a training.
        print(measure(torch_step(**drawn) if side == "torch" else paddle_step(**drawn, fast_steps=True)))
    else:
        main()
