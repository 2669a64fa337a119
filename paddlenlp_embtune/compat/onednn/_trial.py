"""Trying oneDNN before it is used: whether its products are right here, and whether they are faster than Paddle's."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from paddlenlp_embtune.compat.cpu import cpu_setup
from paddlenlp_embtune.compat.onednn._library import load_library
from paddlenlp_embtune.compat.onednn._tensors import onednn_matmul, paddle_matmul
from paddlenlp_embtune.compat.paddle import require_paddle
from paddlenlp_embtune.errors import HostError

__all__ = ["Trial", "check", "run"]

_INTEL = "GenuineIntel"
_SHAPE = (256, 384, 384)  # of the product that is timed
_ROUNDS = 15
_CLEAR = 1.3
"""How much faster the other kernel must be, in nearly every round, to be taken against what is expected of the processor."""

_TOLERANCE = 1e-4


@dataclasses.dataclass(frozen=True)
class Trial:
    """What a measurement says.

    Args:
        onednn_wins: whether oneDNN is to be used.
        reason: why, in a few words.
        gflops: billions of operations a second, of each kernel.
    """

    onednn_wins: bool
    reason: str
    gflops: dict[str, float]


def check() -> None:
    """Compare products of oneDNN with products in double precision, finite ones first.

    Raises:
        HostError: the library cannot be used, or its products are wrong.
    """
    load_library()
    generator = np.random.default_rng(0)
    left, right, bias = (generator.normal(size=size).astype(np.float32) for size in ((37, 129), (129, 65), (65,)))
    marked = left.copy()
    marked[3, 5], marked[4, 6] = np.nan, np.inf
    for transpose_x, transpose_y in ((False, False), (False, True), (True, False)):
        for values in (left, marked):
            found = onednn_matmul(
                _tensor(values.T if transpose_x else values),
                _tensor(right.T if transpose_y else right),
                transpose_x=transpose_x,
                transpose_y=transpose_y,
                bias=_tensor(bias),
            )
            if found is None:
                raise HostError("it has no product that is fast and right on this processor")
            with np.errstate(all="ignore"):
                expected = values.astype(np.float64) @ right + bias
            if not np.allclose(found.numpy(), expected, rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True):
                raise HostError("its products are wrong on this processor")


def run() -> Trial:
    """Check oneDNN, then time it and Paddle's own kernel in turns.

    Equal bits from equal seeds need an equal choice, whatever else the machine is doing. So the processor decides: Paddle's MKL
    is fast on Intel's and lacks AVX-512 elsewhere. The measurement decides against that only if it is clear.

    Raises:
        HostError: the library cannot be used, or its products are wrong.
    """
    check()
    rows, inner, columns = _SHAPE
    generator = np.random.default_rng(1)
    given = _tensor(generator.normal(size=(rows, inner))), _tensor(generator.normal(size=(inner, columns)))
    kernels: dict[str, Callable[..., Any]] = {"onednn": onednn_matmul, "paddle": paddle_matmul}
    seconds: dict[str, list[float]] = {name: [] for name in kernels}
    for _ in range(_ROUNDS + 2):
        for name, multiply in kernels.items():
            started = time.perf_counter()
            multiply(*given, transpose_x=False, transpose_y=False, bias=None)
            seconds[name].append(time.perf_counter() - started)
    seconds = {name: values[2:] for name, values in seconds.items()}
    gflops = {name: round(2e-9 * rows * inner * columns / min(values), 1) for name, values in seconds.items()}
    ratios = [slow / fast for slow, fast in zip(seconds["paddle"], seconds["onednn"], strict=True)]
    return _decide(ratios, expected=load_library().avx512 and cpu_setup().vendor != _INTEL, gflops=gflops)


def _decide(ratios: list[float], *, expected: bool, gflops: dict[str, float]) -> Trial:
    """Decide by the times of Paddle's kernel over those of oneDNN, round by round."""
    lowest, highest = (statistics.quantiles(ratios, n=5)[place] for place in (0, -1))
    if expected and highest < 1 / _CLEAR:
        return Trial(False, "measured: Paddle's kernel is faster", gflops)
    if not expected and lowest > _CLEAR:
        return Trial(True, "measured: oneDNN is faster", gflops)
    if expected:
        return Trial(True, "Paddle's MKL makes no use of AVX-512 on this processor", gflops)
    return Trial(False, "Paddle's MKL is fast on this processor", gflops)


def _tensor(values: np.ndarray[Any, Any]) -> Any:
    return require_paddle().to_tensor(np.ascontiguousarray(values, dtype=np.float32), place="cpu")
