"""What computes training steps on a CPU in this process: Paddle's own kernels, or oneDNN's, and why."""

from __future__ import annotations

import dataclasses
import logging
import os
import threading

from paddlenlp_embtune.compat.onednn import _trial
from paddlenlp_embtune.errors import HostError

__all__ = [
    "BF16",
    "FP32",
    "KERNELS_VARIABLE",
    "ONEDNN",
    "PADDLE",
    "CpuKernels",
    "cpu_kernels",
    "multiplies",
    "require_bf16",
    "restore_kernels",
    "runs_operators",
    "use_kernels",
    "use_precision",
]

logger = logging.getLogger("paddlenlp_embtune")

KERNELS_VARIABLE = "EMBTUNE_KERNELS"
"""The environment variable that decides: ``paddle``, ``onednn``, or ``auto`` for what suits the processor.

Without it GELU and layer norms are oneDNN's, and all else is Paddle's.
"""

ONEDNN, PADDLE = "onednn", "paddle"
_AUTO = "auto"
FP32, BF16 = "fp32", "bf16"


@dataclasses.dataclass(frozen=True)
class CpuKernels:
    """What computes training steps on a CPU.

    Args:
        matmul: what multiplies matrices, ``onednn`` or ``paddle``.
        operators: what computes GELU and layer norms: ``onednn``, or ``paddle`` for Paddle and numpy.
        reason: why, in a few words.
        gflops: billions of operations a second that each was measured to do in a product, ``onednn_bf16`` with bfloat16
            factors; empty where nothing was measured.
        precision: of the factors of products with weights: ``fp32``, or ``bf16`` by oneDNN, summed in float32. All else is
            float32.
    """

    matmul: str
    operators: str
    reason: str
    gflops: dict[str, float] = dataclasses.field(default_factory=dict)
    precision: str = FP32


_chosen: CpuKernels | None = None
_lock = threading.RLock()


def cpu_kernels() -> CpuKernels:
    """Return what computes training steps in this process; the first call decides.

    With ``auto`` it tries oneDNN and measures both, in about 20 milliseconds.

    Raises:
        HostError: the variable ``EMBTUNE_KERNELS`` is none of its three values, or asks for oneDNN where that cannot be used.
    """
    global _chosen
    with _lock:
        if _chosen is None:
            _chosen = _choose()
        return _chosen


def multiplies() -> bool:
    """Whether oneDNN is selected for products of matrices; not as long as nothing was selected."""
    return _chosen is not None and _chosen.matmul == ONEDNN


def runs_operators() -> bool:
    """Whether oneDNN is selected for GELU and layer norms; not as long as nothing was selected."""
    return _chosen is not None and _chosen.operators == ONEDNN


def require_bf16() -> None:
    """Refuse to multiply bfloat16 where that cannot be done.

    Raises:
        HostError: the processor does not do it, oneDNN cannot be used, or ``EMBTUNE_KERNELS`` asks for Paddle's kernels.
    """
    if _asked() == PADDLE:
        raise HostError(f"{KERNELS_VARIABLE} is {PADDLE}, and Paddle has no kernel for it on a CPU; unset the variable")
    _trial.check_bf16()


def use_precision(precision: str) -> CpuKernels:
    """Select the precision of products with weights, by name or, for ``auto``, by a measurement of about a tenth of a second.

    Products of bfloat16 are oneDNN's, and then so is the rest.

    Args:
        precision: ``fp32``, which keeps the kernels as they are; ``bf16``; or ``auto``, which takes that where the processor
            does it and a product is clearly faster with it.
    Returns:
        What is selected now.
    Raises:
        HostError: ``bf16`` cannot be had here.
    """
    global _chosen
    with _lock:
        kernels = cpu_kernels()
        if precision == FP32:
            return kernels
        try:
            require_bf16()
            trial = _trial.compare_precisions()
        except HostError as error:
            if precision == BF16:
                raise
            _chosen = dataclasses.replace(kernels, reason=f"{kernels.reason}; no bf16: {error}")
            return _chosen
        told = f"products of bfloat16 were measured at {trial.speedup:.1f} times the speed of float32"
        if precision == _AUTO and not trial.clear:
            _chosen = dataclasses.replace(kernels, reason=f"{kernels.reason}; no bf16: {told}", gflops=trial.gflops)
        else:
            _chosen = CpuKernels(ONEDNN, ONEDNN, told, trial.gflops, BF16)
        return _chosen


def restore_kernels(kernels: CpuKernels) -> None:
    """Select what was selected before, as :func:`cpu_kernels` returned it."""
    global _chosen
    with _lock:
        _chosen = kernels


def use_kernels(*, matmul: str, operators: str, reason: str, precision: str = FP32) -> CpuKernels:
    """Select kernels by name for this process, as long as ``EMBTUNE_KERNELS`` does not ask for others.

    Where oneDNN is asked for and cannot be used, Paddle's own are selected and a warning says so.

    Args:
        matmul: ``onednn`` or ``paddle``.
        operators: ``onednn`` or ``paddle``.
        reason: why.
        precision: ``fp32`` or ``bf16``; the second needs oneDNN.
    Returns:
        What is selected now.
    """
    global _chosen
    with _lock:
        asked = _asked()
        if asked in (ONEDNN, PADDLE):
            demanded = _demanded(asked)
            _chosen = dataclasses.replace(demanded, precision=precision if demanded.matmul == ONEDNN else FP32)
        else:
            _chosen = CpuKernels(matmul, operators, reason, precision=precision)
        try:
            if ONEDNN in (_chosen.matmul, _chosen.operators):
                _trial.check()
            if _chosen.precision == BF16:
                _trial.check_bf16()
        except HostError as error:
            logger.warning("oneDNN cannot be used here, though %s: %s; other kernels round differently", reason, error)
            _chosen = _without(error)
        return _chosen


def _asked() -> str:
    """Return what the variable asks for; empty where it is not set."""
    asked = os.environ.get(KERNELS_VARIABLE, "").strip().lower()
    if asked not in ("", _AUTO, ONEDNN, PADDLE):
        raise HostError(f"{KERNELS_VARIABLE} must be {_AUTO}, {ONEDNN} or {PADDLE}, got {asked!r}")
    return asked


def _demanded(name: str) -> CpuKernels:
    if name == ONEDNN:
        try:
            _trial.check()
        except HostError as error:
            raise HostError(
                f"{KERNELS_VARIABLE} is {ONEDNN}, and oneDNN cannot be used here: {error}; unset the variable"
            ) from None
    return CpuKernels(name, name, f"{KERNELS_VARIABLE} says so")


def _without(error: HostError) -> CpuKernels:
    return CpuKernels(PADDLE, PADDLE, f"oneDNN cannot be used: {error}")


def _by_default() -> CpuKernels:
    """Return Paddle's kernels, with GELU and layer norms by oneDNN: with one thread and with two, a step takes less time."""
    try:
        _trial.check()
    except HostError as error:
        return _without(error)
    return CpuKernels(PADDLE, ONEDNN, f"{KERNELS_VARIABLE} is not set")


def _choose() -> CpuKernels:
    asked = _asked()
    if not asked:
        return _by_default()
    if asked != _AUTO:
        return _demanded(asked)
    try:
        trial = _trial.run()
    except HostError as error:
        return _without(error)
    return CpuKernels(ONEDNN if trial.onednn_wins else PADDLE, ONEDNN, trial.reason, trial.gflops)
