"""The engine ``paddle``: the layer itself, rebuilt from a bundle's weights."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.bundle import Bundle, read_bundle_weights, read_model
from paddlenlp_embtune.errors import BundleError
from paddlenlp_embtune.inference import Attribution, EngineOptions, refuse_forked, require_cpu_fp32
from paddlenlp_embtune.models._integrated_gradients import attribute
from paddlenlp_embtune.models.factory import build_model
from paddlenlp_embtune.models.features import captured_features
from paddlenlp_embtune.models.vectors_beside_logits import vector_output
from paddlenlp_embtune.utils.fork_safety import watch_forks

paddle = compat.require_paddle()

__all__ = ["PaddleEngine", "load_layer"]


def load_layer(folder: Path) -> Any:
    """Rebuild a trained layer from ``model.json`` and ``weights.safetensors``, in evaluation mode.

    Raises:
        BundleError: a file is missing or damaged, or the two do not fit together.
        PluginError: the model is of a plugin that is not installed.
    """
    description = read_model(folder)
    sizes = {name: description["config"].pop(name) for name in ("vocabulary_size", "dimension", "num_labels")}
    weights = read_bundle_weights(folder)
    _check_sizes(folder, sizes, weights)
    model = build_model(description["name"], **sizes, options=description["config"])
    if hasattr(model, "complete_config"):
        model.complete_config(description["config"])
    for name, value in model.state_dict().items():
        if name not in weights or weights[name].shape != tuple(value.shape):
            found = f"has the shape {weights[name].shape}" if name in weights else "is missing"
            raise BundleError(
                f"{folder}: {name!r} in weights.safetensors {found}, model.json asks for {tuple(value.shape)}; restore both "
                "files, or train again"
            )
        value.set_value(weights[name])
    model.eval()
    return model


def _check_sizes(folder: Path, sizes: Mapping[str, int], weights: Mapping[str, npt.NDArray[Any]]) -> None:
    """Refuse sizes that no weight has before anything so large is built."""
    largest = max((size for value in weights.values() for size in value.shape), default=0)
    for name, size in sizes.items():
        if size > largest:
            raise BundleError(
                f"{folder}: {name} in model.json is {size:,}, and the longest dimension in weights.safetensors has "
                f"{largest:,}; restore both files, or train again"
            )


class PaddleEngine:
    """Runs the layer, ``layer``, in dynamic mode; one thread at a time.

    Args:
        bundle: an opened bundle.
        options: the number of threads is the process's instead (see ``prepare_cpu``).
    Raises:
        DataError: a GPU, or a quantized program, was asked for.
    """

    def __init__(self, bundle: Bundle, options: EngineOptions) -> None:
        require_cpu_fp32(options, engine="paddle")
        self.layer = load_layer(bundle.path)
        self._lock, self._stale = threading.Lock(), False
        watch_forks(self)

    def after_fork(self) -> None:
        """Note in a forked process that Paddle cannot be used there: it would wait for its threads, which are not there."""
        self._stale, self._lock = True, threading.Lock()

    def run(self, input_ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Map (B, L) int64 ids to (B, C) float32 logits."""
        refuse_forked(self._stale)
        with self._lock, paddle.no_grad():
            logits: npt.NDArray[np.float32] = self.layer(paddle.to_tensor(input_ids)).numpy()
        return logits

    @cached_property
    def gives_vectors(self) -> bool:
        """Whether the layer has vectors of texts beside the logits."""
        return vector_output(self.layer) is not None

    def run_with_vectors(self, input_ids: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Map (B, L) int64 ids to (B, C) float32 logits and (B, H) float32 vectors."""
        refuse_forked(self._stale)
        with self._lock, paddle.no_grad(), captured_features(self.layer) as seen:
            logits = self.layer(paddle.to_tensor(input_ids)).numpy()
        return logits, seen[-1].numpy()

    def attribute(
        self, ids: Sequence[int], *, label: int, temperature: float = 1.0, fixed: tuple[int, int] = (0, 0)
    ) -> Attribution:
        """Attribute the log-odds of a label to the tokens of one text by integrated gradients."""
        refuse_forked(self._stale)
        with self._lock:
            return attribute(self.layer, ids, label=label, temperature=temperature, fixed=fixed)
