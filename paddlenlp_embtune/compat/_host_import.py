"""Importing modules of the host: of PaddleNLP, no more than its Trainer needs."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import logging
import sys
import types
from collections.abc import Iterator
from typing import Any

from paddlenlp_embtune.compat._deferred_packages import deferring

__all__ = ["host_attribute", "import_host_module"]

logger = logging.getLogger("paddlenlp_embtune")

_DEFERRED = {
    "3.0.0b4": (
        "paddlenlp",
        "paddlenlp.metrics",
        "paddlenlp.peft",
        "paddlenlp.peft.reft",
        "paddlenlp.prompt",
        "paddlenlp.transformers",
        "sklearn",  # of which seqeval, for one of the metrics, needs a warning
    )
}
"""Packages whose ``__init__`` the Trainer does not need, by the release of PaddleNLP that this was tried with."""


def import_host_module(name: str) -> Any:
    """Import a module of PaddleNLP or PaddleFormers.

    ``import paddlenlp`` imports all of PaddleNLP, with its models, Taskflow, pandas, pyarrow and scikit-learn. Its Trainer
    needs a quarter of that. The rest is imported as soon as something asks for it. A release that this was not tried with is
    imported as a whole, and so is any where it fails.
    """
    package, _, _ = name.partition(".")
    deferred = _DEFERRED.get(_release(package)) if package not in sys.modules else None
    if package != "paddlenlp" or deferred is None:
        return importlib.import_module(name)
    try:
        with deferring(deferred), _datasets_on_demand(package):
            for module in ("trainer", "version"):  # what a Trainer logs names the latter
                importlib.import_module(f"{package}.{module}")
        importlib.import_module("paddle").disable_signal_handler()  # as the package itself does in the end
    except Exception:
        logger.debug("importing the whole of %s, because a part of it cannot be imported alone", package, exc_info=True)
    return importlib.import_module(name)


def host_attribute(module: str, name: str) -> Any:
    """Return an attribute of a module of PaddleNLP, such as a class of ``paddlenlp.transformers``; None where there is none.

    Where the rest of PaddleNLP has not been imported yet, no more is imported than what defines the attribute.
    """
    package, _, _ = module.partition(".")
    if package not in sys.modules:
        import_host_module(f"{package}.trainer")
    try:
        with deferring(()):
            return getattr(importlib.import_module(module), name)
    except (AttributeError, ImportError):
        return getattr(importlib.import_module(module), name, None)


def _release(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


@contextlib.contextmanager
def _datasets_on_demand(package: str) -> Iterator[None]:
    """Let the Trainer, which asks only whether its rows are a data set of ``datasets``, do without that package.

    Where nobody has imported ``datasets``, no rows are.
    """
    available: Any = importlib.import_module(f"{package}.utils.import_utils")
    installed = available.is_datasets_available
    available.is_datasets_available = _datasets_imported
    try:
        yield
    finally:
        available.is_datasets_available = installed
    trainer = vars(sys.modules[f"{package}.trainer.trainer"])
    if installed():
        trainer.setdefault("datasets", _OnDemand("datasets"))


def _datasets_imported() -> bool:
    return "datasets" in sys.modules


class _OnDemand(types.ModuleType):
    """Stands for a module in one that mentions it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)
