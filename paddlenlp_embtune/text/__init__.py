"""Text to ids: cleaning, tokenizers, vocabulary. Needs numpy only."""

from paddlenlp_embtune.text.cleaning import clean
from paddlenlp_embtune.text.tokenizers import (
    CharTokenizer,
    Tokenizer,
    UnknownReport,
    pad,
    tokenizer_from_config,
    unknown_report,
)
from paddlenlp_embtune.text.vocabulary import PAD, PAD_ID, UNK, UNK_ID, Vocabulary
from paddlenlp_embtune.text.wordpiece import WordPieceTokenizer

__all__ = [
    "PAD",
    "PAD_ID",
    "UNK",
    "UNK_ID",
    "CharTokenizer",
    "Tokenizer",
    "UnknownReport",
    "Vocabulary",
    "WordPieceTokenizer",
    "clean",
    "pad",
    "tokenizer_from_config",
    "unknown_report",
]
