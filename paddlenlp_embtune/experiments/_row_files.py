"""Rows as files, for the runs that learn from them."""

from __future__ import annotations

from pathlib import Path

from paddlenlp_embtune.data import Examples
from paddlenlp_embtune.utils.files.atomic_io import write_text
from paddlenlp_embtune.utils.json_yaml import dump_json

__all__ = ["write_rows"]


def write_rows(rows: Examples, path: Path) -> str:
    """Write texts and labels as JSON lines; return the absolute path."""
    lines = (dump_json({"text": text, "label": label}) for text, label in zip(rows.texts, rows.labels, strict=True))
    write_text(path, "\n".join(lines) + "\n")
    return str(path.absolute())
