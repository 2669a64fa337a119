"""The encoder's pieces: as a tokenizer, and as a SentencePiece model of those that texts use, for a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from embtune_use.installed import PIECES, locate
from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.text import SentencePieceTokenizer, prune_tokenizer

__all__ = ["use_tokenizer", "write_pieces"]


def use_tokenizer(texts: Sequence[str] | None = None) -> SentencePieceTokenizer:
    """Build the tokenizer of the encoder.

    Args:
        texts: keep the pieces that these use, their characters and single Han characters; None keeps all 128,000.
    Raises:
        MissingDependencyError: the package or sentencepiece is not installed.
        DataError: the file is damaged, or no text has a piece.
    """
    model = locate(PIECES).read_bytes()
    whole = SentencePieceTokenizer(SentencePieceTokenizer.vocabulary_of(model), model)
    if texts is None:
        return whole
    # Characters that serving meets and these texts lack.
    characters = [token for token in whole.vocabulary.tokens if len(token) == 1 and "\u4e00" <= token <= "\u9fff"]
    cut = prune_tokenizer(whole, [*texts, *characters]).tokenizer
    assert isinstance(cut, SentencePieceTokenizer)
    return cut


def write_pieces(path: str | Path, texts: Sequence[str]) -> int:
    """Write the pieces that texts use as a SentencePiece model, for ``text.vocabulary`` of a recipe.

    Args:
        path: of the file; its folder exists, and it does not.
        texts: of the training rows, and as many unlabelled ones of the domain as there are: they are split as by all pieces.
    Returns:
        How many pieces it has.
    Raises:
        DataError: the file is there already, or cannot be written.
        MissingDependencyError: as :func:`use_tokenizer`.
    """
    tokenizer = use_tokenizer(texts)
    try:
        with Path(path).open("xb") as file:
            file.write(tokenizer.model)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}; give the path of a new file in a folder that exists") from None
    return len(tokenizer.vocabulary)
