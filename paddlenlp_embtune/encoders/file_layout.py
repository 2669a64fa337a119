"""Locating the files of a pretrained encoder: settings, weights and tokenizer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paddlenlp_embtune.encoders.architectures import FAMILIES, find_family
from paddlenlp_embtune.encoders.checkpoint import CONFIG, TOKENIZER_CONFIG, VOCABULARY, find_weights, read_json_object
from paddlenlp_embtune.errors import BundleError

__all__ = ["EMBEDDING_KEY", "OWN_TOKENIZER", "POOLING_KEY", "SENTENCEPIECE_FILE", "EncoderFiles", "find_folder_files"]

OWN_TOKENIZER = "EmbtuneTokenizer"
"""The ``tokenizer_class`` of folders written by this package whose tokenizer PaddleNLP does not have."""

POOLING_KEY = "embtune_pooling"
"""The key in ``config.json`` for the pooling, in folders written by this package."""

SENTENCEPIECE_FILE = "sentencepiece.bpe.model"
EMBEDDING_KEY = "embtune_embedding"
"""The key in ``config.json`` for the name of the token embedding, in folders written by this package."""

_BUNDLE = "bundle.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderFiles:
    """The files of a pretrained encoder.

    Args:
        source: as the user named it.
        settings: its ``config.json``.
        architecture: the class of ``paddlenlp.transformers`` without a head.
        weights: the weight file.
        vocabulary: the vocabulary file, one token per line.
        pieces: the SentencePiece model, if the tokenizer has one.
        tokenizer: its tokenizer class.
        options: its ``tokenizer_config.json``.
        folder: the folder of all files; None if they are in PaddleNLP's cache under other names.
    """

    source: str
    settings: Mapping[str, Any]
    architecture: str
    weights: Path
    vocabulary: Path
    pieces: Path
    tokenizer: str
    options: Mapping[str, Any]
    folder: Path | None


def find_folder_files(folder: Path, *, source: str) -> EncoderFiles:
    """Find the files of an encoder in a folder written by PaddleNLP, PyTorch or this package.

    Raises:
        BundleError: the folder is incomplete, is a bundle, or has an unsupported family.
    """
    if (folder / _BUNDLE).is_file():
        raise BundleError(
            f"{folder} is a bundle, not a pretrained encoder; pass a folder that save_pretrained wrote; to continue from "
            f"a bundle, set it in the recipe as model.start: {folder}"
        )
    settings = read_json_object(folder / CONFIG)
    architecture = _architecture(settings, folder / CONFIG)
    options = read_json_object(folder / TOKENIZER_CONFIG) if (folder / TOKENIZER_CONFIG).is_file() else {}
    named = options.get("tokenizer_class") or settings.get("tokenizer_class")
    family = find_family(settings)
    return EncoderFiles(
        source=source,
        settings=settings,
        architecture=architecture,
        weights=find_weights(folder),
        vocabulary=folder / VOCABULARY,
        pieces=folder / SENTENCEPIECE_FILE,
        tokenizer=str(named or (family.tokenizer if family else None)).removesuffix("Fast"),
        options=options,
        folder=folder,
    )


def _architecture(settings: Mapping[str, Any], file: Path) -> str:
    """Return the class of a folder's settings; folders written by this package may have any."""
    names = settings.get("architectures")
    if POOLING_KEY in settings and isinstance(names, list) and len(names) == 1:
        return str(names[0])
    family = find_family(settings)
    if family is None:
        raise BundleError(
            f"{file} has architectures {names!r} and model_type {settings.get('model_type')!r}, which is not a supported "
            f"family; expected {', '.join(each.architecture for each in FAMILIES)}, with or without heads; any other encoder "
            "of paddlenlp.transformers with forward(input_ids, attention_mask) can be declared: write a plugin whose hook "
            "embtune_register_encoders returns a Pretrained with its architecture, settings, weights and tokenizer"
        )
    return family.architecture
