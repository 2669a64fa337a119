"""ERNIE-M's tokenizer: SentencePiece pieces, split again between scripts and digits."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.text._offsets import append_span
from paddlenlp_embtune.text.sentencepiece import SENTENCEPIECE_MODEL, piece_spans, text_pieces, valid_text, without_spaces
from paddlenlp_embtune.text.sentencepiece_model import PieceModel, check_model_sha256, open_processor
from paddlenlp_embtune.text.vocabulary import PAD, UNK, Vocabulary

__all__ = ["ErnieMTokenizer"]

_CLS, _SEP = "[CLS]", "[SEP]"
_SPECIAL = frozenset((PAD, UNK, _CLS, _SEP, "[MASK]"))
_SPACE = "\u2581"
_PUNCTUATION = frozenset(",;:.?!~，；：。？！《》【】")


class ErnieMTokenizer:
    """Splits text into pieces with the same ids as PaddleNLP's ``ErnieMTokenizer``.

    A SentencePiece model splits first. Within its pieces, each Chinese character and each common punctuation mark becomes a
    piece, digits are separated from everything else, and a U+2581 before any of these, or alone, is dropped. The results are
    looked up by name; pieces that are not in the vocabulary are unknown. Unlike in PaddleNLP, on purpose, a text that spells
    ``[SEP]`` is split like any other, and a text without pieces gets no ids at all.

    Args:
        vocabulary: must contain ``[CLS]`` and ``[SEP]``.
        model: content of ``sentencepiece.bpe.model``.
        lowercase: first fold case, character by character, like ``do_lower_case`` in PaddleNLP.
        model_sha256: expected hash of the model; None accepts any.
    Raises:
        MissingDependencyError: sentencepiece is not installed.
        DataError: the model is damaged or has another hash, or the vocabulary lacks ``[CLS]`` or ``[SEP]``.
    Source:
        Ouyang et al. 2021, "ERNIE-M", as in paddlenlp.transformers.ernie_m.tokenizer
    """

    def __init__(
        self, vocabulary: Vocabulary, model: bytes, lowercase: bool = False, *, model_sha256: str | None = None
    ) -> None:
        self.model_sha256 = check_model_sha256(model, model_sha256)
        for token in (_CLS, _SEP):
            if token not in vocabulary:
                raise DataError(f"the vocabulary of {len(vocabulary)} tokens lacks {token!r}, which ERNIE-M needs")
        self.vocabulary, self.model = vocabulary, model
        self._folds = lowercase
        self.lowercase = PieceModel.read(model).lowercase or lowercase
        self.prefix: tuple[int, ...] = (vocabulary.ids[_CLS],)
        self.suffix: tuple[int, ...] = (vocabulary.ids[_SEP],)
        self._processor = open_processor(model)

    def __reduce__(self) -> tuple[Any, ...]:
        return ErnieMTokenizer, (self.vocabulary, self.model, self._folds)

    def tokens(self, text: str) -> list[str]:
        """Split a text into pieces, without ``[CLS]`` and ``[SEP]``; U+2581 is a space; unknown pieces keep their text."""
        parts = (piece[begin:end] for piece in self._pieces(text) for begin, end in _parts(piece))
        return [UNK if part in _SPECIAL else part for part in parts]

    def encode(self, text: str, *, max_length: int | None = None) -> list[int]:
        """Encode a text as the ids of ``[CLS]``, its first ``max_length - 2`` pieces, and ``[SEP]``.

        Raises:
            DataError: ``max_length`` is too small for a single piece.
        """
        if max_length is not None and max_length < 3:
            raise DataError(f"max_length must be 3 or more, for {_CLS}, a piece and {_SEP}, got {max_length}")
        ids, unknown = self.vocabulary.ids, self.vocabulary.unknown_id
        tokens = self.tokens(text)[: None if max_length is None else max_length - 2]
        return [*self.prefix, *(ids.get(token, unknown) for token in tokens), *self.suffix] if tokens else []

    def offsets(self, text: str, *, limit: int | None = None) -> list[tuple[int, int]]:
        """Return the spans (start, end) of the first ``limit`` pieces in the original text; None returns all.

        Surrounding white space is excluded. If normalization changed the length of a piece, all its parts have the span of the
        whole piece; a piece without source characters has the span of the piece after it, or of the last one.
        """
        folded, origins = self._folded(text)
        offsets, empty = list[tuple[int, int]](), 0
        spans = piece_spans(self._processor, folded) if text.strip() else []
        for piece, span in zip(self._pieces(text), spans, strict=True):
            begin, end = without_spaces(folded, *span)
            for first, last, count in _part_spans(piece, begin, end):
                if first == last:
                    empty += count
                    continue
                append_span(offsets, origins[first], origins[last - 1] + 1)
                offsets += [offsets[-1]] * (empty + count - 1)
                empty = 0
        if offsets:
            offsets += [offsets[-1]] * empty
        return offsets[:limit] if offsets else ([(0, len(text))] * empty)[:limit]

    def config(self) -> dict[str, Any]:
        """Return the options for rebuilding this tokenizer from the same vocabulary and files."""
        return {"name": "ernie_m", "lowercase": self._folds, "model_sha256": self.model_sha256}

    def files(self) -> Mapping[str, bytes]:
        """Return the SentencePiece model, by file name."""
        return {SENTENCEPIECE_MODEL: self.model}

    def _pieces(self, text: str) -> list[str]:
        """Return the pieces that the model makes of a text."""
        return text_pieces(self._processor, self._folded(text)[0]) if text.strip() else []

    def _folded(self, text: str) -> tuple[str, range | list[int]]:
        """Return a text as the model sees it, and the original offset of each of its characters."""
        allowed = valid_text(text)
        if not self._folds:
            return allowed, range(len(allowed))
        letters = [(letter, at) for at, character in enumerate(allowed) for letter in character.lower()]
        return "".join(letter for letter, _ in letters), [at for _, at in letters]


@functools.lru_cache(maxsize=65536)
def _parts(piece: str) -> tuple[tuple[int, int], ...]:
    """Return start and end of the parts of a piece."""
    return tuple(_cut(piece)) if piece != _SPACE else ()


def _cut(piece: str) -> Iterator[tuple[int, int]]:
    start = 0
    for at, character in enumerate(piece):
        alone = "\u4e00" <= character <= "\u9fff" or character in _PUNCTUATION
        if character == _SPACE or not (alone or (at and character.isdigit() != piece[at - 1].isdigit())):
            continue
        if at > start and piece[start:at] != _SPACE:
            yield start, at
        if alone:
            yield at, at + 1
        start = at + alone
    if len(piece) > start:
        yield start, len(piece)


def _part_spans(piece: str, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield the span of each part of a piece that covers the characters ``begin`` to ``end``, and the number of parts."""
    parts, marked = _parts(piece), len(piece) - len(piece.lstrip(_SPACE))
    if len(piece) - marked == end - begin:
        yield from ((begin + max(0, first - marked), begin + last - marked, 1) for first, last in parts)
    elif parts:
        yield begin, end, len(parts)
