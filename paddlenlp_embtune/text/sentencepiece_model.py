"""Reading, training and pruning SentencePiece model files."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import importlib
import io
import itertools
import re
import struct
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from paddlenlp_embtune.errors import DataError, MissingDependencyError
from paddlenlp_embtune.utils.protobuf import read_fields, write_field, write_varint

__all__ = [
    "Piece",
    "PieceKind",
    "PieceModel",
    "check_model_sha256",
    "open_processor",
    "prune_sentencepiece",
    "sentencepiece_package",
    "train_sentencepiece",
]

_PIECE, _TRAINER, _NORMALIZER, _SELF_TEST = 1, 2, 3, 4
_MODEL_TYPE, _VOCABULARY_SIZE = 3, 4
_BPE = 2
_MODEL_TYPES = ("unigram", "bpe")


class PieceKind(enum.IntEnum):
    """The type of a piece."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclasses.dataclass(frozen=True)
class Piece:
    """One piece of a model.

    Args:
        text: the piece, with U+2581 for a space.
        score: its logarithmic probability, or minus its rank among the merges of byte-pair encoding.
        kind: its type.
    """

    text: str
    score: float
    kind: PieceKind


@dataclasses.dataclass(frozen=True)
class PieceModel:
    """A parsed model file; needs neither the package sentencepiece nor protobuf.

    Args:
        pieces: in the order of their ids.
        lowercase: whether its normalization folds case.
        byte_pairs: whether pieces are merged by rank (BPE) rather than chosen by probability.
    Source:
        sentencepiece_model.proto of google/sentencepiece
    """

    pieces: tuple[Piece, ...]
    lowercase: bool
    byte_pairs: bool

    @classmethod
    def read(cls, model: bytes) -> PieceModel:
        """Read a model.

        Raises:
            DataError: it is damaged, or not a model.
        """
        pieces, lowercase, byte_pairs = list[Piece](), False, False
        try:
            for field, value, _ in read_fields(model):
                if field == _PIECE:
                    pieces.append(_piece(value))
                elif field == _TRAINER:
                    byte_pairs = next((number for at, number, _ in read_fields(value) if at == _MODEL_TYPE), 1) == _BPE
                elif field == _NORMALIZER:
                    lowercase = next((name for at, name, _ in read_fields(value) if at == 1), b"").endswith(b"_cf")
        except (ValueError, LookupError, struct.error, TypeError, AttributeError):
            raise _damaged(model, "it cannot be parsed") from None
        if sum(piece.kind is PieceKind.UNKNOWN for piece in pieces) != 1:
            raise _damaged(model, f"its {len(pieces)} pieces must include exactly one unknown piece")
        return cls(tuple(pieces), lowercase, byte_pairs)


def train_sentencepiece(
    texts: Iterable[str],
    *,
    size: int,
    lowercase: bool = True,
    user_terms: Sequence[str] = (),
    model_type: str = "unigram",
    character_coverage: float = 0.9995,
) -> bytes:
    """Train a model; the same texts always give the same model.

    Args:
        texts: training texts; blank ones are ignored.
        size: maximum number of pieces; small sets of texts may give fewer.
        lowercase: fold case when texts are normalized (``nmt_nfkc_cf``, otherwise ``nmt_nfkc``).
        user_terms: become pieces that are never split.
        model_type: ``unigram`` or ``bpe``.
        character_coverage: share of all characters of the texts, most frequent first, that become pieces, 0.98 to 1.
    Raises:
        MissingDependencyError: sentencepiece is not installed.
        DataError: an option is invalid, or there are no texts.
    """
    if model_type not in _MODEL_TYPES or not 0.98 <= character_coverage <= 1:
        raise DataError(
            f"model_type must be {' or '.join(_MODEL_TYPES)} and character_coverage 0.98 to 1, got {model_type!r} and "
            f"{character_coverage}"
        )
    lines = [text.translate(_BREAKS) for text in texts if text.strip()]
    written = io.BytesIO()
    try:
        sentencepiece_package().SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=written,
            vocab_size=size,
            hard_vocab_limit=model_type == "bpe",
            model_type=model_type,
            character_coverage=character_coverage,
            normalization_rule_name="nmt_nfkc_cf" if lowercase else "nmt_nfkc",
            user_defined_symbols=list(user_terms),
            max_sentence_length=max([10, *(len(line.encode("utf-8")) for line in lines)]),
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise _untrainable(error, size=size, texts=len(lines)) from None
    return written.getvalue()


