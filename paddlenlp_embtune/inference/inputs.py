"""Checking what callers pass: counts, names, and texts in any of the containers that people keep them in."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.utils.json_yaml import shorten

__all__ = ["as_iterable", "as_list", "check_bundle_argument", "check_name", "check_num_threads", "whole_number"]

_MOST_THREADS = 1024


def whole_number(value: Any, name: str, *, most: int | None = None) -> int:
    """Return a count, 1 or more, as an ``int``; numpy's integers are accepted, booleans are not.

    Args:
        value: what was passed.
        name: of the argument, for messages.
        most: the largest that makes sense; None if there is none.
    Raises:
        TypeError: it is not a whole number.
        DataError: it is too small or too large.
    """
    try:
        number = None if isinstance(value, (bool, np.bool_)) else operator.index(value)
    except TypeError:
        number = None
    if number is None:
        raise TypeError(
            f"{name} must be a whole number of 1 or more, got {shorten(value)} of type {type(value).__name__}; pass for "
            f"example {name}=2"
        )
    if number < 1 or (most is not None and number > most):
        allowed = "1 or more" if number < 1 else f"1 to {most}"
        raise DataError(f"{name} is {shorten(number)}; expected {allowed}")
    return number


def check_num_threads(value: Any) -> int | None:
    """Return a number of processors; None stays None.

    Raises:
        TypeError, DataError: as :func:`whole_number`; 1,024 at most.
    """
    return None if value is None else whole_number(value, "num_threads", most=_MOST_THREADS)


def check_name(value: Any, name: str) -> None:
    """Refuse anything but a str where a name is expected.

    Raises:
        TypeError: naming the argument.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a text, got {shorten(value)} of type {type(value).__name__}")


def check_bundle_argument(value: Any) -> None:
    """Refuse anything but a path where the folder of a bundle is expected.

    Raises:
        TypeError: it is not a path.
    """
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(
            f"bundle must be the folder of a bundle or an opened Bundle, got {shorten(value)} of type {type(value).__name__}"
        )


def as_iterable(texts: Any) -> Iterable[Any]:
    """Return texts unchanged if they can be iterated over one by one.

    Raises:
        TypeError: they are a single text, a table, a mapping, a path, or nothing; the message says how to pass the texts.
    """
    if isinstance(texts, str):
        raise TypeError("texts is a single str; pass a list: [text]")
    kind = type(texts).__name__
    if isinstance(texts, (bytes, bytearray, memoryview)):
        raise TypeError(f"texts is {kind}; decode it and pass a list: [data.decode('utf-8')]")
    if isinstance(texts, os.PathLike):
        raise TypeError(
            f"texts is a path, {shorten(str(texts))}; read its lines first, or use: embtune predict BUNDLE --data FILE"
        )
    if (columns := _columns(texts)) is not None:
        shown = next((name for name in columns if name == "text"), columns[0] if columns else "text")
        raise TypeError(
            f"texts is a {kind} with the columns {shorten(columns)}, and iterating over it yields their names; pass one "
            f"column: predict(table[{shown!r}])"
        )
    if isinstance(texts, Mapping) and texts:  # an empty one holds no texts either way
        raise TypeError(
            f"texts is a {kind} with the keys {shorten(list(texts)[:6])}, and iterating over it yields only these; pass its "
            "texts: list(mapping.values()), or mapping['text']"
        )
    if not isinstance(texts, Iterable) or (isinstance(texts, np.ndarray) and texts.ndim == 0):
        raise TypeError(f"texts must be a list of texts, got {shorten(texts)} of type {kind}; pass [text]")
    return texts


def as_list(texts: Any) -> Sequence[Any]:
    """Return texts as a sequence: lists and tuples unchanged, anything else iterated over once.

    Raises:
        TypeError: as :func:`as_iterable`.
    """
    texts = as_iterable(texts)
    return texts if isinstance(texts, (list, tuple)) else list(texts)


def _columns(value: Any) -> list[str] | None:
    """Return the column names of a table of any library, without importing one; None for anything else."""
    for attribute in ("columns", "column_names"):
        names = getattr(type(value), attribute, None) and getattr(value, attribute, None)
        if names is not None and not callable(names) and not isinstance(value, (list, tuple)):
            try:
                return [name if isinstance(name, str) else str(name) for name in names]
            except TypeError:
                continue
    return None
