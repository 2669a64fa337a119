"""Where the parts of a pretrained encoder lie: settings, weights, and the files of its tokenizer."""

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
"""The ``tokenizer_class`` of folders of ours whose tokenizer PaddleNLP does not have."""

POOLING_KEY = "embtune_pooling"
"""The key of ``config.json`` that folders of ours state their pooling under."""

SENTENCEPIECE_FILE = "sentencepiece.bpe.model"
EMBEDDING_KEY = "embtune_embedding"
"""The key of ``config.json`` that folders of ours state the name of the token embedding under."""

_BUNDLE = "bundle.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderFiles:
    """Where the parts of a pretrained encoder lie.

    Args:
        source: as the user named it.
        settings: its ``config.json``.
        architecture: the class of ``paddlenlp.transformers`` without a head.
        weights: the file.
        vocabulary: one token a line.
        pieces: the SentencePiece model of tokenizers that have one.
        tokenizer: the class of its tokenizer.
        options: its ``tokenizer_config.json``.
        folder: which all of them are in; None where PaddleNLP's cache has them under names of its own.
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
    """Find the parts of an encoder in a folder of PaddleNLP, of PyTorch or of ours.

    Raises:
        BundleError: the folder lacks something, is a bundle, or is of a family that is not known.
    """
    if (folder / _BUNDLE).is_file():
        raise BundleError(
            f"{folder} is a bundle, no pretrained encoder; expected a folder that save_pretrained wrote; to continue from a "
            f"bundle, name it in the recipe as model.start: {folder}"
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
    """The class that a folder's settings are of; folders of ours may be of any."""
    names = settings.get("architectures")
    if POOLING_KEY in settings and isinstance(names, list) and len(names) == 1:
        return str(names[0])
    family = find_family(settings)
    if family is None:
        raise BundleError(
            f"{file} is of architectures {names!r} and model_type {settings.get('model_type')!r}, no family that folders are "
            f"read of; expected {', '.join(each.architecture for each in FAMILIES)}, and these with heads; any other encoder "
            "of paddlenlp.transformers with forward(input_ids, attention_mask) can be declared: write a plugin whose hook "
            "embtune_register_encoders returns a Pretrained with its architecture, settings, weights and tokenizer"
        )
    return family.architecture
