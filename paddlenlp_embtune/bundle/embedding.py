"""The embedding table of a bundle: reading it, and a draft of the same bundle with another one. Needs no Paddle."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.bundle._copying import copy_files
from paddlenlp_embtune.bundle.manifest import Manifest
from paddlenlp_embtune.bundle.reader import Bundle
from paddlenlp_embtune.bundle.snapshot import MANIFEST
from paddlenlp_embtune.bundle.vocabulary_check import token_metadata
from paddlenlp_embtune.errors import BundleError, EmbtuneError, VectorError
from paddlenlp_embtune.utils.files.atomic_io import restore_interrupted
from paddlenlp_embtune.utils.json_yaml import read_json, shorten
from paddlenlp_embtune.utils.run_layout import BUNDLE
from paddlenlp_embtune.utils.safetensors_io import write_safetensors_file

__all__ = [
    "bundle_folder",
    "draft_with_embedding",
    "embedding_table",
    "model_name",
    "read_bundle_weights",
    "read_model",
    "without_programs",
    "write_embedding",
]

_WEIGHTS, _MODEL = "weights.safetensors", "model.json"
_SIZES, _SIZE_MOST = ("vocabulary_size", "dimension", "num_labels"), 1 << 31
_TELLING = ("word_embeddings", "embed_tokens", "embedding.weight")
Table = npt.NDArray[np.float32]


def bundle_folder(path: Path) -> Path:
    """Return the folder of a bundle: the path itself, or ``bundle`` in the folder of a run."""
    inner = path / BUNDLE
    if not (path / MANIFEST).is_file() and not (inner / MANIFEST).is_file():
        with contextlib.suppress(OSError, EmbtuneError):  # opening it tells what is wrong
            restore_interrupted(inner)
    return inner if (inner / MANIFEST).is_file() and not (path / MANIFEST).is_file() else path


def model_name(bundle: Bundle) -> str:
    """Return the name that a bundle's model is registered as."""
    return str(read_model(bundle.path)["name"])


def read_model(folder: Path) -> dict[str, Any]:
    """Read ``model.json``: the name that a bundle's model is registered as, and the options that rebuild it, as ``config``.

    Raises:
        BundleError: it is missing or damaged, or does not say these.
    """
    file = folder / _MODEL
    try:
        found = read_json(file, error=BundleError)
    except OSError:
        raise BundleError(f"the bundle {folder} lacks {_MODEL}; copy the whole folder again, or train again") from None
    match found:
        case {"name": str(), "config": dict() as config} if all(_is_size(config.get(size)) for size in _SIZES):
            return dict(found)
    raise BundleError(
        f"{file} says {shorten(found)}, expected a name, and a config with {', '.join(_SIZES)} of 1 or more; restore it, or "
        "train again"
    )


def _is_size(value: object) -> bool:
    return type(value) is int and 0 < value <= _SIZE_MOST


def embedding_table(bundle: Bundle) -> Table:
    """Read the token embedding out of a bundle's weights.

    Shapes:
        returns: (V, D) float32, a row for each token of the vocabulary
    Raises:
        BundleError: the weights are not those of ``model.json``, it cannot be told which of them is the embedding, or the
            bundle has been replaced since it was opened.
    """
    weights = read_bundle_weights(bundle.path)
    table: Table = weights[_name(bundle, weights)]
    bundle.check_current(_WEIGHTS, _MODEL)
    return table


def draft_with_embedding(bundle: Bundle, table: Table, folder: Path) -> Bundle:
    """Write a bundle with another embedding into a folder, without the programs that were made of the old one.

    Args:
        bundle: an opened bundle.
        table: (V, D) float32, as its model was built.
        folder: new or empty; it gets no manifest.
    Returns:
        The draft: engines that run the weights themselves, such as ``paddle``, can run it; nothing is proven yet.
    Raises:
        VectorError: the table has another shape, or holds NaN or infinite values.
        BundleError: as :func:`embedding_table`.
    """
    manifest, programs = without_programs(bundle.manifest)
    write_embedding(bundle, table, folder)
    bundle.check_current(_WEIGHTS, _MODEL)
    kept = {file: digest for file, digest in manifest.files.items() if file not in programs and file != _WEIGHTS}
    copy_files(bundle, kept, folder)
    return Bundle(folder, dataclasses.replace(manifest, files=kept), bundle.vocabulary)


def without_programs(manifest: Manifest) -> tuple[Manifest, set[str]]:
    """Leave out of a manifest what was made of its weights: engines that do not run these themselves, proofs, small programs.

    Returns:
        what is left, and the names of the files that go
    """
    live = {engine: files for engine, files in manifest.engines.items() if set(files) <= {_WEIGHTS, _MODEL}}
    programs = {file for engine, files in manifest.engines.items() if engine not in live for file in files}
    programs |= {program.file for program in manifest.quantized.values()}
    return dataclasses.replace(manifest, engines=live, parity={}, quantized={}), programs


def write_embedding(bundle: Bundle, table: Table, folder: Path) -> None:
    """Write the weights of a bundle with another embedding.

    Args:
        bundle: an opened bundle.
        table: (V, D) float32, as its model was built.
        folder: gets ``weights.safetensors``.
    Raises:
        VectorError: the table has another shape, or holds NaN or infinite values.
        BundleError: as :func:`embedding_table`.
    """
    weights = read_bundle_weights(bundle.path)
    name = _name(bundle, weights)
    _check(bundle, table, weights[name].shape)
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {**weights, name: np.ascontiguousarray(table)}
    write_safetensors_file(folder / _WEIGHTS, arrays, metadata=token_metadata(bundle.vocabulary))


def _check(bundle: Bundle, table: Table, shape: tuple[int, ...]) -> None:
    if table.shape != shape or table.dtype != np.float32:
        raise VectorError(
            f"the embedding of {bundle.path} is float32 of shape {shape}, the table {table.dtype} of "
            f"{table.shape}; they must agree"
        )
    broken = np.flatnonzero(~np.isfinite(table).all(axis=1))
    if broken.size:
        named = ", ".join(repr(bundle.vocabulary.tokens[row]) for row in broken[:5].tolist())
        raise VectorError(
            f"{broken.size} rows hold NaN or infinite values, that of {named} first; expected finite; choose other rows, or "
            "fix them"
        )


def read_bundle_weights(folder: Path) -> dict[str, Any]:
    """Read ``weights.safetensors``, arrays by name.

    Raises:
        BundleError: it is missing or damaged.
    """
    from safetensors.numpy import load_file

    try:
        return dict(load_file(folder / _WEIGHTS))
    except Exception as error:
        raise BundleError(f"{folder / _WEIGHTS} cannot be read: {str(error)[:200]}; restore it, or train again") from None


def _name(bundle: Bundle, weights: dict[str, Any]) -> str:
    """Name the embedding among the weights: the one of V rows as wide as the model was built, or the one that is called so."""
    shape = (len(bundle.vocabulary), read_model(bundle.path)["config"]["dimension"])
    found = [name for name, value in weights.items() if value.shape == shape and value.dtype == np.float32]
    if len(found) > 1:
        found = [name for name in found if any(part in name for part in _TELLING)]
    if len(found) != 1:
        raise BundleError(
            f"{len(found)} parameters of {bundle.path} may be its embedding, float32 of shape {shape}, among "
            f"{', '.join(weights)}; expected one; build the model with its embedding as 'embedding.weight'"
        )
    return found[0]
