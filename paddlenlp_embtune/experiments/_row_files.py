"""Rows as files, for the runs that learn from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from paddlenlp_embtune.data import Examples
from paddlenlp_embtune.utils.files.atomic_io import write_text
from paddlenlp_embtune.utils.json_yaml import dump_json

__all__ = ["WEIGHT", "write_rows"]

WEIGHT = "weight"
"""Key of the weight of a row."""


def write_rows(rows: Examples, path: Path) -> str:
    """Write texts and labels as JSON lines, and weights where there are any; return the absolute path."""
    plain = zip(rows.texts, rows.labels, strict=True)
    records: list[dict[str, Any]] = [{"text": text, "label": label} for text, label in plain]
    if rows.weights is not None:
        records = [{**record, WEIGHT: weight} for record, weight in zip(records, rows.weights, strict=True)]
    write_text(path, "\n".join(map(dump_json, records)) + "\n")
    return str(path.absolute())
