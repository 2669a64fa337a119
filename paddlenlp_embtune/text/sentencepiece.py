"""SentencePiece: subword tokens of a trained model, with offsets into the original text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.text._offsets import append_span
from paddlenlp_embtune.text.sentencepiece_model import PieceKind, PieceModel, check_model_sha256, open_processor
from paddlenlp_embtune.text.vocabulary import PAD, UNK, Vocabulary

__all__ = ["SENTENCEPIECE_MODEL", "SentencePieceTokenizer", "piece_spans", "text_pieces", "valid_text", "without_spaces"]

SENTENCEPIECE_MODEL = "sentencepiece.model"
_CLS, _SEP = "[CLS]", "[SEP]"
_SPECIAL = (PAD, UNK, _CLS, _SEP)
_OF_TEXT = (PieceKind.NORMAL, PieceKind.USER_DEFINED, PieceKind.BYTE)
_SURROGATES = dict.fromkeys(range(0xD800, 0xE000), "\ufffd")


class SentencePieceTokenizer:
    """Splits text into the pieces of a SentencePiece model, which normalizes the text first.

    Ids are those of the vocabulary, in which pieces are looked up by name, not those of the model. A text that spells ``<s>``
    or ``[SEP]`` is split like any other. Pieces that are unknown to the vocabulary or to the model get the unknown id.

    Args:
        vocabulary: with pieces of the model, see ``vocabulary_of``.
        model: content of a ``.model`` file.
        markers: add ``[CLS]`` before and ``[SEP]`` after the pieces of a text.
        model_sha256: expected hash of the model; None accepts any.
    Raises:
        MissingDependencyError: sentencepiece is not installed.
        DataError: the model is damaged, has another hash, or shares no piece with the vocabulary, or that lacks a marker.
    Source:
        Kudo and Richardson 2018, "SentencePiece"
    """

    def __init__(self, vocabulary: Vocabulary, model: bytes, markers: bool = False, *, model_sha256: str | None = None) -> None:
        self.model_sha256 = check_model_sha256(model, model_sha256)
        read = PieceModel.read(model)
        for token in (_CLS, _SEP) if markers else ():
            if token not in vocabulary:
                raise DataError(f"the vocabulary of {len(vocabulary)} tokens lacks {token!r}, which markers need")
        self.vocabulary, self.model, self.markers, self.lowercase = vocabulary, model, markers, read.lowercase
        self.prefix: tuple[int, ...] = (vocabulary.ids[_CLS],) if markers else ()
        self.suffix: tuple[int, ...] = (vocabulary.ids[_SEP],) if markers else ()
        self._ids = _ids_of_pieces(read, vocabulary)
        if set(self._ids) == {vocabulary.unknown_id}:
            raise DataError(
                f"the vocabulary of {len(vocabulary)} tokens has none of the model's {len(read.pieces)} pieces; pass the "
                "vocabulary that belongs to this model"
            )
        self._processor = open_processor(model)

    def __reduce__(self) -> tuple[Any, ...]:
        return SentencePieceTokenizer, (self.vocabulary, self.model, self.markers)

    def tokens(self, text: str) -> list[str]:
        """Split a text into pieces, without markers; U+2581 represents a space, and unknown pieces keep their text."""
        pieces = text_pieces(self._processor, valid_text(text)) if text.strip() else []
        known, unknown = self.vocabulary.ids, self.vocabulary.unknown_id
        numbers = self._numbers(text)
        # A piece unknown to the model may be spelled like a token, whose id it must not get.
        return [
            piece if known.get(piece, unknown) == self._ids[number] else UNK
            for piece, number in zip(pieces, numbers, strict=True)
        ]

    def encode(self, text: str, *, max_length: int | None = None) -> list[int]:
        """Encode a text as the ids of its first pieces, at most ``max_length`` including markers.

        Raises:
            DataError: ``max_length`` is too small for a piece between the markers.
        """
        if max_length is not None and self.markers and max_length < 3:
            raise DataError(f"max_length must be 3 or more, for {_CLS}, a piece and {_SEP}, got {max_length}")
        room = None if max_length is None else max_length - len(self.prefix + self.suffix)
        own = [self._ids[number] for number in self._numbers(text)[:room]]
        return [*self.prefix, *own, *self.suffix] if own else []

    def offsets(self, text: str, *, limit: int | None = None) -> list[tuple[int, int]]:
        """Return the spans (start, end) of the first ``limit`` pieces in the original text; None returns all.

        Surrounding white space is excluded. A piece without source characters, such as the U+2581 before the first word, has
        the span of the piece after it, or of the last one with a span; the same holds for several pieces of one character.
        """
        if not text.strip():
            return []
        allowed, spans, empty = valid_text(text), list[tuple[int, int]](), 0
        for span in piece_spans(self._processor, allowed):
            begin, end = without_spaces(allowed, *span)
            if begin == end:
                empty += 1
                continue
            append_span(spans, begin, end)
            spans += [spans[-1]] * empty
            empty = 0
        if spans:
            spans += [spans[-1]] * empty
        return spans[:limit] if spans else [(0, len(text))] * empty

    def config(self) -> dict[str, Any]:
        """Return the options for rebuilding this tokenizer from the same vocabulary and files."""
        return {"name": "sentencepiece", "markers": self.markers, "model_sha256": self.model_sha256}

    def files(self) -> Mapping[str, bytes]:
        """Return the SentencePiece model, by file name."""
        return {SENTENCEPIECE_MODEL: self.model}

    @staticmethod
    def vocabulary_of(model: bytes, *, markers: bool = False) -> Vocabulary:
        """Build the vocabulary of a model: ``[PAD]``, ``[UNK]``, the markers if requested, and the pieces in order.

        Raises:
            DataError: the model is damaged.
        """
        special = _SPECIAL if markers else (PAD, UNK)
        pieces = (piece.text for piece in PieceModel.read(model).pieces if piece.kind in _OF_TEXT)
        return Vocabulary([*special, *(piece for piece in pieces if piece not in _SPECIAL)])

    def _numbers(self, text: str) -> list[int]:
        """Return the model's own ids of the pieces of a text."""
        found: list[int] = self._processor.encode(valid_text(text), out_type=int) if text.strip() else []
        return found


