"""Training steps as a share of what the processor does: by Paddle's matrix products, by oneDNN's, and PyTorch.

The peak of arithmetic is the fastest of the kernels at a large product, that of memory a copy by every thread, both measured in
the run. All sides take turns in one process, and ratios are taken round by round, on one thread and on two. On one thread the
clock is the thread's own, which other programs do not stop. Operations of matrix products are counted, forward and backward.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.benchmarks import encoder_step, step_time

ROUNDS, WARM_UP = 9, 3
LARGE = (1024, 1536, 1536)
PRODUCTS = ((688, 384, 1536), (688, 1536, 384), (4224, 384, 384))
COPIED = 2**26  # float32 values, far more than caches hold

Step = Callable[[int], object]


def main() -> None:
    for threads in (1, 2):
        subprocess.run([sys.executable, "-W", "ignore", "-m", "tests.benchmarks.roofline", str(threads)], check=True)


def measure(threads: int) -> None:
    from paddlenlp_embtune import prepare_cpu

    prepare_cpu(threads=threads)
    import paddle

    from paddlenlp_embtune.compat import onednn, processor_name, speed_up_linear

    print(f"roofline, {threads} thread{'s' * (threads > 1)}, {processor_name()}", flush=True)
    os.environ.setdefault(onednn.KERNELS_VARIABLE, "auto")
    kernels = onednn.cpu_kernels()
    print(f"  selected here: products by {kernels.matmul} ({kernels.reason}), operators by {kernels.operators}", flush=True)
    clock = time.thread_time if threads == 1 else time.perf_counter

    def select(matmul: str, operators: str = "paddle") -> Callable[[], object]:
        return lambda: onednn.use_kernels(matmul=matmul, operators=operators, reason="a benchmark")

    nothing: Callable[[], object] = lambda: None  # noqa: E731
    peak = 0.0
    for shape in (LARGE, *PRODUCTS):
        generator = np.random.default_rng(0)
        left, right = (generator.normal(size=size).astype("float32") for size in (shape[:2], shape[1:]))
        tensors = paddle.to_tensor(left), paddle.to_tensor(right)
        sides: dict[str, tuple[Callable[[], object], Step]] = {
            "paddle": (select("paddle"), lambda _, given=tensors: onednn.matmul(*given)),
            "onednn": (select("onednn"), lambda _, given=tensors: onednn.matmul(*given)),
            **torch_product(left, right, threads),
        }
        seconds = take_turns(sides, clock)
        if shape == LARGE:
            peak = 2e-9 * shape[0] * shape[1] * shape[2] / min(min(values) for values in seconds.values())
            print(f"  peak: {peak:.0f} GFLOP/s in float32, {bandwidth(threads):.1f} GB/s copied", flush=True)
        show(f"product {' x '.join(map(str, shape))}", seconds, 2e-9 * shape[0] * shape[1] * shape[2], peak)
    encoder = encoder_step.paddle_step("embtune", threads)
    sides = {"paddle": (select("paddle"), encoder)}
    sides |= {"operators alone": (select("paddle", "onednn"), encoder), "onednn": (select("onednn", "onednn"), encoder)}
    sides |= {"torch": (nothing, encoder_step.torch_step(threads))} if has_torch() else {}
    show("encoder step", take_turns(sides, clock), encoder_operations(), peak)
    faster = step_time.paddle_step(threads, lambda model: speed_up_linear(model.convolution))
    sides = {"paddle": (select("paddle"), step_time.paddle_step(threads)), "onednn": (select("onednn"), faster)}
    sides |= {"torch": (nothing, step_time.torch_step(threads))} if has_torch() else {}
    show("text CNN step", take_turns(sides, clock), convolution_operations(), peak)


def has_torch() -> bool:
    try:
        import torch  # noqa: F401
    except ImportError:
        return False
    return True


def torch_product(left: np.ndarray, right: np.ndarray, threads: int) -> dict[str, Any]:
    if not has_torch():
        return {}
    import torch

    torch.set_num_threads(threads)
    given = torch.from_numpy(left), torch.from_numpy(right)
    return {"torch": (lambda: None, lambda _: given[0] @ given[1])}


def take_turns(sides: dict[str, tuple[Callable[[], object], Step]], clock: Callable[[], float]) -> dict[str, list[float]]:
    """Seconds of every side, round by round."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(WARM_UP + ROUNDS):
        for name, (select, step) in sides.items():
            select()
            started = clock()
            step(number)
            seconds[name].append(clock() - started)
    return {name: values[WARM_UP:] for name, values in seconds.items()}


def show(what: str, seconds: dict[str, list[float]], gflop: float, peak: float) -> None:
    parts = []
    for name, values in seconds.items():
        middle = statistics.median(values)
        ratio = statistics.median(other / own for own, other in zip(values, seconds["paddle"], strict=True))
        parts.append(f"{name} {middle * 1e3:.1f} ms, {gflop / middle:.0f} GFLOP/s, {gflop / middle / peak:.0%}, {ratio:.2f}x")
    print(f"  {what}: {'; '.join(parts)}", flush=True)


def bandwidth(threads: int) -> float:
    """Gigabytes a second, read and written, of a copy that every thread makes a part of."""
    source, target = np.ones(COPIED, "float32"), np.zeros(COPIED, "float32")
    parts = list(zip(np.array_split(source, threads), np.array_split(target, threads), strict=True))
    best = 0.0
    for _ in range(5):
        workers = [threading.Thread(target=np.copyto, args=(to, values)) for values, to in parts]
        started = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        best = max(best, 2 * source.nbytes / (time.perf_counter() - started) / 1e9)
    return best


def encoder_operations() -> float:
    """Billions, of an encoder step: two for every weight and token, and attention's two products, three times for gradients."""
    width, inner, tokens = encoder_step.WIDTH, encoder_step.INNER, encoder_step.BATCH * encoder_step.LENGTH
    layer = 2 * tokens * (4 * width**2 + 2 * width * inner) + 4 * tokens * encoder_step.LENGTH * width
    return 3e-9 * encoder_step.LAYERS * layer


def convolution_operations() -> float:
    """Billions, of a step of the text CNN, whose windows of three tokens reach two beyond each end and one further."""
    windows = step_time.BATCH * (step_time.LENGTH + 3)
    return 3e-9 * 2 * windows * 3 * step_time.WIDTH * step_time.FILTERS


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(int(sys.argv[1]))
    else:
        main()
