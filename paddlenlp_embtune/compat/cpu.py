"""The processor, before Paddle loads: thread counts, and the fast path of its MKL."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import os
import sys
from pathlib import Path

from paddlenlp_embtune.errors import HostError

__all__ = [
    "CpuSetup",
    "cpu_setup",
    "keep_freed_memory",
    "prepare_cpu",
    "processor_name",
    "usable_processors",
    "usable_threads",
]


_MOST_THREADS = 8
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # parameters of mallopt(3)
_MKL_AVX2 = {"MKL_DEBUG_CPU_TYPE": "5"}
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "FLAGS_paddle_num_threads")


@dataclasses.dataclass(frozen=True)
class CpuSetup:
    """How this process is set up for mathematics on the CPU.

    Args:
        vendor: processor vendor, for example ``AuthenticAMD``; empty where it is unknown.
        threads: threads that Paddle's mathematics will use.
        avx2_path: whether Paddle's bundled MKL will take its fast path on this processor.
        paddle_loaded: whether Paddle was loaded already, so that nothing can be changed any more.
    """

    vendor: str
    threads: int
    avx2_path: bool
    paddle_loaded: bool


def prepare_cpu(*, threads: int | None = None) -> CpuSetup:
    """Set thread counts, and the fast MKL path on AMD processors; call it before anything imports paddle.

    Paddle's wheels bundle an MKL that takes a slow path on AMD processors (a factor of up to 4 in a training step) unless
    ``MKL_DEBUG_CPU_TYPE=5`` is in the environment when the library loads. Variables that are set already are respected, but
    for the thread counts when ``threads`` is given.

    Args:
        threads: CPU threads; None takes the processors this process may use, at most 8.
    Returns:
        The setup that results.
    """
    if threads is not None and threads < 1:
        raise HostError(f"threads is {threads}; expected 1 or more, or None for all processors up to 8")
    if "paddle" not in sys.modules:
        if _vendor() == "AuthenticAMD":
            for name, value in _MKL_AVX2.items():
                os.environ.setdefault(name, value)
        count = str(threads if threads is not None else usable_threads())
        for name in _THREAD_VARIABLES:
            if threads is not None:
                os.environ[name] = count
            else:
                os.environ.setdefault(name, count)
    return cpu_setup()


def keep_freed_memory() -> bool:
    """Let this process keep up to 2 GiB of the memory that it frees, for the arrays of the next training step.

    The C library gives large arrays back to the kernel when they are freed. A training step allocates the same ones again, and
    every page of them is a fault, filled with zeros. Only glibc has this setting; elsewhere nothing changes.

    Returns:
        Whether the setting took effect.
    """
    try:
        tune = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(tune(_MMAP_THRESHOLD, 2**30)) and bool(tune(_TRIM_THRESHOLD, 2**31 - 1))


def cpu_setup() -> CpuSetup:
    """Describe how this process is set up, without changing anything."""
    vendor = _vendor()
    threads = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return CpuSetup(
        vendor=vendor,
        threads=int(threads) if threads.isdigit() else 1,
        avx2_path=vendor != "AuthenticAMD" or os.environ.get("MKL_DEBUG_CPU_TYPE") == "5",
        paddle_loaded="paddle" in sys.modules,
    )


def usable_threads() -> int:
    """Return the number of processors that this process may use, at most 8."""
    return min(usable_processors(), _MOST_THREADS)


def usable_processors() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor_name() -> str:
    """Return the name of the processor; empty where it is unknown."""
    return _cpuinfo("model name")


def _vendor() -> str:
    return _cpuinfo("vendor_id")


def _cpuinfo(key: str) -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(key):
                return line.partition(":")[2].strip()
    return ""
