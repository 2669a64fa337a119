"""Engines that serve a bundle without the training stack: ONNX Runtime, and Paddle Inference."""

from __future__ import annotations

import dataclasses
import importlib
import logging
import threading
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import host
from paddlenlp_embtune.errors import BundleError, DataError, HostError, MissingDependencyError
from paddlenlp_embtune.serving.bundle import INPUT_NAME, OUTPUT_NAME, Bundle

__all__ = ["DEVICES", "Engine", "EngineOptions", "OnnxRuntimeEngine", "PaddleInferenceEngine", "gpu_providers"]

DEVICES = ("auto", "cpu", "gpu")
_GPU_PROVIDERS = ("CUDAExecutionProvider", "MIGraphXExecutionProvider", "DmlExecutionProvider")
_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """How an engine runs.

    Args:
        threads: threads of one run, 1 or more; None leaves it to the engine.
        device: ``cpu``, ``gpu``, or ``auto`` for a GPU where the engine has one.
        precision: ``fp32``, or a quantized program of the bundle, such as ``int8``.
    """

    threads: int | None = None
    device: str = "auto"
    precision: str = "fp32"

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise DataError(f"threads is {self.threads}; legal: 1 or more, or None")
        if self.device not in DEVICES:
            raise DataError(f"device is {self.device!r}; legal: {', '.join(DEVICES)}")


class Engine(Protocol):
    """What runs a bundle."""

    def run(self, input_ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Map (B, L) int64 ids, padded with 0, to (B, C) float32 logits; from any thread."""


class OnnxRuntimeEngine:
    """Runs ``onnx/model.onnx``, or a quantized sibling of it; needs no Paddle.

    On a CPU, runs from several threads go side by side, each on as many threads as the options say: several batches at once
    are faster than one batch on several threads.

    Args:
        bundle: an opened bundle with files for ``onnxruntime``.
        options: how it runs; ``threads`` None takes one thread a run.
    Raises:
        MissingDependencyError: onnxruntime is not installed, or one with a GPU was asked for and is not.
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
        settings = runtime.SessionOptions()
        settings.log_severity_level = 4
        settings.inter_op_num_threads = 1
        settings.intra_op_num_threads = options.threads or 1
        # Threads that spin while they wait take the processor from other requests.
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Every batch has a shape of its own: plans of memory by shape would be kept for each of them, for ever.
        settings.enable_mem_pattern = False
        providers = _providers(runtime, options.device)
        try:
            self._session = runtime.InferenceSession(str(file), settings, providers=providers)
        except Exception as error:
            raise BundleError(f"ONNX Runtime cannot load {file}: {error}") from error
        used = self._session.get_providers()[0]
        if used != providers[0]:
            message = f"onnxruntime offers {providers[0]} but runs on {used}; look at its log, or ask for device='cpu'"
            if options.device == "gpu":
                raise HostError(message)
            _logger.warning("%s", message)
        self.concurrent = used == "CPUExecutionProvider"

    def run(self, input_ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Map (B, L) int64 ids to (B, C) float32 logits."""
        logits: npt.NDArray[np.float32] = self._session.run([OUTPUT_NAME], {INPUT_NAME: input_ids})[0]
        return logits


class PaddleInferenceEngine:
    """Runs the program in ``paddle/`` with Paddle Inference on the CPU; one run at a time.

    oneDNN stays off: with it, Paddle has been reported to give other answers on some processors.

    Args:
        bundle: an opened bundle with files for ``paddle_inference``.
        options: how it runs; ``threads`` None takes one.
    Raises:
        MissingDependencyError: paddle is not installed.
        BundleError: the bundle has no program.
        DataError: a GPU, or a quantized program, was asked for.
    """

    def __init__(self, bundle: Bundle, options: EngineOptions) -> None:
        require_plain(options, engine="paddle_inference")
        weights = bundle.engine_file("paddle_inference", ".pdiparams")
        programs = [p for p in (weights.with_suffix(".json"), weights.with_suffix(".pdmodel")) if p.is_file()]
        if not programs:
            raise BundleError(f"the bundle {bundle.path} lacks the program beside {weights.name}; export it again")
        host.require_paddle()
        inference: Any = importlib.import_module("paddle.inference")
        config = inference.Config(str(programs[0]), str(weights))
        config.disable_gpu()
        config.disable_glog_info()
        config.disable_mkldnn()
        config.set_cpu_math_library_num_threads(options.threads or 1)
        self._predictor = inference.create_predictor(config)
        self._lock = threading.Lock()

    def run(self, input_ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Map (B, L) int64 ids to (B, C) float32 logits."""
        with self._lock:
            self._predictor.get_input_handle(INPUT_NAME).copy_from_cpu(np.ascontiguousarray(input_ids))
            self._predictor.run()
            name = self._predictor.get_output_names()[0]
            logits: npt.NDArray[np.float32] = self._predictor.get_output_handle(name).copy_to_cpu()
        return logits


def require_plain(options: EngineOptions, *, engine: str) -> None:
    """Refuse what an engine that runs fp32 on the CPU cannot do.

    Raises:
        DataError: naming the option, and the engine that can.
    """
    if options.device == "gpu":
        raise DataError(f"the engine {engine!r} serves on the CPU; legal devices: auto, cpu; engine='onnxruntime' knows gpu")
    if options.precision != "fp32":
        raise DataError(
            f"the engine {engine!r} runs fp32, not {options.precision!r}; engine='onnxruntime' runs quantized programs"
        )


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
            f"{', '.join(_GPU_PROVIDERS)}; put onnxruntime-gpu in place of onnxruntime, or ask for device='cpu'"
        )
    return [*(gpus[:1] if device != "cpu" else ()), "CPUExecutionProvider"]
