"""Pretrained encoders: reading them from folders or by name, and writing them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paddlenlp_embtune.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from paddlenlp_embtune.encoders._model_settings import MODEL_SETTINGS as MODEL_SETTINGS
    from paddlenlp_embtune.encoders.architectures import (
        WORDPIECE_CLASSES as WORDPIECE_CLASSES,
        convert_weights as convert_weights,
        find_family as find_family,
        is_torch_weights as is_torch_weights,
        reserved_positions as reserved_positions,
    )
    from paddlenlp_embtune.encoders.checkpoint import (
        CONFIG as CONFIG,
        TOKENIZER_CONFIG as TOKENIZER_CONFIG,
        TOKENIZER_JSON as TOKENIZER_JSON,
        VOCABULARY as VOCABULARY,
        check_sizes as check_sizes,
        check_weight_sizes as check_weight_sizes,
        find_weights as find_weights,
        read_json_object as read_json_object,
        read_weights as read_weights,
    )
    from paddlenlp_embtune.encoders.checkpoint_settings import check_settings as check_settings
    from paddlenlp_embtune.encoders.file_layout import SENTENCEPIECE_FILE as SENTENCEPIECE_FILE, EncoderFiles as EncoderFiles
    from paddlenlp_embtune.encoders.labels import choose_labels as choose_labels, read_labels as read_labels
    from paddlenlp_embtune.encoders.loading import load_encoder as load_encoder
    from paddlenlp_embtune.encoders.masked_head import MASKED_HEAD as MASKED_HEAD
    from paddlenlp_embtune.encoders.pretrained import POOLINGS as POOLINGS, Pretrained as Pretrained
    from paddlenlp_embtune.encoders.reference_tokenizer import ReferenceTokenizer as ReferenceTokenizer
    from paddlenlp_embtune.encoders.saving import save_encoder as save_encoder
    from paddlenlp_embtune.encoders.tokenizers import (
        check_tokenizer as check_tokenizer,
        comparison_texts as comparison_texts,
        read_tokenizer as read_tokenizer,
    )
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "architectures": "WORDPIECE_CLASSES find_family is_torch_weights convert_weights reserved_positions",
            "checkpoint": (
                "CONFIG TOKENIZER_CONFIG TOKENIZER_JSON VOCABULARY check_sizes check_weight_sizes find_weights "
                "read_json_object read_weights"
            ),
            "_model_settings": "MODEL_SETTINGS",
            "checkpoint_settings": "check_settings",
            "file_layout": "EncoderFiles SENTENCEPIECE_FILE",
            "labels": "choose_labels read_labels",
            "loading": "load_encoder",
            "masked_head": "MASKED_HEAD",
            "pretrained": "POOLINGS Pretrained",
            "reference_tokenizer": "ReferenceTokenizer",
            "saving": "save_encoder",
            "tokenizers": "check_tokenizer comparison_texts read_tokenizer",
        },
    )