def _ids_of_pieces(model: PieceModel, vocabulary: Vocabulary) -> list[int]:
    unknown = vocabulary.unknown_id
    return [
        vocabulary.ids.get(piece.text, unknown) if piece.kind in _OF_TEXT and piece.text not in _SPECIAL else unknown
        for piece in model.pieces
    ]


def valid_text(text: str) -> str:
    """Replace characters that UTF-8 cannot encode, one by one, so that offsets stay the same."""
    return text if text.isascii() else text.translate(_SURROGATES)


def without_spaces(text: str, begin: int, end: int) -> tuple[int, int]:
    """Shrink a span to exclude surrounding white space; a span of only white space stays."""
    part = text[begin:end]
    stripped = part.strip()
    if not stripped:
        return begin, end
    begin += len(part) - len(part.lstrip())
    return begin, begin + len(stripped)


def text_pieces(processor: Any, text: str) -> list[str]:
    """Return the pieces of a text.

    Raises:
        DataError: the model is damaged and normalizes the text to invalid UTF-8.
    """
    try:
        found: list[str] = processor.encode(text, out_type=str)
    except UnicodeDecodeError as error:
        raise DataError(
            f"the SentencePiece model is damaged: it returns invalid UTF-8 ({error.reason}); copy it again"
        ) from None
    return found


def piece_spans(processor: Any, text: str) -> list[tuple[int, int]]:
    """Return start and end of each piece, in code points."""
    if hasattr(processor, "EncodeAsOffsetMapping"):
        return list(processor.encode(text, return_type="offset_mapping")["offsets"])
    # Until 0.2.2
    return [(piece.begin, piece.end) for piece in processor.encode(text, out_type="immutable_proto").pieces]
