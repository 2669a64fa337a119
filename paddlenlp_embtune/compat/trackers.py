"""The experiment trackers that the Trainer knows by itself: VisualDL, Weights & Biases, TensorBoard."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from typing import Any

from paddlenlp_embtune.compat.host import TrainerCallback, trainer_module

__all__ = ["HOST_TRACKERS", "guard_callback", "host_tracker", "missing_package"]

HOST_TRACKERS = {"visualdl": "visualdl", "wandb": "wandb", "tensorboard": "tensorboardX"}
"""By the name that ``report_to`` takes, the package that it needs."""


def host_tracker(name: str, trainer: Any) -> Any:
    """Return the Trainer's own callback for a tracker, new."""
    package = trainer_module(trainer).__name__
    known = importlib.import_module(f"{package}.integrations").INTEGRATION_TO_CALLBACK
    return known[name]()


def guard_callback(callback: Any, on_failure: Callable[[Exception], object]) -> Any:
    """Let a callback's events fail without ending the training: the first failure is reported, and no further event is sent.

    The callbacks for TensorBoard and Weights & Biases take ``model.config`` for a configuration of PaddleNLP; where it is
    something else, such as a method, they get a model without one.

    Args:
        callback: whose methods are replaced.
        on_failure: called once, with the first exception.
    """
    failed: list[Exception] = []

    def guarded(event: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if failed:
                return None
            try:
                return event(*arguments, **_readable(options))
            except Exception as error:
                failed.append(error)
                on_failure(error)
                return None

        return call

    for name in dir(TrainerCallback):
        if name.startswith("on_"):
            setattr(callback, name, guarded(getattr(callback, name)))
    return callback


def _readable(options: Mapping[str, Any]) -> Mapping[str, Any]:
    model = options.get("model")
    if model is None or hasattr(getattr(model, "config", None), "to_dict"):
        return options
    return {**options, "model": _WithoutConfig(model)}


class _WithoutConfig:
    """A model, but for its ``config``."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        if name == "config":
            raise AttributeError(name)
        return getattr(self._model, name)


def missing_package(name: str) -> str | None:
    """Return the package that a tracker of the Trainer needs and that is not installed; None where it is there."""
    package = HOST_TRACKERS[name]
    return None if importlib.util.find_spec(package) is not None else package
