"""Where the Trainer comes from: PaddleNLP or PaddleFormers. No other module names the two modules."""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
from typing import TYPE_CHECKING, Any

from paddlenlp_embtune.compat._host_import import import_host_module
from paddlenlp_embtune.compat.paddle import quiet, require_paddle
from paddlenlp_embtune.errors import HostError, MissingDependencyError, expected_names

if TYPE_CHECKING:
    from paddlenlp.trainer import (
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

__all__ = [
    "HOSTS",
    "PADDLEFORMERS",
    "TRAINER_VARIABLE",
    "Trainer",
    "TrainerCallback",
    "TrainingArguments",
    "host_name",
    "is_callback",
    "package_of",
    "quiet_logging",
    "trainer_module",
]

TRAINER_VARIABLE = "EMBTUNE_TRAINER"
HOSTS = {"paddlenlp": "paddlenlp.trainer", "paddleformers": "paddleformers.trainer"}
"""The packages that have a Trainer, the preferred one first, and the module that each has it in."""

PADDLEFORMERS = "paddleformers"

_CLASSES = ("Trainer", "TrainerCallback", "TrainingArguments")


def trainer_module(trainer: Any = None) -> Any:
    """Import the module that has ``Trainer``, ``TrainingArguments``, ``TrainerCallback`` and their siblings; return it.

    Args:
        trainer: a Trainer, whose own module is wanted; None chooses one with :func:`host_name`.
    Raises:
        HostError: the variable ``EMBTUNE_TRAINER`` names an unknown package, or ``trainer`` is not a Trainer of a known one.
        MissingDependencyError: the package is not installed.
    """
    require_paddle()
    name = host_name() if trainer is None else package_of(trainer)
    if name is None:
        expected = " or ".join(f"{module}.Trainer" for module in HOSTS.values())
        raise HostError(f"{type(trainer).__module__}.{type(trainer).__qualname__} is not a Trainer; expected {expected}")
    try:
        with quiet():
            return import_host_module(HOSTS[name])
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise _missing(name) from None


def host_name() -> str:
    """Choose the package that the Trainer comes from: ``paddlenlp`` or ``paddleformers``.

    The variable ``EMBTUNE_TRAINER`` decides. Without it, take the package whose Trainer the program has imported, and
    otherwise the one that is installed; PaddleNLP where that leaves both.
    """
    if chosen := os.environ.get(TRAINER_VARIABLE):
        if chosen not in HOSTS:
            raise HostError(f"the variable {TRAINER_VARIABLE} is {chosen!r}; {expected_names(chosen, HOSTS)}")
        return chosen
    for name, module in HOSTS.items():
        if module in sys.modules:
            return name
    for name in HOSTS:
        if importlib.util.find_spec(name) is not None:
            return name
    raise _missing(next(iter(HOSTS)))


def is_callback(value: Any) -> bool:
    """Return whether an object is a ``TrainerCallback`` of a package that the program has imported."""
    loaded = [sys.modules[module] for module in HOSTS.values() if module in sys.modules]
    return any(isinstance(value, module.TrainerCallback) for module in loaded)


def quiet_logging() -> None:
    """Keep the host's logger to warnings, for programs that print their own progress."""
    with quiet():
        logger = import_host_module(f"{host_name()}.utils.log").logger
    logger.set_level("WARNING")
    logging.getLogger("paddle").setLevel(logging.WARNING)


def package_of(value: Any) -> str | None:
    """Return the package that has the class of a Trainer or of its arguments, or the class which that derives from."""
    packages = (kind.__module__.partition(".")[0] for kind in type(value).__mro__)
    return next((package for package in packages if package in HOSTS), None)


def _missing(name: str) -> MissingDependencyError:
    return MissingDependencyError(
        f'{name} is not installed, and this needs it; install it with: pip install "paddlenlp-embtune[cpu]"'
    )


def __getattr__(name: str) -> Any:
    """Give the host's classes as attributes, so that its module is imported when one of them is first used."""
    if name not in _CLASSES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = trainer_module()
    if not hasattr(module.TrainerCallback, "on_save_hf"):
        # PaddleFormers' Trainer calls it on every callback, also on those that derive from PaddleNLP's.
        module.TrainerCallback.on_save_hf = _do_nothing
    return getattr(module, name)


def _do_nothing(callback: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
    """Let an event pass."""
