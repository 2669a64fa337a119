"""The settings of a checkpoint: which we understand, which cannot change an answer, and which are refused.

A setting that stands in none of these lists is refused too, by name and value: what may change an answer is not passed over.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from paddlenlp_embtune.errors import BundleError
from paddlenlp_embtune.utils.json_yaml import shorten

__all__ = ["MODEL_SETTINGS", "SPECIAL_TOKENS", "TOKENIZER", "TOKENIZERS", "KnownSettings", "check_settings", "token_content"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class KnownSettings:
    """What is known about the settings of one file.

    Args:
        understood: by name, what we do with each.
        only: by name, the values that we understand; any other is refused. For a mapping or a token, its content counts.
        reasons: by name, why others are refused, and the next step.
        harmless: cannot change an answer. Names that begin with an underscore are harmless as well.
    """

    understood: Mapping[str, str]
    only: Mapping[str, tuple[Any, ...]]
    reasons: Mapping[str, str]
    harmless: frozenset[str]


_CLASS = "PaddleNLP's class takes it"
_OFF = (None, False)
_TRAIN_AGAIN = "fine-tune it without that setting"
_OURS = "leave it out if the model was not trained with it, otherwise use another tokenizer"

MODEL_SETTINGS = KnownSettings(
    understood={
        "architectures": "the class that is built",
        "model_type": "the family, where no class is named",
        **dict.fromkeys(
            (
                "vocab_size",
                "hidden_size",
                "num_hidden_layers",
                "num_attention_heads",
                "intermediate_size",
                "hidden_act",
                "max_position_embeddings",
                "type_vocab_size",
                "layer_norm_eps",
                "pool_act",
                "use_task_id",
                "task_id",
                "task_type_vocab_size",
            ),
            _CLASS,
        ),
        "num_labels": "the number of labels",
        "num_classes": "the number of labels, by its older name",
        "id2label": "the labels in the order of their numbers",
        "label2id": "must say the same as id2label",
        "tokenizer_class": "the tokenizer, where tokenizer_config.json does not name it",
        "embtune_pooling": "how the vectors of the tokens become one",
        "embtune_embedding": "the name of the token embedding",
    },
    only={
        "problem_type": (None, "single_label_classification"),
        "pad_token_id": (None, 0),
        "position_embedding_type": (None, "absolute"),
        "pooler_type": (None, "first_token_transform"),
        "summary_type": (None, "first"),
        "is_decoder": _OFF,
        "is_encoder_decoder": _OFF,
        "add_cross_attention": _OFF,
        "cross_attention_hidden_size": (None,),
        "pruned_heads": (None, {}, []),
        "quantization_config": (None, {}),
        "fuse": _OFF,
        "fuse_attention_qkv": _OFF,
        "fuse_attention_ffn": _OFF,
        "tensor_parallel_degree": (None, -1, 0, 1),
        "pipeline_parallel_degree": (None, -1, 0, 1),
        "prefix": (None, ""),
    },
    reasons={
        "problem_type": "a bundle gives one label to a text; fine-tune it with one label for each text, or split it into one "
        "model for each label",
        "pad_token_id": "padding must have the id 0; give [PAD] the first row and save it again",
        "position_embedding_type": "as PaddleNLP's classes have it; choose another encoder",
        "prefix": "nothing is put before a text; fine-tune it without a prefix",
        "quantization_config": "the weights must be plain; save the model before it is quantized",
        "tensor_parallel_degree": "the weights must be whole; merge them and save the model again",
        "pipeline_parallel_degree": "the weights must be whole; merge them and save the model again",
    },
    harmless=frozenset(
        {
            # Where it comes from, and the precision that it was saved in: all is read as float32.
            "name_or_path",
            "paddlenlp_version",
            "transformers_version",
            "torch_dtype",
            "dtype",
            "finetuning_task",
            "task_specific_params",
            "language",
            "init_class",
            # Training only.
            "hidden_dropout_prob",
            "attention_probs_dropout_prob",
            "classifier_dropout",
            "dropout",
            "initializer_range",
            "initializer_factor",
            "label_smoothing",
            "gradient_checkpointing",
            "recompute",
            "use_recompute",
            "recompute_granularity",
            "recompute_use_reentrant",
            "refined_recompute",
            "offload_recompute_inputs",
            "no_recompute_layers",
            "pp_recompute_interval",
            # What else is returned, and how: we take the logits.
            "return_dict",
            "output_hidden_states",
            "output_attentions",
            "output_past",
            "use_cache",
            "torchscript",
            # Speed.
            "chunk_size_feed_forward",
            "use_flash_attention",
            "use_fused_rms_norm",
            "use_fused_rope",
            "use_fused_linear",
            "use_fused_dropout_add",
            "use_fused_linear_cross_entropy",
            "use_bfloat16",
            "tensor_parallel_output",
            "tensor_parallel_rank",
            # Of other heads and of generation.
            "num_choices",
            "tie_word_embeddings",
            "tie_encoder_decoder",
            "bos_token_id",
            "eos_token_id",
            "sep_token_id",
            "cls_token_id",
            "mask_token_id",
            "decoder_start_token_id",
            "max_length",
            "min_length",
            "do_sample",
            "early_stopping",
            "num_beams",
            "num_beam_groups",
            "diversity_penalty",
            "temperature",
            "top_k",
            "top_p",
            "typical_p",
            "repetition_penalty",
            "length_penalty",
            "no_repeat_ngram_size",
            "encoder_no_repeat_ngram_size",
            "bad_words_ids",
            "num_return_sequences",
            "output_scores",
            "return_dict_in_generate",
            "forced_bos_token_id",
            "forced_eos_token_id",
            "remove_invalid_values",
            "exponential_decay_length_penalty",
            "suppress_tokens",
            "begin_suppress_tokens",
            # Google's first release wrote these of BERT; no class reads them.
            "directionality",
            "pooler_fc_size",
            "pooler_num_attention_heads",
            "pooler_num_fc_layers",
            "pooler_size_per_head",
        }
    ),
)
"""``config.json``."""

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
        "do_tokenize_postprocess": _OFF,
        "truncation_side": (None, "right"),
        "padding_side": (None, "right"),
        "split_special_tokens": _OFF,
        "clean_text": (None, True),
        "wordpieces_prefix": (None, "##"),
        "max_input_chars_per_word": (None, 100),
        "pad_token_type_id": (None, 0),
        "add_prefix_space": _OFF,
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


def check_settings(
    values: Mapping[str, Any],
    known: KnownSettings,
    *,
    file: Path,
    also: Collection[str] = (),
    only: Mapping[str, tuple[Any, ...]] | None = None,
    without: Collection[str] = (),
) -> None:
    """Refuse a setting that we do not know, or a value that we do not understand.

    Args:
        values: what the file holds.
        known: what is known of such a file.
        file: for messages.
        also: further names that are understood, such as those that PaddleNLP's class takes.
        only: values of the tokenizer's class, in place of those of the file.
        without: names that cannot change an answer here, as those of a head that is left out.
    Raises:
        BundleError: naming the setting, its value and the next step.
    """
    limits = {**known.only, **(only or {})}
    for name, value in values.items():
        if name.startswith("_") or name in known.harmless or name in without:
            continue
        if name == "quantization_config" and _plain_weights(value):
            continue
        if name in limits:
            if not any(_same(value, allowed) for allowed in limits[name]):
                shown = " or ".join(_shown(allowed) for allowed in limits[name])
                reason = known.reasons.get(name, f"nothing else is supported; {_TRAIN_AGAIN}")
                raise BundleError(f"{file} has {name} {_shown(value)}, expected {shown}: {reason}")
        elif name not in known.understood and name not in also:
            raise BundleError(
                f"{file} has the setting {name} {_shown(value)}, which is not known here and may change answers; remove it if "
                f"it does not, otherwise {_TRAIN_AGAIN}"
            )


def token_content(token: Any) -> Any:
    """Return the text of a token that may be stated with its flags."""
    return token["content"] if isinstance(token, Mapping) and "content" in token else token


def _same(value: Any, allowed: Any) -> bool:
    value = token_content(value)
    return type(value) is type(allowed) and bool(value == allowed)


def _plain_weights(value: Any) -> bool:
    """Tell whether a ``quantization_config`` asks for none: PaddleNLP may write its defaults out."""
    asked = ("weight_quantize_algo", "quant_type", "quant_method", "fmt", "activation_scheme")
    return isinstance(value, Mapping) and "weight_quant_method" in value and all(value.get(name) is None for name in asked)


def _shown(value: Any) -> str:
    return (
        {None: "null", True: "true", False: "false"}.get(value, "") if isinstance(value, (bool, type(None))) else shorten(value)
    )
