"""Vectors of texts as files: an array of NumPy, or a Parquet table with the texts beside them."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.errors import MissingDependencyError, RecipeError, expected_names
from paddlenlp_embtune.utils.files.atomic_io import replace_file

__all__ = ["VECTOR_FILES", "check_vector_file", "write_text_vectors"]

VECTOR_FILES = (".npy", ".parquet")
"""How the names of files end that vectors of texts are written to."""

_TEXT, _VECTOR = "text", "vector"


def check_vector_file(path: Path) -> None:
    """Refuse a file that vectors of texts cannot be written to, before they are computed.

    Raises:
        RecipeError: its ending is none of ``VECTOR_FILES``.
        MissingDependencyError: pyarrow is not installed, and the file is to be a Parquet table.
    """
    if path.suffix.lower() not in VECTOR_FILES:
        raise RecipeError(f"{path} ends in {path.suffix!r}; {expected_names(path.suffix, VECTOR_FILES)}")
    if path.suffix.lower() == ".parquet":
        _arrow()


def write_text_vectors(path: Path, texts: Sequence[str], vectors: npt.NDArray[np.float32]) -> None:
    """Write one vector for each text; the file appears whole or not at all.

    Args:
        path: ``.npy`` gets the array alone; ``.parquet`` the columns ``text`` and ``vector``, a list of fixed size.
        texts: N texts.
        vectors: in their order.
    Shapes:
        vectors: (N, d) float32
    Raises:
        RecipeError, MissingDependencyError: as :func:`check_vector_file`.
    """
    check_vector_file(path)
    if path.suffix.lower() == ".npy":
        with replace_file(path) as file:
            np.save(file, np.ascontiguousarray(vectors, dtype=np.float32), allow_pickle=False)
        return
    arrow, parquet = _arrow(), importlib.import_module("pyarrow.parquet")
    flat = arrow.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
    lists = arrow.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    encodable = [text.encode("utf-8", "replace").decode() for text in texts]
    with replace_file(path) as file:
        parquet.write_table(arrow.table({_TEXT: arrow.array(encodable, arrow.string()), _VECTOR: lists}), file)


def _arrow() -> Any:
    try:
        return importlib.import_module("pyarrow")
    except ModuleNotFoundError:
        raise MissingDependencyError(
            '.parquet files need pyarrow; install it with: pip install "paddlenlp-embtune[files]"'
        ) from None
