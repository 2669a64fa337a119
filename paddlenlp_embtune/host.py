"""The only file that touches unstable Paddle and PaddleNLP interfaces, shims included.

Nothing here imports Paddle when this module is imported.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import logging
import os
import random
import sys
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from paddlenlp_embtune.errors import HostError, MissingDependencyError
from paddlenlp_embtune.imports import after_import

__all__ = [
    "CpuSetup",
    "calm_logging",
    "cpu_setup",
    "effective_rate",
    "fill_optimizer_state",
    "install_shims",
    "prepare_cpu",
    "quiet",
    "rate_multiplier",
    "require_paddle",
    "restore_random_state",
    "untrace",
]

_MKL_AVX2 = {"MKL_DEBUG_CPU_TYPE": "5"}
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "FLAGS_paddle_num_threads")


# --- before Paddle loads --------------------------------------------------------------------------------------------


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
        threads: mathematics threads; None takes the processors this process may use, at most 8.
    Returns:
        The setup that results.
    """
    if threads is not None and threads < 1:
        raise HostError(f"threads is {threads}; legal: 1 or more, or None for all processors up to 8")
    if "paddle" not in sys.modules:
        if _vendor() == "AuthenticAMD":
            for name, value in _MKL_AVX2.items():
                os.environ.setdefault(name, value)
        count = str(threads if threads is not None else min(8, _processors()))
        for name in _THREAD_VARIABLES:
            if threads is not None:
                os.environ[name] = count
            else:
                os.environ.setdefault(name, count)
    return cpu_setup()


def cpu_setup() -> CpuSetup:
    """Tell how this process is set up, without changing anything."""
    vendor = _vendor()
    threads = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return CpuSetup(
        vendor=vendor,
        threads=int(threads) if threads.isdigit() else 1,
        avx2_path=vendor != "AuthenticAMD" or os.environ.get("MKL_DEBUG_CPU_TYPE") == "5",
        paddle_loaded="paddle" in sys.modules,
    )


def _vendor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("vendor_id"):
                return line.partition(":")[2].strip()
    return ""


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# --- shims ----------------------------------------------------------------------------------------------------


def install_shims() -> None:
    """Supply what broken dependencies lost, as soon as they are imported.

    aistudio-sdk 0.3 dropped ``aistudio_sdk.hub.download``, which ``import paddlenlp`` needs; paddleocr needs 0.3.
    """
    after_import("aistudio_sdk.hub", _restore_aistudio_download)


def _restore_aistudio_download(module: types.ModuleType) -> None:
    if hasattr(module, "download"):
        return

    def download(*_args: Any, **_kwargs: Any) -> Any:
        raise HostError(
            "downloading from AI Studio is not possible: the installed aistudio-sdk has no hub.download; "
            "install 'aistudio-sdk<0.3', or give the path of a local folder"
        )

    download.embtune_shim = True  # type: ignore[attr-defined]
    module.download = download  # type: ignore[attr-defined]


# --- Paddle itself --------------------------------------------------------------------------------------------------


def require_paddle() -> Any:
    """Import paddle and return it.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        with quiet():
            return importlib.import_module("paddle")
    except ModuleNotFoundError as error:
        if error.name != "paddle":
            raise
        raise MissingDependencyError(
            'paddle is not installed, and this needs it; install it with: pip install "paddlenlp-embtune[cpu]"'
        ) from None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the warnings that Paddle and PaddleNLP raise about their own insides while they load.

    Streams are left alone: loggers that are made meanwhile hold on to the stream that they find.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def calm_logging() -> None:
    """Keep PaddleNLP's logger to warnings, for programs that print their own progress."""
    with quiet():
        logger = importlib.import_module("paddlenlp.utils.log").logger
    logger.set_level("WARNING")
    logging.getLogger("paddle").setLevel(logging.WARNING)


def rate_multiplier(rate: float, base_rate: float) -> float:
    """Convert an absolute learning rate into Paddle's multiplier of the optimizer's base rate.

    The ``learning_rate`` of a Paddle parameter group multiplies the base rate; it is not a rate.
    """
    if base_rate <= 0:
        raise HostError(f"the base learning rate is {base_rate}; legal: above 0, so that group rates can be told in it")
    return rate / base_rate


def effective_rate(parameter: Any, optimizer: Any) -> float:
    """Return the absolute learning rate that the next step will use for a parameter."""
    return float(optimizer.get_lr()) * float(parameter.optimize_attr["learning_rate"])


def untrace(model: Any) -> None:
    """Undo ``paddle.jit.to_static`` on a layer, which replaces its ``forward`` in place."""
    forward = model.__dict__.get("forward")
    if forward is not None and hasattr(forward, "rollback"):
        forward.rollback()


def restore_random_state(checkpoint: Path) -> None:
    """Load the random states that the Trainer wrote into a checkpoint of one process; do nothing if it wrote none."""
    file = checkpoint / "rng_state.pth"
    if not file.is_file():
        return
    paddle = require_paddle()
    states = paddle.load(str(file), return_numpy=True)
    random.setstate(states["python"])
    numpy = importlib.import_module("numpy")
    numpy.random.set_state(states["numpy"])
    paddle.framework.core.default_cpu_generator().set_state(states["cpu"])


def fill_optimizer_state(optimizer: Any) -> None:
    """Create fresh optimizer state for parameters that a loaded checkpoint has none for, because they were frozen in it.

    Paddle asserts that loaded state covers every parameter that trains in the first step.
    """
    optimizer = getattr(optimizer, "_inner_opt", optimizer)
    loaded = getattr(optimizer, "_accumulators_holder", None)
    if not loaded:
        return
    groups = optimizer._param_groups
    rows = [p for group in groups for p in group["params"]] if isinstance(groups[0], dict) else groups
    missing = [parameter for parameter in rows if not any(key.startswith(f"{parameter.name}_") for key in loaded)]
    block = require_paddle().base.framework.default_main_program().global_block()
    optimizer._accumulators_holder = {}
    for parameter in missing:
        optimizer._create_accumulators(block, [parameter])
    optimizer._accumulators_holder = loaded
