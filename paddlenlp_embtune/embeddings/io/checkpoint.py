"""Reading the input embedding of PaddleNLP checkpoints, and of bundles and runs of this package."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.bundle import read_sealed
from paddlenlp_embtune.embeddings.io._row_collector import RowCollector
from paddlenlp_embtune.embeddings.io._streams import available_memory
from paddlenlp_embtune.embeddings.io.options import ReadOptions, VectorFormat
from paddlenlp_embtune.embeddings.io.safetensors_files import (
    FLOAT_DTYPES,
    Shape,
    choose_table,
    collect_rows,
    open_safetensors,
    read_vocabulary,
    row_blocks,
    to_float32,
)
from paddlenlp_embtune.embeddings.io.vector_table import VectorTable
from paddlenlp_embtune.errors import BundleError, VectorError
from paddlenlp_embtune.utils.files.atomic_io import sha256_of
from paddlenlp_embtune.utils.json_yaml import read_bounded
from paddlenlp_embtune.utils.pickles.numpy_arrays import read_arrays

__all__ = ["BUNDLE", "CHECKPOINT"]

_EMBEDDINGS = ("word_embeddings.weight", "embed_tokens.weight", "embeddings.weight", "embedding.weight")
_UNKNOWN = "[UNK]"
_BUNDLE = "bundle.json"
_SAFE, _PICKLED = "model.safetensors", "model_state.pdparams"


def _detects_checkpoint(path: Path, _head: bytes) -> bool:
    return path.is_dir() and (path / "config.json").is_file() and any((path / name).is_file() for name in (_SAFE, _PICKLED))


def _detects_bundle(path: Path, _head: bytes) -> bool:
    return (path / _BUNDLE).is_file() or (path / "bundle" / _BUNDLE).is_file()


def _read_checkpoint(source: str, options: ReadOptions) -> VectorTable:
    folder = Path(source)
    if not _detects_checkpoint(folder, b""):
        raise VectorError(
            f"{folder} is not a PaddleNLP checkpoint; expected a folder with config.json, {_SAFE} or {_PICKLED}, and vocab.txt"
        )
    vocabulary = options.vocabulary or folder / "vocab.txt"
    if not vocabulary.is_file():
        raise VectorError(
            f"{folder} lacks {vocabulary.name}, the tokens of its rows; pass a vocabulary file with one token per line"
        )
    if (folder / _SAFE).is_file():
        return _read_safe(folder / _SAFE, vocabulary, source, options)
    arrays = _unpickle(folder / _PICKLED)
    shapes = {name: value.shape for name, value in arrays.items()}
    table = arrays[_choose(shapes, vocabulary, source, options)]
    if table.dtype.kind != "f" and table.dtype != np.uint16:
        raise VectorError(f"the embedding of {folder} is {table.dtype}; expected float16, bfloat16, float32, float64")
    # Paddle has no numpy type for bfloat16 and saves its bits as uint16.
    return _gather(table, vocabulary, source, options, bfloat16=table.dtype == np.uint16)


def _read_bundle(source: str, options: ReadOptions) -> VectorTable:
    folder = Path(source) if (Path(source) / _BUNDLE).is_file() else Path(source) / "bundle"
    try:
        manifest = read_sealed(read_bounded(folder / _BUNDLE, error=BundleError), str(folder / _BUNDLE))
        weights, fingerprint = manifest["files"]["weights.safetensors"], manifest["vocabulary_sha256"]
    except BundleError as error:
        raise VectorError(f"{source} is neither a bundle nor a run with one: {error}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VectorError(
            f"{source} is neither a bundle nor a run with one: {error!r}; pass the folder with {_BUNDLE}"
        ) from None
    for name in ("weights.safetensors", "vocab.txt"):
        if not (folder / name).is_file():
            raise VectorError(f"the bundle {folder} lacks {name}; copy the whole folder again")
    words = (folder / "vocab.txt").read_bytes().removesuffix(b"\n")
    if hashlib.sha256(words).hexdigest() != fingerprint or sha256_of(folder / "weights.safetensors") != weights:
        raise VectorError(f"vocab.txt or weights.safetensors of {folder} do not match {_BUNDLE}; copy the folder again")
    return _read_safe(folder / "weights.safetensors", folder / "vocab.txt", source, options)


def _read_safe(file: Path, vocabulary: Path, source: str, options: ReadOptions) -> VectorTable:
    tensors = open_safetensors(file)
    shapes = {name: tensor.shape for name, tensor in tensors.items() if tensor.dtype in FLOAT_DTYPES}
    stored = tensors[_choose(shapes, vocabulary, source, options)]
    return _gather(stored.map(), vocabulary, source, options, bfloat16=stored.dtype == "BF16")


def _choose(shapes: Mapping[str, Shape], vocabulary: Path, source: str, options: ReadOptions) -> str:
    """Choose the input embedding, by name or else by number of rows."""
    rows = vocabulary.read_bytes().removesuffix(b"\n").count(b"\n") + 1
    tables = [name for name, shape in shapes.items() if len(shape) == 2]
    named = [name for name in tables if any(f".{name}".endswith(f".{ending}") for ending in _EMBEDDINGS)]
    fitting = [name for name in tables if shapes[name][0] == rows]
    guess = [name for name in named if name in fitting] or (named if len(named) == 1 else fitting)
    return choose_table(shapes, options, source, guess=guess)


def _gather(table: npt.NDArray[Any], vocabulary: Path, source: str, options: ReadOptions, *, bfloat16: bool) -> VectorTable:
    """Collect the rows; for a duplicate token the last one is used, as in PaddleNLP."""
    duplicates = "refuse" if options.duplicates == "refuse" else "last"
    options = dataclasses.replace(options, duplicates=duplicates, keep=_with_unknown(options.keep))
    collector = RowCollector(source, options, width=table.shape[1], expected=len(table))
    tokens = read_vocabulary(vocabulary, len(table), source)
    collect_rows(collector, tokens, row_blocks(table), lambda part: to_float32(part, bfloat16=bfloat16), size=table.nbytes)
    return collector.finish(unknown=_UNKNOWN)


def _with_unknown(keep: Callable[[str], bool] | None) -> Callable[[str], bool] | None:
    """Also keep the row of the unknown token, which represents all missing tokens."""
    if keep is None:
        return None
    asked = keep
    return lambda token: asked(token) or token == _UNKNOWN


def _unpickle(file: Path) -> dict[str, npt.NDArray[Any]]:
    size, free = file.stat().st_size, available_memory()
    if free is not None and size > free:
        raise VectorError(
            f"{file} is read whole and needs {size / 1e9:,.1f} GB of memory, {free / 1e9:,.1f} GB are free; save the model "
            "again with save_pretrained(..., safe_serialization=True), which is read in parts"
        )
    return read_arrays(file, error=VectorError)


CHECKPOINT = VectorFormat(_read_checkpoint, _detects_checkpoint)
BUNDLE = VectorFormat(_read_bundle, _detects_bundle)
