"""Records of annotation tools as flat rows: Label Studio's tasks, and labels in lists as doccano exports them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.utils.json_yaml import shorten

__all__ = ["CONTROL", "TEXT", "flat_task", "listed_labels", "prediction"]

CONTROL, TEXT = "label", "text"
"""The control of Label Studio's interface that holds the label, and what it is about."""


def prediction(labels: Sequence[str], score: float, *, model: str) -> dict[str, Any]:
    """Return a prediction of Label Studio: a choice for each label, none for no label."""
    result = [{"from_name": CONTROL, "to_name": TEXT, "type": "choices", "value": {"choices": [label]}} for label in labels]
    return {"model_version": model, "score": score, "result": result}


def flat_task(record: Mapping[str, Any], columns: Sequence[str], where: str) -> Mapping[str, Any]:
    """Return a task of Label Studio's JSON as one row: its data, and the choice of each control; other records as they are.

    A task without an annotation has an empty label. The control that holds the label may have any name where it is the only
    one with choices.

    Raises:
        DataError: annotations of one task disagree, or no control is called as the label that was asked for.
    """
    data, annotations = record.get("data"), record.get("annotations", record.get("completions"))
    if not isinstance(data, dict) or not isinstance(annotations, list):
        return record
    chosen = dict[str, Any]()
    for annotation in annotations:
        if not isinstance(annotation, dict) or annotation.get("was_cancelled"):
            continue
        for result in annotation.get("result") or []:
            value = result.get("value") if isinstance(result, dict) else None
            if not isinstance(value, dict) or "choices" not in value:
                continue
            name, choice = str(result.get("from_name", "label")), value["choices"]
            if chosen.setdefault(name, choice) != choice:
                raise DataError(
                    f"{where} has annotations that disagree: {shorten(chosen[name])} and {shorten(choice)}; keep one of them"
                )
    label = columns[1] if len(columns) > 1 else None
    row = {**data, **chosen}
    if label is not None and label not in row:
        if len(chosen) > 1:
            raise DataError(
                f"{where} has choices of {len(chosen)} controls: {', '.join(chosen)}; choose one with --label-column"
            )
        row[label] = next(iter(chosen.values()), "")
    return row


def listed_labels(value: Any) -> list[Any] | None:
    """Return the labels in a list, or among Label Studio's choices; None for what is no such list."""
    if isinstance(value, dict) and set(value) == {"choices"}:
        value = value["choices"]
    return value if isinstance(value, list) and not any(isinstance(each, (list, dict)) for each in value) else None
