"""Saving pretrained encoders as folders that PaddleNLP can read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from paddlenlp_embtune.encoders.checkpoint import CONFIG, TOKENIZER_CONFIG, VOCABULARY, WEIGHTS
from paddlenlp_embtune.encoders.file_layout import EMBEDDING_KEY, OWN_TOKENIZER, POOLING_KEY
from paddlenlp_embtune.encoders.masked_head import stored_head
from paddlenlp_embtune.encoders.pretrained import Pretrained
from paddlenlp_embtune.text import WordPieceTokenizer
from paddlenlp_embtune.utils.files.atomic_io import replace_folder
from paddlenlp_embtune.utils.safetensors_io import write_safetensors_file

__all__ = ["save_encoder"]


def save_encoder(pretrained: Pretrained, folder: Path) -> Path:
    """Write a pretrained encoder to a folder from which ``load_encoder`` restores it.

    PaddleNLP's ``from_pretrained`` reads the weights of every such folder, and the tokenizer if it is WordPiece with default
    options; the folder marks all other tokenizers as those of this package.

    Args:
        pretrained: the encoder.
        folder: replaced as a whole if it exists.
    Returns:
        The folder.
    Raises:
        OSError: the files cannot be written, or ``folder`` is a file.
    """
    tokenizer = pretrained.tokenizer
    settings = {
        **pretrained.settings,
        "architectures": [pretrained.architecture],
        POOLING_KEY: pretrained.pooling,
        EMBEDDING_KEY: pretrained.embedding,
    }
    with replace_folder(folder) as temporary:
        write_safetensors_file(temporary / WEIGHTS[0], {**pretrained.weights, **stored_head(pretrained.masked_head)})
        tokenizer.vocabulary.save(temporary / VOCABULARY)
        for name, content in tokenizer.files().items():
            (temporary / name).write_bytes(content)
        _write_json(temporary / CONFIG, settings)
        _write_json(temporary / TOKENIZER_CONFIG, _tokenizer_config(pretrained))
    return folder


def _tokenizer_config(pretrained: Pretrained) -> dict[str, Any]:
    """Return the tokenizer config: PaddleNLP's class if it gives the same ids."""
    tokenizer = pretrained.tokenizer
    if isinstance(tokenizer, WordPieceTokenizer) and tokenizer.config().keys() == {"name", "lowercase"}:
        # Its AutoTokenizer finds these two; all of WORDPIECE_CLASSES give the same ids.
        theirs = "ErnieTokenizer" if pretrained.architecture == "ErnieModel" else "BertTokenizer"
        return {"tokenizer_class": theirs, "do_lower_case": tokenizer.lowercase}
    return {"tokenizer_class": OWN_TOKENIZER, "embtune": tokenizer.config()}


def _write_json(file: Path, value: dict[str, Any]) -> None:
    file.write_text(json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True) + "\n", encoding="utf-8")
