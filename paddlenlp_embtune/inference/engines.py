"""Engines that serve a bundle without the training stack: ONNX Runtime, and Paddle Inference."""

from __future__ import annotations

import dataclasses
import importlib
import logging
import threading
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.bundle import INPUT_NAME, OUTPUT_NAME, VECTORS_NAME, Bundle
from paddlenlp_embtune.errors import BundleError, DataError, HostError, MissingDependencyError
from paddlenlp_embtune.inference.inputs import check_name, check_num_threads
from paddlenlp_embtune.utils.files.atomic_io import sha256_of
from paddlenlp_embtune.utils.fork_safety import keep_forever, watch_forks

__all__ = ["DEVICES", "Engine", "EngineOptions", "OnnxRuntimeEngine", "PaddleInferenceEngine", "gpu_providers", "open_session"]

DEVICES = ("auto", "cpu", "gpu")
_GPU_PROVIDERS = ("CUDAExecutionProvider", "MIGraphXExecutionProvider", "DmlExecutionProvider")
_LARGE_BYTES = 16 << 20
_logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """How an engine runs.

    Args:
        num_threads: processors that a run may use, 1 or more; None leaves it to the engine.
        device: ``cpu``, ``gpu``, or ``auto`` for a GPU where the engine has one.
        precision: ``fp32``, or a quantized program of the bundle, such as ``int8``.
    """

    num_threads: int | None = None
    device: str = "auto"
    precision: str = "fp32"

    def __post_init__(self) -> None:
        object.__setattr__(self, "num_threads", check_num_threads(self.num_threads))
        check_name(self.precision, "precision")
        if self.device not in DEVICES:
            raise DataError(f"device is {self.device!r}; expected {', '.join(DEVICES)}")


