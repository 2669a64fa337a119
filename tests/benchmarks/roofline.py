"""Training steps as a share of what the processor does: by Paddle's matrix products, by oneDNN's, and PyTorch.

The peak of arithmetic is the fastest of the kernels at a large product, in float32 and with bfloat16 factors, that of memory a
copy by every thread, all measured in the run; a step in bfloat16 is stated as a share of that peak. PyTorch's bfloat16 is that
of its automatic mixed precision, its product one of factors that are bfloat16 already. All sides take turns in one process,
and ratios are taken round by round, on one thread and on two. On one thread the clock is the thread's own, which other
programs do not stop. Operations of matrix products are counted, forward and backward.
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
    has_bf16 = multiplies_bf16()
    peaks = {"fp32": 0.0, "bf16": 0.0}
    for shape in (LARGE, *PRODUCTS):
        generator = np.random.default_rng(0)
        left, right = (generator.normal(size=size).astype("float32") for size in (shape[:2], shape[1:]))
        tensors = paddle.to_tensor(left), paddle.to_tensor(right)
        sides: dict[str, tuple[Callable[[], object], Step]] = {
            "paddle": (select("paddle"), lambda _, given=tensors: onednn.matmul(*given)),
            "onednn": (select("onednn"), lambda _, given=tensors: onednn.matmul(*given)),
            **torch_product(left, right, threads),
        }
        if has_bf16:
            rounded = [onednn.to_bfloat16(tensor) for tensor in tensors]
            sides["onednn bf16"] = select("onednn"), lambda _, given=rounded: onednn.matmul(*given)
            sides |= torch_product(left, right, threads, bf16=True)
        seconds = take_turns(sides, clock)
        gflop = 2e-9 * shape[0] * shape[1] * shape[2]
        if shape == LARGE:
            for precision in peaks:
                fastest = [min(values) for name, values in seconds.items() if is_bf16(name) is (precision == "bf16")]
                peaks[precision] = gflop / min(fastest) if fastest else 0.0
            told = f"{peaks['fp32']:.0f} GFLOP/s in float32, {peaks['bf16']:.0f} in bfloat16"
            print(f"  peak: {told}, {bandwidth(threads):.1f} GB/s copied", flush=True)
        show(f"product {' x '.join(map(str, shape))}", seconds, gflop, peaks)
    encoder = encoder_step.paddle_step("embtune", threads)
    sides = {"paddle": (select("paddle"), encoder)}
    sides |= {"operators alone": (select("paddle", "onednn"), encoder), "onednn": (select("onednn", "onednn"), encoder)}
    sides |= {"torch": (nothing, encoder_step.torch_step(threads))} if has_torch() else {}
    if has_bf16:
        sides["onednn bf16"] = select("onednn", "onednn"), encoder_step.paddle_step("bf16", threads)
        sides |= {"torch bf16": (nothing, encoder_step.torch_step(threads, bf16=True))} if has_torch() else {}
    seconds = take_turns(sides, clock)
    show("encoder step", seconds, encoder_operations(), peaks)
    for ours, theirs in (("onednn", "torch"), ("onednn bf16", "torch bf16")):
        if theirs in seconds:
            ratio = statistics.median(own / other for own, other in zip(seconds[ours], seconds[theirs], strict=True))
            print(f"    {ours} takes {ratio:.2f} of the time of {theirs}", flush=True)
    faster = step_time.paddle_step(threads, lambda model: speed_up_linear(model.convolution))
    sides = {"paddle": (select("paddle"), step_time.paddle_step(threads)), "onednn": (select("onednn"), faster)}
    sides |= {"torch": (nothing, step_time.torch_step(threads))} if has_torch() else {}
    show("text CNN step", take_turns(sides, clock), convolution_operations(), peaks)


def has_torch() -> bool:
    try:
        import torch  # noqa: F401
    except ImportError:
        return False
    return True


def multiplies_bf16() -> bool:
    from paddlenlp_embtune.compat import onednn
    from paddlenlp_embtune.errors import HostError

    try:
        onednn.require_bf16()
    except HostError as error:
        print(f"  no bfloat16: {error}", flush=True)
        return False
    return True


def is_bf16(side: str) -> bool:
    return side.endswith("bf16")


def torch_product(left: np.ndarray, right: np.ndarray, threads: int, *, bf16: bool = False) -> dict[str, Any]:
    if not has_torch():
        return {}
    import torch

    torch.set_num_threads(threads)
    given = [torch.from_numpy(each).to(torch.bfloat16 if bf16 else torch.float32) for each in (left, right)]
    return {"torch bf16" if bf16 else "torch": (lambda: None, lambda _: given[0] @ given[1])}


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


def show(what: str, seconds: dict[str, list[float]], gflop: float, peaks: dict[str, float]) -> None:
    parts = []
    for name, values in seconds.items():
        middle, peak = statistics.median(values), peaks["bf16" if is_bf16(name) else "fp32"]
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
