"""Trying oneDNN before it is used: whether its products are right here, and whether they are faster than others."""

from __future__ import annotations

import dataclasses
import functools
import math
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from paddlenlp_embtune.compat.cpu import cpu_setup
from paddlenlp_embtune.compat.onednn._library import load_library
from paddlenlp_embtune.compat.onednn._tensors import onednn_matmul, onednn_rounding, paddle_matmul
from paddlenlp_embtune.compat.paddle import require_paddle
from paddlenlp_embtune.errors import HostError

__all__ = ["PrecisionTrial", "Trial", "check", "check_bf16", "compare_precisions", "run"]

_INTEL = "GenuineIntel"
_SHAPE, _ROUNDS = (256, 384, 384), 15  # of the product that is timed
_LARGER, _FEWER = (512, 384, 1024), 7  # of the one that shows what bfloat16 does
_CLEAR = 1.3
"""How much faster the other kernel must be, in nearly every round, to be taken against what is expected of the processor."""

_TOLERANCE = 1e-4
_PLAIN: dict[str, Any] = {"transpose_x": False, "transpose_y": False, "bias": None}


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


@dataclasses.dataclass(frozen=True)
class PrecisionTrial:
    """What a measurement says about products of bfloat16 factors.

    Args:
        speedup: of such a product, with the rounding of one factor, over the faster one in float32.
        gflops: billions of operations a second.
    """

    speedup: float
    gflops: dict[str, float]

    @property
    def clear(self) -> bool:
        """Whether they are so much faster that no disturbance explains it."""
        return self.speedup > _CLEAR


def check() -> None:
    """Compare products of oneDNN with products in double precision, finite ones first.

    Raises:
        HostError: the library cannot be used, or its products are wrong.
    """
    load_library()
    _check_products(_tensor, 0xFFFFFFFF, "its products are wrong on this processor")


def check_bf16() -> None:
    """Compare products of bfloat16 factors with those of the same factors in double precision.

    Raises:
        HostError: the library cannot be used, the processor does not multiply bfloat16, or the products are wrong.
    """
    library = load_library()
    if not library.bf16:
        raise HostError(
            f"the processor does not multiply bfloat16, expected AVX512_BF16 or AMX, it has {', '.join(library.features)}"
        )
    _check_products(_rounded, 0xFFFF0000, "its products of bfloat16 are wrong on this processor")


def _check_products(tensor: Callable[[np.ndarray[Any, Any]], Any], bits: int, wrong: str) -> None:
    generator = np.random.default_rng(0)
    left, right, bias = (generator.normal(size=size).astype(np.float32) for size in ((37, 129), (129, 65), (65,)))
    left, right = ((values.view(np.uint32) & np.uint32(bits)).view(np.float32) for values in (left, right))
    marked = left.copy()
    marked[3, 5], marked[4, 6] = np.nan, np.inf
    for transpose_x, transpose_y in ((False, False), (False, True), (True, False)):
        for values in (left, marked):
            found = onednn_matmul(
                tensor(values.T if transpose_x else values),
                tensor(right.T if transpose_y else right),
                transpose_x=transpose_x,
                transpose_y=transpose_y,
                bias=_tensor(bias),
            )
            if found is None:
                raise HostError("it has no product that is fast and right on this processor")
            with np.errstate(all="ignore"):
                expected = values.astype(np.float64) @ right + bias
            if not np.allclose(found.numpy(), expected, rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True):
                raise HostError(wrong)


def run() -> Trial:
    """Check oneDNN, then time it and Paddle's own kernel in turns.

    Equal bits from equal seeds need an equal choice, whatever else the machine is doing. So the processor decides: Paddle's MKL
    is fast on Intel's and lacks AVX-512 elsewhere. The measurement decides against that only if it is clear.

    Raises:
        HostError: the library cannot be used, or its products are wrong.
    """
    check()
    given = _factors(_SHAPE)
    kernels: dict[str, Callable[..., Any]] = {"onednn": onednn_matmul, "paddle": paddle_matmul}
    works = {name: functools.partial(multiply, *given, **_PLAIN) for name, multiply in kernels.items()}
    seconds, gflops = _take_turns(works, _SHAPE, _ROUNDS)
    ratios = [slow / fast for slow, fast in zip(seconds["paddle"], seconds["onednn"], strict=True)]
    return _decide(ratios, expected=load_library().avx512 and cpu_setup().vendor != _INTEL, gflops=gflops)


def compare_precisions() -> PrecisionTrial:
    """Check products of bfloat16 factors, then time them and the others in turns, in about a tenth of a second.

    Raises:
        HostError: the library cannot be used, the processor does not multiply bfloat16, or the products are wrong.
    """
    check_bf16()
    left, right = _factors(_LARGER)
    rounded = _rounded(right)
    seconds, gflops = _take_turns(
        {
            "onednn": lambda: onednn_matmul(left, right, **_PLAIN),
            "paddle": lambda: paddle_matmul(left, right, **_PLAIN),
            "onednn_bf16": lambda: onednn_matmul(onednn_rounding(left), rounded, **_PLAIN),
        },
        _LARGER,
        _FEWER,
    )
    fastest = {name: min(values) for name, values in seconds.items()}
    return PrecisionTrial(min(fastest["onednn"], fastest["paddle"]) / fastest["onednn_bf16"], gflops)


def _factors(shape: tuple[int, int, int]) -> tuple[Any, Any]:
    generator = np.random.default_rng(1)
    return _tensor(generator.normal(size=shape[:2])), _tensor(generator.normal(size=shape[1:]))


def _take_turns(
    works: Mapping[str, Callable[[], Any]], shape: tuple[int, int, int], rounds: int
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Return the seconds of a product, by work and round, and what the fastest makes in GFLOP/s."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds + 2):
        for name, work in works.items():
            started = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - started)
    seconds = {name: values[2:] for name, values in seconds.items()}
    return seconds, {name: round(2e-9 * math.prod(shape) / min(values), 1) for name, values in seconds.items()}


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


def _rounded(values: np.ndarray[Any, Any]) -> Any:
    found = onednn_rounding(_tensor(values))
    if found is None:
        raise HostError("it does not round to bfloat16 on this processor")
    return found