class Engine(Protocol):
    """Runs a bundle: ids in, logits out.

    Beside ``run``, it may have ``concurrent``, ``attribute`` and ``run_with_vectors``: see the hook.
    """

    def run(self, input_ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Map (B, L) int64 ids, padded with 0, to (B, C) float32 logits; from any thread."""


class OnnxRuntimeEngine:
    """Runs ``onnx/model.onnx``, or a quantized sibling of it; needs no Paddle.

    On a CPU, runs from several threads go side by side, each on a thread of its own: several batches at once are faster than
    one batch on several threads. A run that has a large program to itself takes all threads, for which the program is loaded a
    second time.

    Args:
        bundle: an opened bundle with files for ``onnxruntime``.
        options: how it runs; ``num_threads`` None takes one.
    Raises:
        MissingDependencyError: onnxruntime is not installed, or has no GPU provider and a GPU was asked for.
        HostError: onnxruntime has a GPU provider, and the GPU cannot be used.
        BundleError: the bundle has no such file, or the file cannot be loaded.
    """

    concurrent = True

    def __init__(self, bundle: Bundle, options: EngineOptions) -> None:
        try:
            runtime = importlib.import_module("onnxruntime")
        except ModuleNotFoundError as error:
            if error.name != "onnxruntime":
                raise
            raise MissingDependencyError(
                'the engine onnxruntime is not installed; install it with: pip install "paddlenlp-embtune[serve]"'
            ) from None
        file = bundle.quantized_file(options.precision) or bundle.engine_file("onnxruntime", ".onnx")
        providers = _providers(runtime, options.device)
        self._session = open_session(file, providers, num_threads=1)
        self._file, self._digest = file, bundle.manifest.files.get(file.relative_to(bundle.path).as_posix())
        used = self._session.get_providers()[0]
        if used != providers[0]:
            message = (
                f"onnxruntime offers {providers[0]} but runs on {used}; see why with: "
                f"python -c \"import onnxruntime; onnxruntime.preload_dlls()\", or use device='cpu'"
            )
            if options.device == "gpu":
                raise HostError(message)
            _logger.warning("%s", message)
        self.concurrent = used == "CPUExecutionProvider"
        num_threads = options.num_threads or 1
        large = self.concurrent and num_threads > 1 and file.stat().st_size >= _LARGE_BYTES
        self._alone = open_session(file, providers, num_threads=num_threads) if large else None
        self._providers = providers
        self._num_threads = num_threads
        self._running, self._lock, self._stale = 0, threading.Lock(), False
        watch_forks(self)

    def after_fork(self) -> None:
        """Note in a forked process whether the sessions can be used there.

        A session that ran at that moment holds a copied lock that nobody will release, and one with threads of its own has
        lost them. A session that was idle still works.
        """
        self._stale = self._stale or self._running > 0 or self._alone is not None or not self.concurrent
        self._running, self._lock = 0, threading.Lock()

    def _restart(self) -> None:
        """Load the program again in a forked process; the lock is held.

        Raises:
            HostError: it runs on a GPU, whose state no forked process has.
            BundleError: the program has been replaced since.
        """
        if not self.concurrent:
            raise HostError(
                "this process was forked from one that uses the GPU, and cannot use it; start worker processes with 'spawn', "
                "or open the predictor in each of them"
            )
        if self._digest is not None and (not self._file.is_file() or sha256_of(self._file) != self._digest):
            raise BundleError(
                f"this process was forked while {self._file} ran, and must load it again, but the bundle was replaced or "
                "removed meanwhile; open a new Predictor in this process"
            )
        for session in (self._session, self._alone):
            keep_forever(session)
        self._session = open_session(self._file, self._providers, num_threads=1)
        if self._alone is not None:
            self._alone = open_session(self._file, self._providers, num_threads=self._num_threads)
        self._stale = False

    def run(self, input_ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Map (B, L) int64 ids to (B, C) float32 logits."""
        return self._outputs(input_ids, OUTPUT_NAME)[0]

    @property
    def gives_vectors(self) -> bool:
        """Whether the program has vectors of texts beside the logits."""
        return VECTORS_NAME in [output.name for output in self._session.get_outputs()]

    def run_with_vectors(self, input_ids: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Map (B, L) int64 ids to (B, C) float32 logits and (B, H) float32 vectors."""
        logits, vectors = self._outputs(input_ids, OUTPUT_NAME, VECTORS_NAME)
        return logits, vectors

    def _outputs(self, input_ids: npt.NDArray[np.int64], *names: str) -> list[Floats]:
        with self._lock:
            if self._stale:
                self._restart()
            session = self._alone if self._alone is not None and not self._running else self._session
            self._running += 1
        try:
            outputs: list[Floats] = session.run(list(names), {INPUT_NAME: input_ids})
        except MemoryError:
            raise
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            shape = input_ids.shape
            raise BundleError(f"{self._file} fails on ids of shape {shape}: {reason}; export the bundle again") from error
        finally:
            with self._lock:
                self._running -= 1
        return outputs


class PaddleInferenceEngine:
    """Runs the program in ``paddle/`` with Paddle Inference on the CPU; one run at a time.

    oneDNN stays off: with it, Paddle has been reported to give different answers on some processors.

    Args:
        bundle: an opened bundle with files for ``paddle_inference``.
        options: how it runs; ``num_threads`` None takes one.
    Raises:
        MissingDependencyError: paddle is not installed.
        BundleError: the bundle has no program.
        DataError: a GPU, or a quantized program, was asked for.
    """

    def __init__(self, bundle: Bundle, options: EngineOptions) -> None:
        require_cpu_fp32(options, engine="paddle_inference")
        weights = bundle.engine_file("paddle_inference", ".pdiparams")
        # Of the files that the manifest names: the hash of no other has been checked.
        names = bundle.manifest.engines["paddle_inference"]
        programs = [bundle.path / name for name in names if name.endswith((".json", ".pdmodel"))]
        if not programs:
            raise BundleError(f"the bundle {bundle.path} lacks the program beside {weights.name}; export it again")
        compat.require_paddle()
        inference: Any = importlib.import_module("paddle.inference")
        config = inference.Config(str(programs[0]), str(weights))
        config.disable_gpu()
        config.disable_glog_info()
        config.disable_mkldnn()
        config.set_cpu_math_library_num_threads(options.num_threads or 1)
        self._predictor = inference.create_predictor(config)
        self._lock, self._stale = threading.Lock(), False
        watch_forks(self)

    def after_fork(self) -> None:
        """Note in a forked process that Paddle cannot be used there: it would wait for its threads, which are not there."""
        self._stale, self._lock = True, threading.Lock()

    @property
    def gives_vectors(self) -> bool:
        """Whether the program has vectors of texts beside the logits."""
        return len(self._predictor.get_output_names()) > 1

    def run(self, input_ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Map (B, L) int64 ids to (B, C) float32 logits."""
        return self._outputs(input_ids, 1)[0]

    def run_with_vectors(self, input_ids: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Map (B, L) int64 ids to (B, C) float32 logits and (B, H) float32 vectors."""
        logits, vectors = self._outputs(input_ids, 2)
        return logits, vectors

    def _outputs(self, input_ids: npt.NDArray[np.int64], count: int) -> list[Floats]:
        refuse_forked(self._stale)
        with self._lock:
            self._predictor.get_input_handle(INPUT_NAME).copy_from_cpu(np.ascontiguousarray(input_ids))
            self._predictor.run()
            names = self._predictor.get_output_names()[:count]
            return [self._predictor.get_output_handle(name).copy_to_cpu() for name in names]


def refuse_forked(forked: bool) -> None:
    """Refuse to run Paddle in a process that was forked after Paddle was loaded: it would wait for ever.

    Raises:
        HostError: with the ways that work.
    """
    if forked:
        raise HostError(
            "this process was forked from one that had opened this engine, and Paddle cannot run in it; start worker "
            "processes with 'spawn', or use engine='onnxruntime'"
        )


def require_cpu_fp32(options: EngineOptions, *, engine: str) -> None:
    """Refuse options that an engine for fp32 on the CPU does not have.

    Raises:
        DataError: naming the option, and the engine that can.
    """
    if options.device == "gpu":
        raise DataError(
            f"device is 'gpu', but the engine {engine!r} runs on the CPU only; expected auto or cpu, or engine='onnxruntime'"
        )
    if options.precision != "fp32":
        raise DataError(
            f"precision is {options.precision!r}, but the engine {engine!r} runs fp32 only; for quantized programs use "
            "engine='onnxruntime'"
        )


def open_session(file: Path, providers: list[str], *, num_threads: int) -> Any:
    """Load a program into ONNX Runtime, for batches of any shape.

    Raises:
        BundleError: it cannot be loaded.
    """
    runtime: Any = importlib.import_module("onnxruntime")
    settings = runtime.SessionOptions()
    settings.log_severity_level = 4
    settings.inter_op_num_threads = 1
    settings.intra_op_num_threads = num_threads
    # Every batch has a shape of its own: memory plans by shape would be kept for each of them, for ever. The arena stays:
    # batches are bounded in tokens, so it stops growing, and without it every run would allocate from the system.
    settings.enable_mem_pattern = False
    try:
        return runtime.InferenceSession(str(file), settings, providers=providers)
    except Exception as error:
        raise BundleError(f"ONNX Runtime cannot load {file}: {error}; export the bundle again") from error


def gpu_providers() -> list[str]:
    """Return the GPU providers of the onnxruntime that is installed."""
    available = importlib.import_module("onnxruntime").get_available_providers()
    return [name for name in _GPU_PROVIDERS if name in available]


def _providers(runtime: Any, device: str) -> list[str]:
    """Choose the providers of a session, the preferred one first.

    Raises:
        MissingDependencyError: a GPU was asked for, and this onnxruntime knows none.
    """
    available, gpus = runtime.get_available_providers(), gpu_providers()
    if device == "gpu" and not gpus:
        raise MissingDependencyError(
            f"device is 'gpu', but this onnxruntime has the providers {', '.join(available)} and none of "
            f"{', '.join(_GPU_PROVIDERS)}; install onnxruntime-gpu in place of onnxruntime, or use device='cpu'"
        )
    return [*(gpus[:1] if device != "cpu" else ()), "CPUExecutionProvider"]
