"""The labels of a classifier, from its ``config.json`` or from the user."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paddlenlp_embtune.errors import BundleError, DataError
from paddlenlp_embtune.utils.json_yaml import shorten

__all__ = ["choose_labels", "read_labels"]


def read_labels(settings: Mapping[str, Any], file: Path) -> tuple[str, ...]:
    """Return the labels in ``config.json``; empty if it has none.

    Raises:
        BundleError: the maps contradict each other or the number of labels, or skip an index.
    """
    named, numbers, count = settings.get("id2label"), settings.get("label2id"), _count(settings, file)
    if named is None:
        return ()
    if not isinstance(named, Mapping) or not all(isinstance(label, (str, int)) for label in named.values()):
        raise BundleError(f"id2label in {file} must map each index to a label, got {shorten(named)}; save the model again")
    by_number = {str(key): str(label) for key, label in named.items()}
    if set(by_number) != set(map(str, range(len(by_number)))):
        raise BundleError(
            f"id2label in {file} must have the indices 0 to {len(by_number) - 1} without gaps, got "
            f"{', '.join(sorted(by_number))}; name every output of the model"
        )
    labels = tuple(by_number[str(number)] for number in range(len(by_number)))
    if count is not None and count != len(labels):
        raise BundleError(f"{file} has num_labels {count}, but {len(labels)} labels in id2label; make them agree")
    if isinstance(numbers, Mapping) and numbers:
        told = {str(label): number for label, number in numbers.items()}
        if told != {label: number for number, label in enumerate(labels)}:
            raise BundleError(
                f"{file} has label2id {shorten(dict(numbers))}, which contradicts id2label {shorten(dict(named))}; correct the "
                "wrong one"
            )
    return () if all(re.fullmatch(r"LABEL_\d+", label) for label in labels) else labels


def _count(settings: Mapping[str, Any], file: Path) -> int | None:
    """Return the number of labels, under either name."""
    counts = {settings[name] for name in ("num_labels", "num_classes") if settings.get(name) is not None}
    if len(counts) > 1 or any(type(count) is not int for count in counts):
        raise BundleError(f"{file} has contradicting numbers of labels: {', '.join(map(shorten, counts))}; save it again")
    return counts.pop() if counts else None


def choose_labels(settings: Mapping[str, Any], named: tuple[str, ...], given: tuple[str, ...], file: Path) -> tuple[str, ...]:
    """Return the labels of a classifier in output order.

    Args:
        settings: its ``config.json``.
        named: result of :func:`read_labels`.
        given: labels from the user; if empty, ``named`` is used.
        file: for messages.
    Raises:
        BundleError: the model has one output.
        DataError: there are no labels, too many or too few, or their order contradicts the checkpoint.
    """
    number = len(settings.get("id2label") or ()) or _count(settings, file) or 2
    if number < 2:
        raise BundleError(
            f"{file} must have 2 labels or more, got {number}: the model was trained for regression, but a bundle predicts one "
            "of several labels per text; fine-tune the model with labels"
        )
    labels = given or named
    if not labels:
        raise DataError(f"{file} does not name its {number} labels; pass them in output order, for example --labels a,b")
    if len(labels) != number or len(set(labels)) != number:
        raise DataError(f"the checkpoint has {number} outputs and needs as many distinct labels, got {', '.join(labels)}")
    if named and set(labels) == set(named) and labels != named:
        raise DataError(
            f"the labels {', '.join(labels)} are those of {file} in another order; they must be {', '.join(named)}; omit "
            "--labels"
        )
    return labels
