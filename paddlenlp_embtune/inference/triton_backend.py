"""The model that Triton's Python backend loads from a repository that ``embtune export --triton`` wrote."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from paddlenlp_embtune.inference.predictor import Predictor

__all__ = ["TritonPythonModel"]


class TritonPythonModel:
    """Labels the texts of all requests that Triton hands over together in one call."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the bundle beside the model's file.

        Args:
            args: what Triton passes: ``model_repository``, ``model_version``, and ``model_config`` as JSON.
        """
        self._triton: Any = importlib.import_module("triton_python_backend_utils")  # exists within Triton only
        parameters = json.loads(args["model_config"]).get("parameters", {})
        precision = parameters.get("precision", {}).get("string_value", "fp32")
        bundle = Path(args["model_repository"]) / args["model_version"] / "bundle"
        self._predictor = Predictor(bundle, precision=precision, device="cpu")

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer requests: ``TEXT`` (B, 1) of UTF-8 strings to ``LABEL`` (B, 1), ``SCORE`` (B, 1) and ``SCORES`` (B, C).

        A text without a visible character gets an empty label. A request that is not UTF-8 gets an error of its own.
        """
        batches = [self._texts(request) for request in requests]
        texts = [text for batch in batches if isinstance(batch, list) for text in batch]
        answers = iter(self._predictor.predict(texts, scores=True))
        return [
            self._respond([next(answers) for _ in batch]) if isinstance(batch, list) else self._refuse(batch)
            for batch in batches
        ]

    def finalize(self) -> None:
        """Stop the predictor's threads."""
        self._predictor.close()

    def _texts(self, request: Any) -> list[str] | UnicodeDecodeError:
        values = self._triton.get_input_tensor_by_name(request, "TEXT").as_numpy().reshape(-1)
        try:
            return [value if isinstance(value, str) else bytes(value).decode("utf-8") for value in values]
        except UnicodeDecodeError as error:
            return error

    def _respond(self, answers: list[dict[str, Any]]) -> Any:
        columns = {
            "LABEL": np.array([[(answer["label"] or "").encode()] for answer in answers], dtype=np.object_).reshape(-1, 1),
            "SCORE": np.array([[answer["score"]] for answer in answers], dtype=np.float32).reshape(-1, 1),
            "SCORES": np.array([list(answer["scores"].values()) for answer in answers], dtype=np.float32).reshape(
                -1, len(self._predictor.labels)
            ),
        }
        return self._triton.InferenceResponse([self._triton.Tensor(name, values) for name, values in columns.items()])

    def _refuse(self, error: UnicodeDecodeError) -> Any:
        message = f"TEXT is not UTF-8: byte {error.start} is {error.object[error.start]:#04x}"
        return self._triton.InferenceResponse([], error=self._triton.TritonError(message))
