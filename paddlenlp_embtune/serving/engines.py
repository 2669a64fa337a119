"""Engines that serve a bundle without the training stack: ONNX Runtime, and Paddle Inference."""

from __future__ import annotations

import importlib
import threading
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import host
from paddlenlp_embtune.errors import BundleError, MissingDependencyError
from paddlenlp_embtune.serving.bundle import INPUT_NAME, OUTPUT_NAME, Bundle

__all__ = ["Engine", "OnnxRuntimeEngine", "PaddleInferenceEngine"]


class Engine(Protocol):
    """What runs a bundle."""

    def run(self, input_ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Map (B, L) int64 ids, padded with 0, to (B, C) float32 logits; from any thread."""


class OnnxRuntimeEngine:
    """Runs ``onnx/model.onnx`` on the CPU; needs no Paddle.

    Args:
        bundle: an opened bundle with files for ``onnxruntime``.
        threads: threads of one run; None leaves it to ONNX Runtime (one for each core).
    Raises:
        MissingDependencyError: onnxruntime is not installed.
        BundleError: the bundle has no ONNX file, or the file cannot be loaded.
    """

    def __init__(self, bundle: Bundle, *, threads: int | None = None) -> None:
        try:
            runtime = importlib.import_module("onnxruntime")
        except ModuleNotFoundError as error:
            if error.name != "onnxruntime":
                raise
            raise MissingDependencyError(
                'the engine onnxruntime is not installed; install it with: pip install "paddlenlp-embtune[serve]"'
            ) from None
        file = bundle.engine_file("onnxruntime", ".onnx")
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        options.inter_op_num_threads = 1
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self._session = runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise BundleError(f"ONNX Runtime cannot load {file}: {error}") from error

    def run(self, input_ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Map (B, L) int64 ids to (B, C) float32 logits."""
        logits: npt.NDArray[np.float32] = self._session.run([OUTPUT_NAME], {INPUT_NAME: input_ids})[0]
        return logits


class PaddleInferenceEngine:
    """Runs the program in ``paddle/`` with Paddle Inference on the CPU; one thread at a time.

    oneDNN stays off: with it, Paddle has been reported to give other answers on some processors.

    Args:
        bundle: an opened bundle with files for ``paddle_inference``.
        threads: threads of one run; None takes one.
    Raises:
        MissingDependencyError: paddle is not installed.
        BundleError: the bundle has no program.
    """

    def __init__(self, bundle: Bundle, *, threads: int | None = None) -> None:
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
        config.set_cpu_math_library_num_threads(threads or 1)
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
