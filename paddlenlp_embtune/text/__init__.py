"""Text to ids: cleaning, tokenizers, vocabulary. Needs only numpy; word tokens also need jieba, SentencePiece its package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paddlenlp_embtune.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from paddlenlp_embtune.text._code_points import code_points as code_points
    from paddlenlp_embtune.text._term_matcher import TermMatcher as TermMatcher
    from paddlenlp_embtune.text._unknown_characters import unknown_characters as unknown_characters
    from paddlenlp_embtune.text.added_terms import (
        AddedTerms as AddedTerms,
        TermTokenizer as TermTokenizer,
        add_terms as add_terms,
    )
    from paddlenlp_embtune.text.base import (
        CharTokenizer as CharTokenizer,
        Tokenizer as Tokenizer,
        UnknownReport as UnknownReport,
        content_ids as content_ids,
        pad as pad,
        unknown_report as unknown_report,
    )
    from paddlenlp_embtune.text.cleaning_steps import (
        CLEANING_STEPS as CLEANING_STEPS,
        apply_cleaning as apply_cleaning,
        cleaning_edits as cleaning_edits,
        describe_cleaning as describe_cleaning,
    )
    from paddlenlp_embtune.text.cleaning_tokenizer import (
        CleaningTokenizer as CleaningTokenizer,
        with_cleaning as with_cleaning,
        without_cleaning as without_cleaning,
    )
    from paddlenlp_embtune.text.comparison import compare_tokenizers as compare_tokenizers
    from paddlenlp_embtune.text.encoding import (
        TokenizedTexts as TokenizedTexts,
        chunk_texts as chunk_texts,
        tokenize_texts as tokenize_texts,
    )
    from paddlenlp_embtune.text.ernie_m import ErnieMTokenizer as ErnieMTokenizer
    from paddlenlp_embtune.text.factory import TOKENIZERS as TOKENIZERS, build_tokenizer as build_tokenizer
    from paddlenlp_embtune.text.jieba_segmenter import (
        WordCutter as WordCutter,
        common_words as common_words,
        word_cutter as word_cutter,
    )
    from paddlenlp_embtune.text.normalization import CLEANING as CLEANING, clean as clean, is_blank as is_blank
    from paddlenlp_embtune.text.pruning import PrunedTokenizer as PrunedTokenizer, prune_tokenizer as prune_tokenizer
    from paddlenlp_embtune.text.sentencepiece import SentencePieceTokenizer as SentencePieceTokenizer
    from paddlenlp_embtune.text.sentencepiece_model import (
        PieceKind as PieceKind,
        sentencepiece_package as sentencepiece_package,
    )
    from paddlenlp_embtune.text.serialization import (
        tokenizer_files as tokenizer_files,
        tokenizer_from_config as tokenizer_from_config,
        tokenizer_kind as tokenizer_kind,
    )
    from paddlenlp_embtune.text.term_extraction import Proposal as Proposal, propose_terms as propose_terms
    from paddlenlp_embtune.text.term_lists import (
        TermList as TermList,
        describe_unused_terms as describe_unused_terms,
        read_term_list as read_term_list,
        unused_terms as unused_terms,
    )
    from paddlenlp_embtune.text.unicode_classes import (
        BLANKS as BLANKS,
        CONTROLS as CONTROLS,
        FORMER_CONTROLS as FORMER_CONTROLS,
        IGNORABLE as IGNORABLE,
        RADICALS as RADICALS,
        describe_ranges as describe_ranges,
    )
    from paddlenlp_embtune.text.vocabulary import (
        PAD as PAD,
        PAD_ID as PAD_ID,
        UNK as UNK,
        UNK_ID as UNK_ID,
        Vocabulary as Vocabulary,
        describe_vocabulary_difference as describe_vocabulary_difference,
    )
    from paddlenlp_embtune.text.windows import WindowSpec as WindowSpec, split_windows as split_windows
    from paddlenlp_embtune.text.word import WordTokenizer as WordTokenizer
    from paddlenlp_embtune.text.wordpiece import WordPieceTokenizer as WordPieceTokenizer
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "_code_points": "code_points",
            "_term_matcher": "TermMatcher",
            "added_terms": "AddedTerms TermTokenizer add_terms",
            "base": "CharTokenizer Tokenizer UnknownReport content_ids pad unknown_report",
            "cleaning_steps": "CLEANING_STEPS apply_cleaning cleaning_edits describe_cleaning",
            "cleaning_tokenizer": "CleaningTokenizer with_cleaning without_cleaning",
            "comparison": "compare_tokenizers",
            "encoding": "TokenizedTexts chunk_texts tokenize_texts",
            "ernie_m": "ErnieMTokenizer",
            "factory": "TOKENIZERS build_tokenizer",
            "jieba_segmenter": "WordCutter common_words word_cutter",
            "normalization": "CLEANING clean is_blank",
            "pruning": "PrunedTokenizer prune_tokenizer",
            "sentencepiece": "SentencePieceTokenizer",
            "sentencepiece_model": "PieceKind sentencepiece_package",
            "serialization": "tokenizer_files tokenizer_from_config tokenizer_kind",
            "term_extraction": "Proposal propose_terms",
            "term_lists": "TermList read_term_list describe_unused_terms unused_terms",
            "unicode_classes": "BLANKS CONTROLS FORMER_CONTROLS IGNORABLE RADICALS describe_ranges",
            "_unknown_characters": "unknown_characters",
            "vocabulary": "PAD PAD_ID UNK UNK_ID Vocabulary describe_vocabulary_difference",
            "windows": "WindowSpec split_windows",
            "word": "WordTokenizer",
            "wordpiece": "WordPieceTokenizer",
        },
    )
