"""Pruning a tokenizer to the tokens that a domain uses."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Collection, Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.text.added_terms import TermTokenizer
from paddlenlp_embtune.text.base import CharTokenizer, Tokenizer
from paddlenlp_embtune.text.cleaning_tokenizer import CleaningTokenizer
from paddlenlp_embtune.text.sentencepiece import SentencePieceTokenizer
from paddlenlp_embtune.text.sentencepiece_model import PieceModel, prune_sentencepiece
from paddlenlp_embtune.text.vocabulary import Vocabulary
from paddlenlp_embtune.text.word import WordTokenizer
from paddlenlp_embtune.text.wordpiece import WordPieceTokenizer

__all__ = ["PrunedTokenizer", "prune_tokenizer"]

_SPECIAL = re.compile(r"\[(PAD|UNK|CLS|SEP|MASK)\]")
_MARKED = "##"
_SPACE = "\u2581"


@dataclasses.dataclass(frozen=True)
class PrunedTokenizer:
    """A pruned tokenizer, and what was dropped.

    Args:
        tokenizer: with new ids.
        rows: (V,) int64, the old id of each new id.
        dropped: removed tokens, in the order of their old ids.
        texts: number of texts it was pruned for.
        resegmented: number of these texts that are split into other tokens than before.
        unknown_before, unknown_after: fraction of unknown tokens in these texts.
    """

    tokenizer: Tokenizer
    rows: npt.NDArray[np.int64]
    dropped: tuple[str, ...]
    texts: int
    resegmented: int
    unknown_before: float
    unknown_after: float


def prune_tokenizer(tokenizer: Tokenizer, texts: Sequence[str], *, min_count: int = 1) -> PrunedTokenizer:
    """Keep the tokens that texts use, the characters of these tokens, special tokens, and added terms.

    With ``min_count`` 1, the texts are split into the same tokens as before. Other texts may be split into smaller pieces, or
    have more unknown tokens.

    Args:
        tokenizer: any built-in tokenizer.
        texts: texts of the domain, the more the better.
        min_count: rarer tokens are dropped, unless they are single characters.
    Raises:
        DataError: there are no texts, ``min_count`` is below 1, or the tokenizer is not a built-in one.
    """
    if min_count < 1:
        raise DataError(f"min_count must be 1 or more, got {min_count}")
    read = [tokenizer.encode(text) for text in texts]
    if not any(read):
        raise DataError(f"the {len(texts)} texts have no tokens, so none would be kept; pass texts of the domain")
    counts = Counter(chain.from_iterable(read))
    tokens = tokenizer.vocabulary.tokens
    used = {tokens[number] for number, count in counts.items() if count >= min_count}
    characters = set(chain.from_iterable(tokens[number] for number in counts))
    small = _cut(tokenizer, used | {token for token in tokens if _bare(token) in characters or _SPECIAL.fullmatch(token)})
    rows = np.array([tokenizer.vocabulary.ids[token] for token in small.vocabulary.tokens], dtype=np.int64)
    again = [small.encode(text) for text in texts]
    return PrunedTokenizer(
        tokenizer=small,
        rows=rows,
        dropped=tuple(token for token in tokens if token not in small.vocabulary),
        texts=len(texts),
        resegmented=sum(rows[new].tolist() != old for old, new in zip(read, again, strict=True)),
        unknown_before=_share(tokenizer, read),
        unknown_after=_share(small, again),
    )


def _bare(token: str) -> str:
    """Return a piece without the marker of its position in a word."""
    return token.removeprefix(_MARKED) if len(token) > len(_MARKED) else token.removeprefix(_SPACE)


def _share(tokenizer: Tokenizer, read: Sequence[Sequence[int]]) -> float:
    unknown, fixed = tokenizer.vocabulary.unknown_id, len(tokenizer.prefix) + len(tokenizer.suffix)
    own = sum(max(0, len(ids) - fixed) for ids in read)
    return sum(ids.count(unknown) for ids in read) / own if own else 0.0


def _cut(tokenizer: Tokenizer, keep: Collection[str]) -> Tokenizer:
    """Rebuild the tokenizer with the kept tokens, in their order; a duplicate token keeps its last position."""
    vocabulary = tokenizer.vocabulary
    if isinstance(tokenizer, CleaningTokenizer):
        return CleaningTokenizer(_cut(tokenizer.base, keep), tokenizer.steps)
    if isinstance(tokenizer, TermTokenizer):
        return TermTokenizer(_cut(tokenizer.base, keep), tokenizer.terms, tokenizer.cleaning)
    if isinstance(tokenizer, SentencePieceTokenizer):
        there = {piece.text for piece in PieceModel.read(tokenizer.model).pieces}
        model = prune_sentencepiece(tokenizer.model, there.intersection(keep))
        names = {piece.text for piece in PieceModel.read(model).pieces}
        keep = {token for token in vocabulary.tokens if token in names or _SPECIAL.fullmatch(token)}
        return SentencePieceTokenizer(_only(vocabulary, keep), model, tokenizer.markers)
    if isinstance(tokenizer, WordTokenizer):
        return dataclasses.replace(tokenizer, vocabulary=_only(vocabulary, {*keep, *tokenizer.user_terms}))
    if isinstance(tokenizer, CharTokenizer):
        return CharTokenizer(_only(vocabulary, keep), tokenizer.lowercase, tokenizer.cleaning)
    if isinstance(tokenizer, WordPieceTokenizer):
        return tokenizer.on(_only(vocabulary, {*keep, *tokenizer.whole}))
    raise DataError(f"a {type(tokenizer).__name__} cannot be pruned; expected char, word, wordpiece or sentencepiece")


def _only(vocabulary: Vocabulary, keep: Collection[str]) -> Vocabulary:
    kept = [token for number, token in enumerate(vocabulary.tokens) if token in keep and vocabulary.ids[token] == number]
    return Vocabulary(kept)
