"""Safe reading of checkpoint files of PaddleNLP or PyTorch: settings, weights and vocabulary."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.embeddings.io import FLOAT_DTYPES, open_safetensors, to_float32
from paddlenlp_embtune.errors import BundleError, DataError, VectorError
from paddlenlp_embtune.text import PAD, Vocabulary
from paddlenlp_embtune.utils import json_yaml
from paddlenlp_embtune.utils.json_yaml import shorten
from paddlenlp_embtune.utils.pickles.numpy_arrays import read_arrays
from paddlenlp_embtune.utils.pickles.torch_arrays import read_torch_arrays
from paddlenlp_embtune.utils.text_files.line_reader import read_lines

__all__ = [
    "CONFIG",
    "SPECIAL_TOKENS_MAP",
    "TOKENIZER_CONFIG",
    "TOKENIZER_JSON",
    "VOCABULARY",
    "WEIGHTS",
    "build_vocabulary",
    "check_sizes",
    "check_weight_sizes",
    "find_weights",
    "read_json_object",
    "read_tokens",
    "read_weights",
]

CONFIG, TOKENIZER_CONFIG, VOCABULARY = "config.json", "tokenizer_config.json", "vocab.txt"
SPECIAL_TOKENS_MAP, TOKENIZER_JSON = "special_tokens_map.json", "tokenizer.json"
WEIGHTS = ("model.safetensors", "model_state.pdparams", "pytorch_model.bin")
_SHARDED = ("model.safetensors.index.json", "model_state.pdparams.index.json", "pytorch_model.bin.index.json")
_SIZES = {
    "vocab_size": 1,
    "hidden_size": 1,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "intermediate_size": 1,
    "max_position_embeddings": 1,
    "type_vocab_size": 0,
    "num_labels": 1,
}
_MAX_LAYERS, _MAX_SIZE = 1000, 1 << 31
_NEXT_STEP = "pass the folder that save_pretrained wrote"
_logger = logging.getLogger(__name__)


def read_json_object(file: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        BundleError: the file is missing or damaged, or contains something else.
    """
    try:
        value = json_yaml.read_json(file, error=BundleError)
    except (FileNotFoundError, NotADirectoryError):
        if programs := _programs(file.parent):
            raise BundleError(
                f"{file.parent} is a static export without {file.name}, and the weights of its program {programs[0]} have no "
                f"names; {_NEXT_STEP} after fine-tuning, with {file.name} and {WEIGHTS[0]} or {WEIGHTS[1]}"
            ) from None
        raise BundleError(f"{file.parent} is not a PaddleNLP checkpoint: it lacks {file.name}; {_NEXT_STEP}") from None
    if not isinstance(value, dict):
        raise BundleError(f"{file} must contain a JSON object; {_NEXT_STEP}")
    return value


def check_sizes(settings: Mapping[str, Any], file: Path) -> None:
    """Check the sizes in a ``config.json``, as far as it has them.

    Raises:
        BundleError: a size is not a whole number, or is out of range.
    """
    for name, minimum in _SIZES.items():
        size, maximum = settings.get(name), _MAX_LAYERS if name == "num_hidden_layers" else _MAX_SIZE
        if size is not None and (type(size) is not int or not minimum <= size <= maximum):
            raise BundleError(f"{name} in {file} must be {minimum} to {maximum:,}, got {shorten(size)}; save the model again")


def check_weight_sizes(settings: Mapping[str, Any], weights: Mapping[str, npt.NDArray[Any]], file: Path) -> None:
    """Reject sizes in a ``config.json`` that far exceed its weights, before building a model of that size.

    Raises:
        BundleError: an encoder of these sizes would have more than four times the values of the weights plus a million.
    """
    size = {name: settings.get(name) or 0 for name in _SIZES}
    rows = size["vocab_size"] + size["max_position_embeddings"] + size["type_vocab_size"] + size["num_labels"]
    layer = 4 * size["hidden_size"] + 2 * size["intermediate_size"]
    asked = size["hidden_size"] * (rows + size["num_hidden_layers"] * layer)
    stored = sum(value.size for value in weights.values())
    if asked > 4 * stored + 1_000_000:
        raise BundleError(
            f"{file} describes an encoder of {asked:,} values or more, but the weights beside it have only {stored:,}; "
            "restore the config.json of the checkpoint"
        )


