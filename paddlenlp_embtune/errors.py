"""The exception tree of paddlenlp-embtune.

EmbtuneError
 +-- RecipeError (ValueError)           a recipe is wrong
 |    +-- PatternError                  a pattern in it matched nothing, or too much
 +-- DataError (ValueError)             labelled rows cannot be used
 +-- VectorError                        a vector file or an embedding table is wrong
 +-- BundleError                        a bundle is missing, damaged or of another schema
 +-- ParityError                        two engines disagree about the same texts
 +-- PluginError                        a plugin broke the contract of a hook
 +-- HostError                          Paddle or PaddleNLP cannot do what was asked
 +-- TrainingError                      a training diverged before it had learned anything
 +-- StudyError                         the storage of a search is locked, damaged or out of reach
 +-- MissingDependencyError (ImportError)  an optional package is not installed

Every message says what is wrong with the value shown, what is expected, and the next step.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

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
    "StudyError",
    "TrainingError",
    "VectorError",
    "any_of",
    "expected_names",
    "suggestion",
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
    """A vector file or an embedding table is damaged, or contradicts itself."""


class BundleError(EmbtuneError):
    """A bundle is missing, damaged, incomplete or of another schema."""


class ParityError(EmbtuneError):
    """An exported program answers differently from the live model."""


class PluginError(EmbtuneError):
    """A plugin broke the contract of a hook."""


class HostError(EmbtuneError):
    """Paddle or PaddleNLP cannot do what was asked of it."""


class TrainingError(EmbtuneError):
    """A training diverged before it had learned anything worth keeping."""


class StudyError(EmbtuneError):
    """The storage of a search is locked, damaged or out of reach, or the search ended without a result."""


class MissingDependencyError(EmbtuneError, ImportError):
    """An optional package is needed for this and is not installed."""


def expected_names(value: str, allowed: Iterable[str], *, limit: int = 12) -> str:
    """Describe the names that an unknown name could have been, for the end of an error message.

    Args:
        value: what the user wrote.
        allowed: the names that would have been accepted.
        limit: at most this many names are listed.
    Returns:
        For example ``did you mean 'encoder'? Expected decoder, encoder or head``; without a similar name, ``expected a or b``.
    """
    names = sorted({str(name) for name in allowed})
    close = difflib.get_close_matches(str(value)[:_LONGEST], [name[:_LONGEST] for name in names], n=1, cutoff=0.4)
    return suggestion(close[0] if close else None) + any_of(names, limit=limit)


def suggestion(name: str | None) -> str:
    """Begin the end of an error message: with the name that was probably meant, where there is one."""
    return "expected " if name is None else f"did you mean {name!r}? Expected "


def any_of(names: Sequence[str], *, limit: int = 12) -> str:
    """Join names for an error message.

    Args:
        names: in the order in which they are listed.
        limit: at most this many are listed.
    Returns:
        ``a, b or c``; ``a, b, ... (20 in all)`` beyond the limit; ``(none)`` for no names.
    """
    shown = [name[:_LONGEST] for name in names[:limit]]
    if len(names) > limit:
        return f"{', '.join(shown)}, ... ({len(names)} in all)"
    return " or ".join(part for part in (", ".join(shown[:-1]), *shown[-1:]) if part) or "(none)"
