"""Supported, restricted and harmless settings of ``tokenizer_config.json`` and ``special_tokens_map.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paddlenlp_embtune.encoders.checkpoint_settings import OFF, KnownSettings

__all__ = ["SPECIAL_TOKENS", "TOKENIZER", "TOKENIZERS"]

_OURS = "remove it if the model was not trained with it, otherwise use another tokenizer"

_TOKENS = {
    "mask_token": "matched whole in texts, like the tokenizer",
    "bos_token": "matched whole in texts, like the tokenizer",
    "eos_token": "matched whole in texts, like the tokenizer",
    "additional_special_tokens": "matched whole in texts, with their own ids",
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
        "do_lower_case": "whether case is folded",
        "strip_accents": "whether accents are dropped; null: if case is folded",
        "tokenize_chinese_chars": "whether each ideograph is a word",
        "do_basic_tokenize": "whether words are split at punctuation and symbols, or only at white space",
        "added_tokens_decoder": "matched whole in texts, with their own ids; their lstrip, rstrip, single_word and normalized "
        "do not change ids in PaddleNLP",
        "model_max_length": "maximum number of tokens of a text, up to the positions of the encoder",
        "max_len": "maximum number of tokens of a text, by its older name",
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
        "truncation_side": "long texts are truncated at the end; fine-tune it that way, or read them in windows",
        "padding_side": "padding is on the right; fine-tune it that way",
        "vocab_file": "the vocabulary must be vocab.txt in the same folder; remove the setting",
        "sentencepiece_model_file": "the model must be in the same folder; remove the setting",
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
"""Settings that some PaddleNLP classes ignore: other values are rejected for these classes."""
