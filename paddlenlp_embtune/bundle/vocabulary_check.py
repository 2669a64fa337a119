"""What the rows of a bundle's embedding stood for when they were trained: the tokens, in the header of the weights."""

from __future__ import annotations

import json
from pathlib import Path

from paddlenlp_embtune.errors import BundleError
from paddlenlp_embtune.text import Vocabulary, describe_vocabulary_difference
from paddlenlp_embtune.utils.json_yaml import parse_json

__all__ = ["token_metadata", "vocabulary_mismatch"]

_KEY = "tokens"
_WEIGHTS = "weights.safetensors"


def token_metadata(vocabulary: Vocabulary) -> dict[str, str]:
    """Return what the header of the weights says about the vocabulary."""
    return {_KEY: json.dumps(vocabulary.tokens, ensure_ascii=False)}


def vocabulary_mismatch(folder: Path, vocabulary: Vocabulary) -> str:
    """Say where a vocabulary differs first from the one that the weights in a folder were trained with.

    Empty where the weights do not tell, as those of bundles before version 0.1 do not, or where nothing differs.
    """
    try:
        with (folder / _WEIGHTS).open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > (folder / _WEIGHTS).stat().st_size:
                return ""
            header = parse_json(file.read(length), _WEIGHTS, error=BundleError)
        trained = parse_json(header["__metadata__"][_KEY], _WEIGHTS, error=BundleError)
    except (OSError, BundleError, KeyError, TypeError):
        return ""
    if not isinstance(trained, list) or not all(isinstance(token, str) for token in trained):
        return ""
    return describe_vocabulary_difference(trained, vocabulary.tokens)
