"""The exception tree of paddlenlp-embtune.

EmbtuneError
 +-- RecipeError (ValueError)           a recipe is wrong
 |    +-- PatternError                  a pattern in it matched nothing, or too much
 +-- DataError (ValueError)             labelled rows cannot be used
 +-- VectorError                        a vector file or an embedding table is wrong
 +-- BundleError                        a bundle is missing, damaged or of another make
 +-- ParityError                        two engines disagree about the same texts
 +-- PluginError                        a plugin broke the contract of a hook
 +-- HostError                          Paddle or PaddleNLP cannot do what was asked
 +-- TrainingError                      a training went astray before it had learned anything
 +-- MissingDependencyError (ImportError)  an optional package is not installed

Every message says what is wrong with the value shown, what is expected, and the next step.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "BundleError",
    "DataError",
    "EmbtuneError",
    "HostError",
    "MissingDependencyError",
    "ParityError",
    "PatternError",
    "PluginError",
    "RecipeError",
    "TrainingError",
    "VectorError",
    "expected_names",
]


_LONGEST = 200


class EmbtuneError(Exception):
    """The root of every error that this package raises on purpose."""


class RecipeError(EmbtuneError, ValueError):
    """A recipe holds an unknown key or an invalid value."""


class PatternError(RecipeError):
    """A parameter pattern matched nothing, or two groups claim one parameter."""


class DataError(EmbtuneError, ValueError):
    """Labelled rows cannot be read or cannot be trained on."""


class VectorError(EmbtuneError):
    """A vector file or an embedding table is not what it says it is."""


class BundleError(EmbtuneError):
    """A bundle is missing, damaged, incomplete or of another schema."""


class ParityError(EmbtuneError):
    """An exported program answers differently from the live model."""


class PluginError(EmbtuneError):
    """A plugin broke the contract of a hook."""


class HostError(EmbtuneError):
    """Paddle or PaddleNLP cannot do what was asked of it."""


class TrainingError(EmbtuneError):
    """A training went astray before it had learned anything worth keeping."""


class MissingDependencyError(EmbtuneError, ImportError):
    """An optional package is needed for this and is not installed."""


def expected_names(value: str, allowed: Iterable[str], *, limit: int = 12) -> str:
    """Word the choices for an error message, nearest first.

    Args:
        value: what the user wrote.
        allowed: the names that would have been accepted.
        limit: at most this many names are listed.
    Returns:
        For example ``nearest: 'encoder'; expected decoder, encoder``.
    """
    names = sorted({str(name) for name in allowed})
    close = difflib.get_close_matches(str(value)[:_LONGEST], [name[:_LONGEST] for name in names], n=1, cutoff=0.4)
    nearest = f"nearest: {close[0]!r}; " if close else ""
    shown = ", ".join(name[:_LONGEST] for name in names[:limit]) + (
        f", ... ({len(names)} in all)" if len(names) > limit else ""
    )
    return f"{nearest}expected {shown or '(none)'}"
