"""Pretrained encoders: what one is, reading them from folders and by name, and writing them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paddlenlp_embtune.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from paddlenlp_embtune.encoders.architectures import (
        WORDPIECE_CLASSES as WORDPIECE_CLASSES,
        family_of as family_of,
        is_of_torch as is_of_torch,
        own_weights as own_weights,
        reserved_positions as reserved_positions,
    )
    from paddlenlp_embtune.encoders.checkpoint import (
        CONFIG as CONFIG,
        TOKENIZER_CONFIG as TOKENIZER_CONFIG,
        TOKENIZER_JSON as TOKENIZER_JSON,
        VOCABULARY as VOCABULARY,
        check_sizes as check_sizes,
        check_sizes_of_weights as check_sizes_of_weights,
        find_weights as find_weights,
        read_json as read_json,
        read_weights as read_weights,
    )
    from paddlenlp_embtune.encoders.checkpoint_settings import (
        MODEL_SETTINGS as MODEL_SETTINGS,
        check_settings as check_settings,
    )
    from paddlenlp_embtune.encoders.file_layout import PIECES as PIECES, EncoderFiles as EncoderFiles
    from paddlenlp_embtune.encoders.labels import choose_labels as choose_labels, named_labels as named_labels
    from paddlenlp_embtune.encoders.loading import load_encoder as load_encoder
    from paddlenlp_embtune.encoders.pretrained import POOLINGS as POOLINGS, Pretrained as Pretrained
    from paddlenlp_embtune.encoders.reference_tokenizer import Origin as Origin
    from paddlenlp_embtune.encoders.saving import save_encoder as save_encoder
    from paddlenlp_embtune.encoders.tokenizers import (
        check_tokenizer as check_tokenizer,
        proof_texts as proof_texts,
        read_tokenizer as read_tokenizer,
    )
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "architectures": "WORDPIECE_CLASSES family_of is_of_torch own_weights reserved_positions",
            "checkpoint": (
                "CONFIG TOKENIZER_CONFIG TOKENIZER_JSON VOCABULARY check_sizes check_sizes_of_weights find_weights "
                "read_json read_weights"
            ),
            "checkpoint_settings": "MODEL_SETTINGS check_settings",
            "file_layout": "EncoderFiles PIECES",
            "labels": "choose_labels named_labels",
            "loading": "load_encoder",
            "pretrained": "POOLINGS Pretrained",
            "reference_tokenizer": "Origin",
            "saving": "save_encoder",
            "tokenizers": "check_tokenizer proof_texts read_tokenizer",
        },
    )