def prune_sentencepiece(model: bytes, keep: Collection[str]) -> bytes:
    """Remove pieces from a model so that texts that consist of kept pieces only are split as before.

    Also kept are control, unknown and byte pieces; the single characters of kept pieces; the intermediate merges of kept
    pieces in byte-pair encoding; and the pieces with the highest and the lowest score, from which other scores are derived.

    Args:
        model: as read from a file.
        keep: pieces to keep, with U+2581 for a space.
    Raises:
        DataError: the model is damaged, or does not contain a piece to keep.
    """
    read = PieceModel.read(model)
    by_text = {piece.text: piece for piece in read.pieces}
    missing = sorted(set(keep) - by_text.keys())
    if missing:
        raise DataError(f"the model of {len(read.pieces)} pieces lacks {missing[:5]!r}; keep only pieces of the model")
    kept = set(keep) | {character for piece in keep for character in piece}
    normal = [piece for piece in read.pieces if piece.kind is PieceKind.NORMAL]
    if normal:
        kept |= {choose(normal, key=lambda piece: piece.score).text for choose in (min, max)}
    if read.byte_pairs:
        kept = set(itertools.chain(kept, *(_merged(piece, by_text) for piece in sorted(kept))))
    always = (PieceKind.CONTROL, PieceKind.UNKNOWN, PieceKind.BYTE)
    pieces = iter(read.pieces)
    parts: list[bytes] = []
    size = sum(piece.kind in always or piece.text in kept for piece in read.pieces)
    for field, value, whole in read_fields(model):
        if field == _PIECE:
            piece = next(pieces)
            parts += [whole] if piece.kind in always or piece.text in kept else []
        elif field == _TRAINER:
            parts.append(write_field(_TRAINER, _with_size(value, size)))
        elif field != _SELF_TEST:
            parts.append(whole)
    return b"".join(parts)


def check_model_sha256(model: bytes, expected: str | None) -> str:
    """Check and return the SHA-256 of a model.

    Args:
        model: content of its file.
        expected: the required hash; None accepts any.
    Raises:
        DataError: the hash differs.
    """
    found = hashlib.sha256(model).hexdigest()
    if expected not in (None, found):
        raise DataError(
            f"the SHA-256 of the SentencePiece model must be {str(expected)[:12]}..., as when the tokenizer was created, got "
            f"{found[:12]}...; restore the original model"
        )
    return found


def open_processor(model: bytes) -> Any:
    """Load a model with the package sentencepiece.

    Raises:
        MissingDependencyError: sentencepiece is not installed.
        DataError: the model is damaged.
    """
    try:
        return sentencepiece_package().SentencePieceProcessor(model_proto=model)
    except RuntimeError as error:
        raise DataError(f"the SentencePiece model of {len(model)} bytes is damaged: {error}; copy it again") from None


def sentencepiece_package() -> Any:
    """Import the package sentencepiece.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        return importlib.import_module("sentencepiece")
    except ImportError:
        raise MissingDependencyError(
            "SentencePiece needs the package sentencepiece, which is not installed; install it with: pip install sentencepiece"
        ) from None


_BREAKS = {**dict.fromkeys(map(ord, "\n\r\0"), " "), **dict.fromkeys(range(0xD800, 0xE000), "\ufffd")}


def _merged(text: str, pieces: dict[str, Piece]) -> Iterator[str]:
    """Yield the intermediate merges of a text in byte-pair encoding: highest score first, leftmost among equals."""
    parts: list[str] = list(text)
    while len(parts) > 1:
        joints = enumerate(map(str.__add__, parts, parts[1:]))
        best = max(((pieces[joined].score, -at, joined) for at, joined in joints if joined in pieces), default=None)
        if best is None:
            return
        _, at, joined = best
        parts[-at : -at + 2] = [joined]
        yield joined


def _untrainable(error: RuntimeError, *, size: int, texts: int) -> DataError:
    if not texts:
        return DataError("there is no text to train SentencePiece on; pass at least one that is not blank")
    too_small = re.search(r"smaller than required_chars\. \d+ vs (\d+)", str(error))
    if too_small:
        return DataError(
            f"size must be greater than {too_small[1]}, the number of distinct characters of the {texts} texts, got {size}"
        )
    too_large = re.search(r"value <= (\d+)", str(error))
    if too_large:
        return DataError(f"size must be at most {too_large[1]}, the number of pieces that the {texts} texts give, got {size}")
    return DataError(f"SentencePiece cannot learn {size} pieces from {texts} texts: {error}; choose another size")


def _damaged(model: bytes, fault: str) -> DataError:
    return DataError(
        f"the SentencePiece model of {len(model)} bytes is damaged, or is not a model: {fault}; pass a .model file written by "
        "SentencePiece, or copy it again"
    )


def _piece(record: bytes) -> Piece:
    values: dict[int, Any] = {field: value for field, value, _ in read_fields(record)}
    (score,) = struct.unpack("<f", values.get(2, bytes(4)))
    return Piece(values[1].decode("utf-8"), score, PieceKind(values.get(3, 1)))


def _with_size(trainer: bytes, size: int) -> bytes:
    parts = [whole for field, _, whole in read_fields(trainer) if field != _VOCABULARY_SIZE]
    return b"".join([*parts, write_varint(_VOCABULARY_SIZE << 3), write_varint(size)])
