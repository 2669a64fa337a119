"""Text to ids: cleaning, tokenizers, vocabulary. Needs numpy only; words need jieba, and SentencePiece its package."""

from paddlenlp_embtune.text.cleaning import clean, is_blank
from paddlenlp_embtune.text.rebuilding import tokenizer_files, tokenizer_from_config
from paddlenlp_embtune.text.sentencepieces import SentencePieceTokenizer
from paddlenlp_embtune.text.terms import Extension, TermTokenizer, extend
from paddlenlp_embtune.text.tokenizers import CharTokenizer, Tokenizer, UnknownReport, own_ids, pad, unknown_report
from paddlenlp_embtune.text.vocabulary import PAD, PAD_ID, UNK, UNK_ID, Vocabulary
from paddlenlp_embtune.text.wordpiece import WordPieceTokenizer
from paddlenlp_embtune.text.words import WordTokenizer

__all__ = [
    "PAD",
    "PAD_ID",
    "UNK",
    "UNK_ID",
    "CharTokenizer",
    "Extension",
    "SentencePieceTokenizer",
    "TermTokenizer",
    "Tokenizer",
    "UnknownReport",
    "Vocabulary",
    "WordPieceTokenizer",
    "WordTokenizer",
    "clean",
    "extend",
    "is_blank",
    "own_ids",
    "pad",
    "tokenizer_files",
    "tokenizer_from_config",
    "unknown_report",
]
