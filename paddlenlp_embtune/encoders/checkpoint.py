"""The files of a checkpoint, of PaddleNLP or of PyTorch: settings, weights and vocabulary; nothing in them is executed."""

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
_NEXT_STEP = "give the folder that save_pretrained wrote"
_logger = logging.getLogger(__name__)


def read_json_object(file: Path) -> dict[str, Any]:
    """Read a mapping.

    Raises:
        BundleError: the file is missing or damaged, or holds something else.
    """
    try:
        value = json_yaml.read_json(file, error=BundleError)
    except (FileNotFoundError, NotADirectoryError):
        if programs := _programs(file.parent):
            raise BundleError(
                f"{file.parent} is a static export: {programs[0]} is a program whose weights have no names, and there is "
                f"no {file.name}; {_NEXT_STEP} after fine-tuning, with {file.name} and {WEIGHTS[0]} or {WEIGHTS[1]}"
            ) from None
        raise BundleError(f"{file.parent} is no checkpoint of PaddleNLP: it lacks {file.name}; {_NEXT_STEP}") from None
    if not isinstance(value, dict):
        raise BundleError(f"{file} holds no mapping; {_NEXT_STEP}")
    return value


def check_sizes(settings: Mapping[str, Any], file: Path) -> None:
    """Check the sizes in a ``config.json``, those that it states.

    Raises:
        BundleError: one is no whole number, or is one that no encoder has.
    """
    for name, minimum in _SIZES.items():
        size, maximum = settings.get(name), _MAX_LAYERS if name == "num_hidden_layers" else _MAX_SIZE
        if size is not None and (type(size) is not int or not minimum <= size <= maximum):
            raise BundleError(f"{name} in {file} must be {minimum} to {maximum:,}, got {shorten(size)}; save the model again")


def check_weight_sizes(settings: Mapping[str, Any], weights: Mapping[str, npt.NDArray[Any]], file: Path) -> None:
    """Refuse sizes in a ``config.json`` that ask for far more than its weights have, before anything so large is built.

    Raises:
        BundleError: an encoder of these sizes would have more than four times the values, and a million.
    """
    size = {name: settings.get(name) or 0 for name in _SIZES}
    rows = size["vocab_size"] + size["max_position_embeddings"] + size["type_vocab_size"] + size["num_labels"]
    layer = 4 * size["hidden_size"] + 2 * size["intermediate_size"]
    asked = size["hidden_size"] * (rows + size["num_hidden_layers"] * layer)
    stored = sum(value.size for value in weights.values())
    if asked > 4 * stored + 1_000_000:
        raise BundleError(
            f"{file} describes an encoder of {asked:,} values or more, and the weights beside it have {stored:,}; put the "
            "config.json of the checkpoint there"
        )


def find_weights(folder: Path) -> Path:
    """Return the first of the files that hold weights.

    Raises:
        BundleError: there is none, or they are in several parts.
    """
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    if parts := [name for name in _SHARDED if (folder / name).is_file()]:
        raise BundleError(
            f"{folder} holds its weights in several files, see {parts[0]}; expected one; save the model in one file"
        )
    raise BundleError(f"{folder} lacks {', '.join(WEIGHTS[:-1])} and {WEIGHTS[-1]}; {_NEXT_STEP}")


def read_weights(file: Path) -> dict[str, npt.NDArray[np.float32]]:
    """Read weights by name, widened to float32; what is not of floating-point numbers is left out.

    Args:
        file: safetensors, or pickled by PaddleNLP (``.pdparams``) or PyTorch (``.bin``), of which only arrays are read.
    Raises:
        BundleError: the file is damaged, asks for more than arrays, or is of another kind.
    """
    if file.suffix == ".safetensors":
        return _from_safetensors(file)
    read = {".pdparams": read_arrays, ".bin": read_torch_arrays}.get(file.suffix)
    if read is None:
        raise BundleError(f"{file} is of no kind that weights are read of; expected {', '.join(WEIGHTS)}")
    # Paddle has no numpy type for bfloat16 and saves its bits as uint16.
    return {
        name: to_float32(value, bfloat16=value.dtype == np.uint16)
        for name, value in read(file, error=BundleError).items()
        if value.dtype.kind == "f" or value.dtype == np.uint16
    }


def read_tokens(file: Path) -> list[str]:
    """Read one token a line.

    Raises:
        BundleError: the file is missing or is not UTF-8.
    """
    try:
        return read_lines(file, error=BundleError)
    except (OSError, BundleError) as error:
        raise BundleError(
            f"the vocabulary of {file.parent} cannot be read: {error}; put {file.name} of the checkpoint there"
        ) from None


def build_vocabulary(tokens: list[str], *, rows: int, file: Path) -> tuple[Vocabulary, int]:
    """Make the vocabulary for a table of so many rows, padding first.

    Tables may be a little longer than the vocabulary, to be of a round size: under one row in a hundred without a token is
    given one that no text has.

    Args:
        tokens: in the order of the rows.
        rows: of the embedding.
        file: which the tokens come from, for messages.
    Returns:
        The vocabulary, and the row of padding, which has changed places with row 0.
    Raises:
        BundleError: there are too many or too few tokens, or they make no vocabulary.
    """
    lacking = rows - len(tokens)
    if not 0 <= 100 * lacking < max(rows, 1):
        raise BundleError(
            f"{file} has {len(tokens)} tokens, config.json says {rows}; put the vocabulary of the checkpoint beside it"
        )
    if lacking:
        _logger.warning("%s has %d tokens for %d rows; the last %d rows stay unused", file, len(tokens), rows, lacking)
        tokens = [*tokens, *(f"[row {at}]" for at in range(len(tokens), rows))]  # no token of a text holds a space
    padding = tokens.index(PAD) if PAD in tokens else 0
    tokens = [*tokens]
    tokens[0], tokens[padding] = tokens[padding], tokens[0]
    try:
        return Vocabulary(tokens), padding
    except DataError as error:
        raise BundleError(f"the vocabulary of {file.parent} cannot be read: {error}") from None


def _programs(folder: Path) -> list[str]:
    """The programs of a folder that paddle.jit.save wrote."""
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