def find_weights(folder: Path) -> Path:
    """Return the first weight file of a folder.

    Raises:
        BundleError: there is none, or the weights are split into several files.
    """
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    if parts := [name for name in _SHARDED if (folder / name).is_file()]:
        raise BundleError(
            f"the weights in {folder} must be in one file, got several, listed in {parts[0]}; save the model in one file"
        )
    raise BundleError(f"{folder} lacks {', '.join(WEIGHTS[:-1])} and {WEIGHTS[-1]}; {_NEXT_STEP}")


def read_weights(file: Path) -> dict[str, npt.NDArray[np.float32]]:
    """Read weights by name, converted to float32; arrays of other than floating-point numbers are skipped.

    Args:
        file: safetensors, or a pickle of PaddleNLP (``.pdparams``) or PyTorch (``.bin``), of which only arrays are read.
    Raises:
        BundleError: the file is damaged, contains more than arrays, or is of another type.
    """
    if file.suffix == ".safetensors":
        return _from_safetensors(file)
    read = {".pdparams": read_arrays, ".bin": read_torch_arrays}.get(file.suffix)
    if read is None:
        raise BundleError(f"{file} is not a supported weight file; expected {', '.join(WEIGHTS)}")
    # Paddle has no numpy type for bfloat16 and saves its bits as uint16.
    return {
        name: to_float32(value, bfloat16=value.dtype == np.uint16)
        for name, value in read(file, error=BundleError).items()
        if value.dtype.kind == "f" or value.dtype == np.uint16
    }


def read_tokens(file: Path) -> list[str]:
    """Read one token per line.

    Raises:
        BundleError: the file is missing or is not UTF-8.
    """
    try:
        return read_lines(file, error=BundleError)
    except (OSError, BundleError) as error:
        raise BundleError(
            f"cannot read the vocabulary of {file.parent}: {error}; restore {file.name} of the checkpoint"
        ) from None


def build_vocabulary(tokens: list[str], *, rows: int, file: Path) -> tuple[Vocabulary, int]:
    """Build the vocabulary for an embedding of ``rows`` rows, with padding first.

    Embeddings may be slightly larger than the vocabulary, for a round size: if less than one row in a hundred has no token, it
    gets one that occurs in no text.

    Args:
        tokens: in row order.
        rows: number of rows of the embedding.
        file: the file of the tokens, for messages.
    Returns:
        The vocabulary, and the original row of padding, which is swapped with row 0.
    Raises:
        BundleError: there are too many or too few tokens, or they are not a valid vocabulary.
    """
    lacking = rows - len(tokens)
    if not 0 <= 100 * lacking < max(rows, 1):
        raise BundleError(
            f"{file} has {len(tokens)} tokens, but config.json says {rows}; restore the vocabulary of the checkpoint"
        )
    if lacking:
        _logger.warning("%s has %d tokens for %d rows; the last %d rows stay unused", file, len(tokens), rows, lacking)
        tokens = [*tokens, *(f"[row {at}]" for at in range(len(tokens), rows))]  # no token of a text contains a space
    padding = tokens.index(PAD) if PAD in tokens else 0
    tokens = [*tokens]
    tokens[0], tokens[padding] = tokens[padding], tokens[0]
    try:
        return Vocabulary(tokens), padding
    except DataError as error:
        raise BundleError(f"the vocabulary of {file.parent} is invalid: {error}") from None


def _programs(folder: Path) -> list[str]:
    """Return the programs in a folder written by paddle.jit.save."""
    names = {file.name for file in folder.iterdir() if file.is_file()} if folder.is_dir() else set()
    endings = (".pdmodel", ".json", ".pdiparams")
    return sorted(
        (name for name in names if name.endswith(endings) and f"{name.rpartition('.')[0]}.pdiparams" in names),
        key=lambda name: endings.index(f".{name.rpartition('.')[2]}"),
    )


def _from_safetensors(file: Path) -> dict[str, npt.NDArray[np.float32]]:
    try:
        stored = open_safetensors(file)
        return {
            name: np.array(to_float32(tensor.map(), bfloat16=tensor.dtype == "BF16"), dtype=np.float32)
            for name, tensor in stored.items()
            if tensor.dtype in FLOAT_DTYPES
        }
    except (VectorError, OSError, ValueError) as error:
        raise BundleError(f"{file} cannot be read: {error}") from None
