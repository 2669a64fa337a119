"""Tune, watch and serve domain embeddings on PaddleNLP.

Importing this package loads neither paddle nor paddlenlp. It makes ``Taskflow("domain_sentiment")`` available, whichever of
the two packages is imported first.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from paddlenlp_embtune import host as _host
from paddlenlp_embtune import imports as _imports
from paddlenlp_embtune.errors import (
    BundleError,
    DataError,
    EmbtuneError,
    HostError,
    MissingDependencyError,
    ParityError,
    PatternError,
    PluginError,
    RecipeError,
    TrainingError,
    VectorError,
)

if TYPE_CHECKING:
    from paddlenlp_embtune.domain import Domain
    from paddlenlp_embtune.encoders.pretrained import Pretrained
    from paddlenlp_embtune.formats.options import ReadOptions
    from paddlenlp_embtune.formats.table import VectorTable
    from paddlenlp_embtune.hookspecs import hookimpl
    from paddlenlp_embtune.host import prepare_cpu
    from paddlenlp_embtune.pipeline import train
    from paddlenlp_embtune.recipe import AlarmSpec, GroupSpec, Recipe
    from paddlenlp_embtune.registry import Lazy
    from paddlenlp_embtune.report.run import Run
    from paddlenlp_embtune.serving.engines import EngineOptions
    from paddlenlp_embtune.serving.explain import Attribution
    from paddlenlp_embtune.serving.predictor import Predictor
    from paddlenlp_embtune.tuning.attach import attach

__version__ = "0.1.0"

__all__ = [
    "AlarmSpec",
    "Attribution",
    "BundleError",
    "DataError",
    "Domain",
    "EmbtuneError",
    "EngineOptions",
    "GroupSpec",
    "HostError",
    "Lazy",
    "MissingDependencyError",
    "ParityError",
    "PatternError",
    "PluginError",
    "Predictor",
    "Pretrained",
    "ReadOptions",
    "Recipe",
    "RecipeError",
    "Run",
    "TrainingError",
    "VectorError",
    "VectorTable",
    "attach",
    "hookimpl",
    "prepare_cpu",
    "train",
]

_LAZY = {
    "AlarmSpec": "recipe",
    "Attribution": "serving.explain",
    "Domain": "domain",
    "EngineOptions": "serving.engines",
    "GroupSpec": "recipe",
    "Lazy": "registry",
    "Predictor": "serving.predictor",
    "Pretrained": "encoders.pretrained",
    "ReadOptions": "formats.options",
    "Recipe": "recipe",
    "Run": "report.run",
    "VectorTable": "formats.table",
    "attach": "tuning.attach",
    "hookimpl": "hookspecs",
    "prepare_cpu": "host",
    "train": "pipeline",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _register_task(taskflow_module: Any) -> None:
    importlib.import_module(f"{__name__}.taskflow").register(taskflow_module)


_host.install_shims()
_imports.after_import("paddlenlp.taskflow.taskflow", _register_task)
