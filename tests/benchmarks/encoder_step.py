"""One training step of a BERT encoder: bare PaddleNLP, sped up, and PyTorch, on one thread, on two, and two runs side by side.

The encoder: 12 layers, 384 wide, 12 heads, 1,536 between, 21,500 rows, exact gelu, dropout 0.1; mean over tokens, linear head,
cross-entropy, clipping at norm 1, AdamW; 16 texts of up to 43 tokens. Every side is a process of its own; the sides take
turns, and ratios are taken round by round. ``ranks`` is one training on two processes of one thread each, 8 texts
apiece, gradients exchanged by gloo. At the end, one step by kind of work (``encoder_profile``).
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

BATCH, LENGTH, ROWS, WIDTH, INNER, HEADS, LAYERS, LABELS = 16, 43, 21500, 384, 1536, 12, 12, 2
DROPOUT, RATE = 0.1, 1e-4
ROUNDS, WARM_UP, STEPS = 3, 2, 5
SIDES = ("paddle", "embtune", "torch")


def main() -> None:
    for threads in (1, 2):
        report(f"{threads} thread{'s' * (threads > 1)}", lambda side, threads=threads: alone(side, threads))
    report("two runs side by side, 1 thread each", beside)
    both = [(alone("embtune", 2), ranks()) for _ in range(ROUNDS)]
    print(
        f"one training on 2 cores: 1 process x 2 threads {middle(both, 0):.2f} s, 2 gloo ranks x 1 thread "
        f"{middle(both, 1):.2f} s for {BATCH} texts; ratio {statistics.median(one / two for one, two in both):.2f}",
        flush=True,
    )
    for kernels in ("default", "paddle", "onednn"):
        subprocess.run([sys.executable, "-W", "ignore", "-m", "tests.benchmarks.encoder_profile", kernels], check=True)


def middle(pairs: list[tuple[float, float]], place: int) -> float:
    return statistics.median(pair[place] for pair in pairs)


def report(name: str, measured: Callable[[str], float]) -> None:
    rounds = [{side: measured(side) for side in SIDES} for _ in range(ROUNDS)]
    seconds = {side: statistics.median(one[side] for one in rounds) for side in SIDES}
    ratios = {side: statistics.median(one[side] / one["embtune"] for one in rounds) for side in SIDES}
    print(
        f"encoder step, {name}: PaddleNLP {seconds['paddle']:.2f} s, embtune {seconds['embtune']:.2f} s, PyTorch "
        f"{seconds['torch']:.2f} s (medians); against embtune: PaddleNLP {ratios['paddle']:.2f}, PyTorch {ratios['torch']:.2f}",
        flush=True,
    )


def command(side: str, threads: int) -> list[str]:
    return [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.encoder_step", side, str(threads)]


def alone(side: str, threads: int) -> float:
    return last_figure(subprocess.run(command(side, threads), check=True, text=True, capture_output=True).stdout)


def beside(side: str) -> float:
    """The slower of two that start together."""
    running = [
        subprocess.Popen(command(side, 1), text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for _ in range(2)
    ]
    return max(last_figure(process.communicate()[0]) for process in running)


def ranks() -> float:
    launch = [sys.executable, "-W", "ignore", "-m", "paddle.distributed.launch", "--nproc_per_node", "2", "--backend", "gloo"]
    with tempfile.TemporaryDirectory() as logs:
        options = [*launch, "--log_dir", logs, str(Path(__file__)), "ranks", "1"]
        environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
        subprocess.run(options, check=True, capture_output=True, env=environment)
        return max(last_figure(log.read_text()) for log in Path(logs).glob("workerlog.*"))


def last_figure(text: str) -> float:
    return float(re.findall(r"seconds (\d+\.\d+)", text)[-1])


def measure(step: Callable[[int], float]) -> float:
    """Median seconds of a step, after warming up."""
    for number in range(WARM_UP):
        step(number)
    samples = []
    for number in range(STEPS):
        started = time.perf_counter()
        step(number)
        samples.append(time.perf_counter() - started)
    return statistics.median(samples)


def batches(texts: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Ids, with 0 after the last token of a text, and labels."""
    generator = np.random.default_rng(0)
    made = []
    for _ in range(4):
        ids = generator.integers(2, ROWS, (texts, LENGTH))
        ids[np.arange(LENGTH) >= generator.integers(LENGTH * 3 // 4, LENGTH + 1, (texts, 1))] = 0
        made.append((ids, generator.integers(0, LABELS, texts)))
    return made


def paddle_step(
    side: str, threads: int, *, timed: Callable[[str, Callable[..., Any]], Callable[..., Any]] = lambda _, function: function
) -> Callable[[int], float]:
    """Return a step of ``paddle``, ``embtune``, the same in ``bf16`` or one of ``ranks``.

    Its clipping, update and cleaning up are called by ``timed(kind, function)``.
    """
    from paddlenlp_embtune import compat, prepare_cpu

    prepare_cpu(threads=threads)
    import paddle

    compat.keep_freed_memory()  # as attach does
    from paddlenlp.transformers import BertConfig, BertModel

    from paddlenlp_embtune.compat.encoder_patch import speed_up_encoder
    from paddlenlp_embtune.compat.optimizer_patch import speed_up_optimizer

    class Classifier(paddle.nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = BertModel(
                BertConfig(
                    vocab_size=ROWS,
                    hidden_size=WIDTH,
                    num_hidden_layers=LAYERS,
                    num_attention_heads=HEADS,
                    intermediate_size=INNER,
                    hidden_dropout_prob=DROPOUT,
                    attention_probs_dropout_prob=DROPOUT,
                )
            )
            for parameter in self.encoder.pooler.parameters():
                parameter.stop_gradient = True  # its output is not used
            self.head = paddle.nn.Linear(WIDTH, LABELS)

        def forward(self, ids: Any) -> Any:
            there = (ids != 0).astype("float32").unsqueeze(-1)
            return self.head((self.encoder(ids)[0] * there).sum(axis=1) / there.sum(axis=1))

    model: Any = Classifier()
    model.train()
    if side != "paddle":
        speed_up_encoder(model, bf16=side == "bf16")
    if side == "ranks":
        paddle.distributed.init_parallel_env()
        model = paddle.DataParallel(model)
    clip = paddle.nn.ClipGradByGlobalNorm(1.0)
    optimizer = paddle.optimizer.AdamW(RATE, parameters=model.parameters(), grad_clip=clip)
    if side != "paddle":
        speed_up_optimizer(optimizer)
    clip._dygraph_clip = timed("clipping", clip._dygraph_clip)
    update, clear = timed("AdamW", optimizer.step), timed("clearing gradients", optimizer.clear_grad)
    texts = BATCH // 2 if side == "ranks" else BATCH
    data = [(paddle.to_tensor(ids), paddle.to_tensor(labels)) for ids, labels in batches(texts)]

    def step(number: int) -> float:
        ids, labels = data[number % len(data)]
        loss = paddle.nn.functional.cross_entropy(model(ids), labels)
        loss.backward()
        update()
        clear()
        return float(loss)

    return step


def torch_step(threads: int, *, bf16: bool = False) -> Callable[[int], float]:
    """Return a step, in bfloat16 by automatic mixed precision where that is asked for."""
    import torch

    torch.set_num_threads(threads)

    class Block(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.query, self.key, self.value, self.out = (torch.nn.Linear(WIDTH, WIDTH) for _ in range(4))
            self.widen, self.narrow = torch.nn.Linear(WIDTH, INNER), torch.nn.Linear(INNER, WIDTH)
            self.norms = torch.nn.ModuleList(torch.nn.LayerNorm(WIDTH) for _ in range(2))
            self.dropout = torch.nn.Dropout(DROPOUT)

        def forward(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            heads = [
                part(hidden).unflatten(-1, (HEADS, WIDTH // HEADS)).transpose(1, 2)
                for part in (self.query, self.key, self.value)
            ]
            seen = torch.nn.functional.scaled_dot_product_attention(*heads, attn_mask=mask, dropout_p=DROPOUT)
            hidden = self.norms[0](hidden + self.dropout(self.out(seen.transpose(1, 2).flatten(2))))
            wide = torch.nn.functional.gelu(self.widen(hidden))
            return self.norms[1](hidden + self.dropout(self.narrow(wide)))

    class Twin(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.places = torch.nn.Embedding(ROWS, WIDTH), torch.nn.Embedding(512, WIDTH)
            self.norm, self.dropout = torch.nn.LayerNorm(WIDTH), torch.nn.Dropout(DROPOUT)
            self.blocks = torch.nn.ModuleList(Block() for _ in range(LAYERS))
            self.head = torch.nn.Linear(WIDTH, LABELS)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            hidden = self.dropout(self.norm(self.words(ids) + self.places(torch.arange(ids.shape[1]))))
            mask = (ids == 0)[:, None, None, :] * -1e4
            for block in self.blocks:
                hidden = block(hidden, mask)
            there = (ids != 0).float()[..., None]
            return self.head((hidden * there).sum(1) / there.sum(1))

    model = Twin()
    optimizer = torch.optim.AdamW(model.parameters(), RATE)
    data = [(torch.from_numpy(ids), torch.from_numpy(labels)) for ids, labels in batches(BATCH)]

    def step(number: int) -> float:
        ids, labels = data[number % len(data)]
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            loss = torch.nn.functional.cross_entropy(model(ids), labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return float(loss)

    return step


if __name__ == "__main__":
    if len(sys.argv) > 1:
        side, threads = sys.argv[1], int(sys.argv[2])
        print("seconds", f"{measure(torch_step(threads) if side == 'torch' else paddle_step(side, threads)):.4f}", flush=True)
    else:
        main()
