"""The settings of ``tokenizer_config.json`` and ``special_tokens_map.json`` that are understood, restricted or harmless."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paddlenlp_embtune.encoders.checkpoint_settings import OFF, KnownSettings

__all__ = ["SPECIAL_TOKENS", "TOKENIZER", "TOKENIZERS"]

_OURS = "leave it out if the model was not trained with it, otherwise use another tokenizer"

_TOKENS = {
    "mask_token": "found whole in texts, as the tokenizer does",
    "bos_token": "found whole in texts, as the tokenizer does",
    "eos_token": "found whole in texts, as the tokenizer does",
    "additional_special_tokens": "found whole in texts, with ids of their own",
}
_NAMED = {"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]"}
_NAMES = {name: (None, token) for name, token in _NAMED.items()}
_NAMES_WHY = {
    name: f"the vocabulary must call it {token}; rename it there and in all files of the tokenizer"
    for name, token in _NAMED.items()
}

TOKENIZER = KnownSettings(
    understood={
        "tokenizer_class": "the tokenizer",
        "init_class": "the tokenizer, by its older name",
        "do_lower_case": "case is folded, or is not",
        "strip_accents": "accents are dropped, or are not; null: where case is folded",
        "tokenize_chinese_chars": "each ideograph is a word, or is not",
        "do_basic_tokenize": "words are cut at punctuation and symbols, or at white space alone",
        "added_tokens_decoder": "found whole in texts, with ids of their own; their lstrip, rstrip, single_word and normalized "
        "change no id in PaddleNLP",
        "model_max_length": "the most tokens of a text, up to the positions of the encoder",
        "max_len": "the most tokens of a text, by its older name",
        **_TOKENS,
    },
    only={
        **_NAMES,
        "do_lower_case": (None, True, False),
        "strip_accents": (None, True, False),
        "tokenize_chinese_chars": (True, False),
        "do_basic_tokenize": (True, False),
        "never_split": (None, []),
        "do_tokenize_postprocess": OFF,
        "truncation_side": (None, "right"),
        "padding_side": (None, "right"),
        "split_special_tokens": OFF,
        "clean_text": (None, True),
        "wordpieces_prefix": (None, "##"),
        "max_input_chars_per_word": (None, 100),
        "pad_token_type_id": (None, 0),
        "add_prefix_space": OFF,
        "extra_special_tokens": (None, {}, []),
        "encoding": (None, "utf8", "utf-8"),
        "vocab_file": (None,),
        "sentencepiece_model_file": (None,),
    },
    reasons={
        **_NAMES_WHY,
        "truncation_side": "long texts are cut at their end; fine-tune it so, or read them in windows",
        "padding_side": "padding stands behind the text; fine-tune it so",
        "vocab_file": "the vocabulary is vocab.txt of the same folder; remove the setting",
        "sentencepiece_model_file": "the model lies in the same folder; remove the setting",
        "never_split": _OURS,
        "do_tokenize_postprocess": _OURS,
        "split_special_tokens": _OURS,
    },
    harmless=frozenset(
        {
            "name_or_path",
            "special_tokens_map_file",
            "tokenizer_file",
            "added_tokens_file",
            "clean_up_tokenization_spaces",
            "model_input_names",
            "processor_class",
            "from_slow",
            "use_fast",
            "backend",
            "is_local",
            "local_files_only",
            "max_length",
            "stride",
            "truncation_strategy",
            "pad_to_multiple_of",
            "verbose",
        }
    ),
)
"""``tokenizer_config.json``."""

SPECIAL_TOKENS = KnownSettings(understood=_TOKENS, only=_NAMES, reasons=_NAMES_WHY, harmless=frozenset())
"""``special_tokens_map.json``."""

TOKENIZERS: Mapping[str, Mapping[str, tuple[Any, ...]]] = {
    "ErnieTokenizer": {
        "tokenize_chinese_chars": (True,),
        "do_basic_tokenize": (True,),
    },
    "ErnieMTokenizer": {
        "tokenize_chinese_chars": (True,),
        "do_basic_tokenize": (True,),
        "strip_accents": (None,),
        "additional_special_tokens": (None, []),
    },
}
"""What of these settings some classes of PaddleNLP do not look at: another value is refused there."""
