"""Optuna: its samplers and pruners by name, and its storages with errors that say what to do."""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from paddlenlp_embtune.errors import EmbtuneError, MissingDependencyError, RecipeError, StudyError, expected_names

__all__ = [
    "PRUNERS",
    "SAMPLERS",
    "describe_storage",
    "import_optuna",
    "make_pruner",
    "make_sampler",
    "open_storage",
    "storage_errors",
]

SAMPLERS = {
    "tpe": "TPESampler",
    "random": "RandomSampler",
    "gp": "GPSampler",
    "cmaes": "CmaEsSampler",
    "qmc": "QMCSampler",
}
PRUNERS = {
    "median": "MedianPruner",
    "percentile": "PercentilePruner",
    "hyperband": "HyperbandPruner",
    "successive_halving": "SuccessiveHalvingPruner",
    "none": "NopPruner",
}
_STARTUP_TRIALS, _WARMUP_EVALS = 4, 2
_SQLITE_SECONDS = 30


@functools.cache
def import_optuna() -> Any:
    """Return the package, without its log of every trial.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        optuna: Any = importlib.import_module("optuna")
    except ModuleNotFoundError as error:
        if error.name != "optuna":
            raise
        raise MissingDependencyError(
            'embtune search needs optuna; install it with: pip install "paddlenlp-embtune[search]"'
        ) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def make_sampler(name: str, *, seed: int, trials: int | None) -> Any:
    """Build a sampler of Optuna.

    Args:
        name: one of ``SAMPLERS``.
        seed: of its random numbers.
        trials: how many there will be, if that is known; a third of them at most, and ten, are drawn at random first.
    Raises:
        RecipeError: there is no such sampler.
        MissingDependencyError: it needs a package that is not installed.
    """
    optuna = import_optuna()
    if name not in SAMPLERS:
        raise RecipeError(f"the sampler is {name!r}; {expected_names(name, SAMPLERS)}")
    kind = getattr(optuna.samplers, SAMPLERS[name])
    known = inspect.signature(kind).parameters
    options: dict[str, Any] = {"seed": seed}
    if name in ("tpe", "gp"):
        options["n_startup_trials"] = 10 if trials is None else max(3, min(10, trials // 3))
    if name == "tpe":
        options["multivariate"] = True
    try:
        with _quiet():
            return kind(**{key: value for key, value in options.items() if key in known})
    except ImportError as error:
        raise MissingDependencyError(f"the sampler {name!r} needs a package that is not installed: {_line(error)}") from None


def make_pruner(name: str) -> Any:
    """Build a pruner of Optuna; those that compare with other trials let four end first, and two evaluations pass.

    Raises:
        RecipeError: there is no such pruner.
    """
    optuna = import_optuna()
    if name not in PRUNERS:
        raise RecipeError(f"the pruner is {name!r}; {expected_names(name, PRUNERS)}")
    kind = getattr(optuna.pruners, PRUNERS[name])
    options = {"n_startup_trials": _STARTUP_TRIALS, "n_warmup_steps": _WARMUP_EVALS, "percentile": 25.0}
    known = inspect.signature(kind).parameters
    return kind(**{key: value for key, value in options.items() if key in known})


def open_storage(storage: str) -> Any:
    """Open a storage of Optuna: the path of a journal, of SQLite where it ends in ``.db`` or ``.sqlite``, or a URL.

    Raises:
        StudyError: it cannot be opened.
        MissingDependencyError: the database needs a driver that is not installed.
    """
    optuna = import_optuna()
    with storage_errors(storage):
        if "://" in storage or storage.endswith((".db", ".sqlite", ".sqlite3")):
            url = storage if "://" in storage else f"sqlite:///{Path(storage).absolute()}"
            options = {"connect_args": {"timeout": _SQLITE_SECONDS}} if url.startswith("sqlite") else {"pool_pre_ping": True}
            return optuna.storages.RDBStorage(url, engine_kwargs=options)
        path = Path(storage)
        path.parent.mkdir(parents=True, exist_ok=True)
        with _quiet():
            return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))


def describe_storage(storage: str) -> str:
    """Name a storage without the password that a URL may hold."""
    head, at, tail = storage.rpartition("@")
    return f"{head.split('://')[0]}://...@{tail}" if at and "://" in head else storage


@contextlib.contextmanager
def storage_errors(storage: str) -> Iterator[None]:
    """Turn errors of a storage into ours.

    Raises:
        StudyError: it is locked, damaged, or cannot be reached.
        MissingDependencyError: it needs a driver that is not installed.
    """
    optuna, name = import_optuna(), describe_storage(storage)
    try:
        yield
    except EmbtuneError:
        raise
    except ImportError as error:
        raise MissingDependencyError(f"the storage {name} needs a package that is not installed: {_line(error)}") from None
    except (optuna.exceptions.StorageInternalError, *_database_errors()) as error:
        told = _line(error.__cause__ or error)
        if "locked" in told:
            raise StudyError(
                f"the storage {name} is locked by another program for {_SQLITE_SECONDS} seconds; end that program and resume, "
                "or use a journal (--storage study.journal), which several processes can write to"
            ) from None
        raise StudyError(
            f"the storage {name} cannot be used: {told}; give a database that can be reached, or a journal"
        ) from None
    except OSError as error:
        raise StudyError(f"the storage {name} cannot be used: {_line(error)}; give a path that can be written to") from None
    except (ValueError, KeyError, TypeError) as error:
        raise StudyError(
            f"the storage {name} is no study of Optuna, or is damaged: {_line(error)}; give another path"
        ) from None


def _database_errors() -> tuple[type[Exception], ...]:
    try:
        return (importlib.import_module("sqlalchemy.exc").SQLAlchemyError,)
    except ModuleNotFoundError:
        return ()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep back Optuna's warnings that something is experimental."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
