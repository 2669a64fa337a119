"""What an encoder's training step spends its time on, by kind of work, on one thread.

Every operator of :mod:`paddlenlp_embtune.compat.functional` is timed without the products inside it, so that kinds add up to
the step. The clock is the thread's own, which other programs do not stop; they still slow it by taking memory's speed.
``python -m tests.benchmarks.encoder_profile [default|paddle|onednn]``
"""

from __future__ import annotations

import collections
import importlib
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.benchmarks import encoder_step

WARM_UP, STEPS = 3, 7
OPERATORS = ("attention", "dropout", "gelu", "layer_norm", "linear")
PRODUCTS, LAYER = "matrix products", "dropping, adding, and what holds an encoder layer together"
REST = "embeddings, additions, the loss, Paddle's autograd"


class Clock:
    """Seconds by kind of work; what runs inside other work counts for itself alone."""

    def __init__(self) -> None:
        self.seconds: collections.Counter[str] = collections.Counter()
        self._inside: list[float] = []

    @contextmanager
    def on(self, kind: str) -> Iterator[None]:
        started = time.thread_time()
        self._inside.append(0.0)
        try:
            yield
        finally:
            spent = time.thread_time() - started
            self.seconds[kind] += spent - self._inside.pop()
            if self._inside:
                self._inside[-1] += spent

    def timed(self, kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any, **named: Any) -> Any:
            with self.on(kind):
                return function(*given, **named)

        return run


def watch_operators(clock: Clock) -> None:
    """Time the operators of this process, which must not have run yet."""
    from paddlenlp_embtune.compat import onednn

    onednn.matmul = clock.timed(PRODUCTS, onednn.matmul)  # type: ignore[misc]
    for name in OPERATORS:
        module = importlib.import_module(f"paddlenlp_embtune.compat.functional._{name}")
        kind = "biases" if name == "linear" else name.replace("_", " ")
        for way in ("forward", "backward"):
            setattr(module, way, clock.timed(f"{kind}, {way}", getattr(module, way)))
    layer = importlib.import_module("paddlenlp_embtune.compat.functional._encoder_layer")
    attention = importlib.import_module("paddlenlp_embtune.compat.functional._attention")
    attention.attend = clock.timed("attention, forward", attention.attend)  # type: ignore[attr-defined]
    for module in (layer, attention):
        module.draw_mask = clock.timed("drawing what is dropped", module.draw_mask)  # type: ignore[attr-defined]
    for way in ("forward", "backward"):
        setattr(layer._Layer, way, clock.timed(LAYER, getattr(layer._Layer, way)))


def profile(kernels: str) -> dict[str, float]:
    """Median seconds a step by kind."""
    from paddlenlp_embtune import prepare_cpu

    prepare_cpu(threads=1)
    from paddlenlp_embtune.compat import onednn

    clock = Clock()
    watch_operators(clock)
    if kernels == "default":
        onednn.cpu_kernels()
    else:
        onednn.use_kernels(matmul=kernels, operators=kernels, reason="a benchmark")
    step = encoder_step.paddle_step("embtune", 1, timed=clock.timed)
    steps: list[dict[str, float]] = []
    for number in range(WARM_UP + STEPS):
        clock.seconds.clear()
        with clock.on(REST):
            step(number)
        steps.append(dict(clock.seconds))
    return {kind: statistics.median(one.get(kind, 0.0) for one in steps[WARM_UP:]) for kind in steps[-1]}


def show(kernels: str) -> None:
    seconds = profile(kernels)
    total = sum(seconds.values())
    print(f"encoder step by kind of work, 1 thread, kernels {kernels}: {total * 1e3:.0f} ms", flush=True)
    for kind, spent in sorted(seconds.items(), key=lambda pair: -pair[1]):
        print(f"  {spent * 1e3:7.1f} ms  {spent / total:5.1%}  {kind}", flush=True)


if __name__ == "__main__":
    show(*(sys.argv[1:] or ["default"]))
