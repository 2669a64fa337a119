"""Tune, monitor and serve domain embeddings on PaddleNLP.

Importing this package loads neither paddle nor paddlenlp. It makes ``Taskflow("domain_sentiment")`` available, whichever of
the two packages is imported first.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from paddlenlp_embtune import compat as _compat
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
    StudyError,
    TrainingError,
    VectorError,
)
from paddlenlp_embtune.plugin import provide as _provide
from paddlenlp_embtune.utils.import_hooks import after_import as _after_import
from paddlenlp_embtune.utils.lazy import lazy_exports as _lazy_exports

if TYPE_CHECKING:
    from paddlenlp_embtune.compat import prepare_cpu
    from paddlenlp_embtune.config import AlarmSpec, Domain, GroupSpec, Recipe
    from paddlenlp_embtune.embeddings.io import ReadOptions, VectorTable
    from paddlenlp_embtune.encoders import Pretrained
    from paddlenlp_embtune.inference import Attribution, EngineOptions, Predictor
    from paddlenlp_embtune.plugin import Lazy, hookimpl
    from paddlenlp_embtune.plugin.registry import Registry
    from paddlenlp_embtune.report import Run
    from paddlenlp_embtune.training import attach, train
else:
    _, __getattr__, __dir__ = _lazy_exports(
        __name__,
        {
            "compat": "prepare_cpu",
            "config": "AlarmSpec Domain GroupSpec Recipe",
            "embeddings.io": "ReadOptions VectorTable",
            "encoders": "Pretrained",
            "inference": "Attribution EngineOptions Predictor",
            "plugin": "Lazy hookimpl",
            "report": "Run",
            "training": "attach train",
        },
    )

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
    "StudyError",
    "TrainingError",
    "VectorError",
    "VectorTable",
    "attach",
    "hookimpl",
    "prepare_cpu",
    "train",
]


def _load_plugins(**options: Any) -> Registry:
    from paddlenlp_embtune import builtin
    from paddlenlp_embtune.plugin import manager

    return manager.load(builtin, **options)


def _register_task(taskflow_module: Any) -> None:
    importlib.import_module(f"{__name__}.taskflow").register(taskflow_module)


_provide(_load_plugins)
_compat.install_shims()
_after_import("paddlenlp.taskflow.taskflow", _register_task)
