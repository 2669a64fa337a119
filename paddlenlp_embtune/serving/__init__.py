"""Serving: the bundle reader, engines, and the predictor. With the engine onnxruntime it needs no Paddle."""

from paddlenlp_embtune.serving.bundle import Bundle, Manifest, ParityRecord
from paddlenlp_embtune.serving.engines import Engine, OnnxRuntimeEngine, PaddleInferenceEngine
from paddlenlp_embtune.serving.predictor import Predictor

__all__ = ["Bundle", "Engine", "Manifest", "OnnxRuntimeEngine", "PaddleInferenceEngine", "ParityRecord", "Predictor"]
