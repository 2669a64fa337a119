"""Serving: the bundle reader, engines, and the predictor. With the engine onnxruntime it needs no Paddle."""

from paddlenlp_embtune.serving.bundle import Bundle, Calibration, Manifest, ParityRecord, QuantizedProgram
from paddlenlp_embtune.serving.engines import Engine, EngineOptions, OnnxRuntimeEngine, PaddleInferenceEngine
from paddlenlp_embtune.serving.predictor import Predictor

__all__ = [
    "Bundle",
    "Calibration",
    "Engine",
    "EngineOptions",
    "Manifest",
    "OnnxRuntimeEngine",
    "PaddleInferenceEngine",
    "ParityRecord",
    "Predictor",
    "QuantizedProgram",
]
